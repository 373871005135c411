package index

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fatal is what is common to tests and their properties.
type fatal interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// small is an index whose tables are full soon.
func small(t fatal, dir string) *Index {
	t.Helper()
	x, err := openSmall(dir)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func openSmall(dir string) (*Index, error) {
	return open(&Index{dir: dir, log: slog.New(slog.DiscardHandler), tableSize: 16, create: createFile})
}

// crash ends x as the death of its process would: nothing more is written.
func crash(t fatal, x *Index) {
	t.Helper()
	close(x.done)
	x.background.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	if err := x.runs.release(); err != nil {
		t.Fatal(err)
	}
}

func hashed(n int) (h Hash) {
	h[0], h[15] = byte(n*37), byte(n)
	return h
}

// model is the log that an index is of: all that was added, batch by batch, and where each batch ends.
type model struct {
	records [][]Record
	marks   []Mark
	newest  map[Hash]uint64
	all     map[Hash][]Record // ascending
}

func newModel() *model { return &model{newest: map[Hash]uint64{}, all: map[Hash][]Record{}} }

const hashes = 12

// batch makes up what comes next: new versions, and keys.
func (m *model) batch(t *rapid.T) {
	var to Mark
	if n := len(m.marks); n > 0 {
		to = m.marks[n-1]
	}
	to.Incarnation = "first"
	var records []Record
	for range rapid.IntRange(1, 20).Draw(t, "records") {
		if h := hashed(rapid.IntRange(0, hashes-1).Draw(t, "hash")); rapid.Bool().Draw(t, "key") {
			to.Outcome++
			h[1] = 1
			records = append(records, Record{h, 0, to.Outcome})
		} else {
			to.Seq++
			m.newest[h] += uint64(rapid.IntRange(1, 3).Draw(t, "step"))
			records = append(records, Record{h, m.newest[h], to.Seq})
		}
	}
	to.Chain = [32]byte{byte(to.Seq), byte(to.Outcome)}
	for _, r := range records {
		m.all[r.Hash] = append(m.all[r.Hash], r)
	}
	m.records, m.marks = append(m.records, records), append(m.marks, to)
}

// catchUp adds to x what it does not have.
func (m *model) catchUp(t fatal, x *Index) {
	t.Helper()
	reached := x.Reached()
	next := 0
	if reached != (Mark{}) {
		if next = slices.Index(m.marks, reached) + 1; next == 0 {
			t.Fatalf("the index has reached %+v, where no batch ends", reached)
		}
	}
	for ; next < len(m.records); next++ {
		x.Add(m.records[next], m.marks[next])
	}
}

// same checks all that can be asked.
func (m *model) same(t fatal, x *Index, from uint64, limit int) {
	t.Helper()
	for n := range hashes {
		for key := range 2 {
			h := hashed(n)
			h[1] = byte(key)
			all := slices.Clone(m.all[h])
			m.sameNewest(t, x, h)
			want := all
			if key == 0 {
				want = slices.DeleteFunc(slices.Clone(all), func(r Record) bool { return r.Version <= from })
			} else if from > 0 {
				want = nil
			}
			equal(t, "ascending", first(x.Ascend(h, from, limit)), want[:min(limit, len(want))], key == 1 && from == 0)
			want = slices.DeleteFunc(all, func(r Record) bool { return r.Version > from })
			slices.Reverse(want)
			equal(t, "descending", first(x.Descend(h, from, 0, limit)), want[:min(limit, len(want))], false)
		}
	}
}

func (m *model) sameNewest(t fatal, x *Index, h Hash) {
	t.Helper()
	all := m.all[h]
	got, found, err := x.Newest(h)
	if err != nil || found != (len(all) > 0) || found && got != all[len(all)-1] {
		t.Fatalf("the newest of %x is %v, %t, %v, of %v", h, got, found, err, all)
	}
	values, err := x.Values(h, 0)
	for _, r := range all {
		if r.Version == 0 && !slices.Contains(values, r.Value) {
			t.Fatalf("%x leads to %v, %v, and not to %d", h, values, err, r.Value)
		}
	}
}

func first(records []Record, err error) any {
	if err != nil {
		return err
	}
	return records
}

// equal does not look at what a search behind version 0 must not find.
func equal(t fatal, what string, got any, want []Record, none bool) {
	t.Helper()
	if none {
		want = nil
	}
	if records, ok := got.([]Record); !ok || !slices.Equal(records, want) {
		t.Fatalf("%s: %v instead of %v", what, got, want)
	}
}

// TestTheIndexIsWhatWasAdded does everything at random, and compares with lists.
func TestTheIndexIsWhatWasAdded(t *testing.T) {
	t.Parallel()
	scratch, runs := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		dir := filepath.Join(scratch, strconv.Itoa(runs))
		x, m := small(t, dir), newModel()
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				if err := x.Room(t.Context()); err != nil {
					t.Fatal(err)
				}
				m.batch(t)
				last := len(m.marks) - 1
				x.Add(m.records[last], m.marks[last])
			},
			"reopen": func(t *rapid.T) {
				want := x.Reached()
				if err := x.Close(); err != nil {
					t.Fatal(err)
				}
				if x = small(t, dir); x.Reached() != want {
					t.Fatalf("reached %+v instead of %+v", x.Reached(), want)
				}
			},
			"crash": func(t *rapid.T) {
				crash(t, x)
				if err := os.WriteFile(filepath.Join(dir, "x"+runSuffix+unfinished), []byte("half"), 0o600); err != nil {
					t.Fatal(err)
				}
				x = small(t, dir)
				m.catchUp(t, x)
			},
			"build anew": func(t *rapid.T) {
				if err := x.Reset(); err != nil {
					t.Fatal(err)
				}
				half := rapid.IntRange(0, len(m.records)).Draw(t, "half")
				refill(t.Context(), t, x, m, half)
				if _, _, err := x.Newest(hashed(1)); !errors.Is(err, ErrEmptied) {
					t.Fatalf("half of it answers: %v", err)
				}
				if rapid.Bool().Draw(t, "again") {
					if err := x.Reset(); err != nil {
						t.Fatal(err)
					}
				}
				refill(t.Context(), t, x, m, len(m.records))
				if err := x.Refilled(); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) {
				m.same(t, x, uint64(rapid.IntRange(0, 40).Draw(t, "from")), rapid.IntRange(0, 50).Draw(t, "limit"))
			},
		})
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// refill adds to x what it does not have of the first n batches.
func refill(ctx context.Context, t fatal, x *Index, m *model, n int) {
	t.Helper()
	for next := slices.Index(m.marks, x.Reached()) + 1; next < n; next++ {
		if err := x.Room(ctx); err != nil {
			t.Fatal(err)
		}
		x.Add(m.records[next], m.marks[next])
	}
}

// fill adds n batches, and writes them all.
func fill(t *testing.T, dir string, n int) (m *model) {
	t.Helper()
	m = newModel()
	x := small(t, dir)
	for i := range n {
		var to Mark
		if i > 0 {
			to = m.marks[i-1]
		}
		to.Incarnation = "first"
		var records []Record
		for j := range 10 {
			to.Seq++
			to.Outcome++
			h, key := hashed(j%hashes), hashed(int(to.Outcome))
			key[1], key[2] = 1, byte(to.Outcome>>8)
			m.newest[h]++
			records = append(records, Record{h, m.newest[h], to.Seq}, Record{key, 0, to.Outcome})
		}
		for _, r := range records {
			m.all[r.Hash] = append(m.all[r.Hash], r)
		}
		if err := x.Room(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.records, m.marks = append(m.records, records), append(m.marks, to)
		x.Add(records, to)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestDamageIsNeverAWrongAnswer turns single bits and cuts files, and asks everything.
func TestDamageIsNeverAWrongAnswer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := fill(t, dir, 60)
	names := runsIn(t, dir)
	for _, name := range names {
		path := filepath.Join(dir, name)
		sound, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(sound); at += 251 {
			spoilt := slices.Clone(sound)
			spoilt[at] ^= 1 << (at % 8)
			askSpoilt(t, m, dir, name, spoilt, fmt.Sprintf("bit at %d of %d", at, len(sound)))
		}
		for _, length := range []int{0, 1, footerSize, len(sound) - 1, len(sound) - footerSize, len(sound) / 2} {
			askSpoilt(t, m, dir, name, sound[:length], fmt.Sprintf("%d of %d bytes", length, len(sound)))
		}
	}
}

func runsIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// askSpoilt asks a copy of dir in which one file is spoilt. An error is a good answer.
func askSpoilt(t *testing.T, m *model, dir, name string, spoilt []byte, what string) {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(copied, name), spoilt, 0o600); err != nil {
		t.Fatal(err)
	}
	x, err := OpenReadOnly(copied)
	if err != nil {
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("%s: %v", what, err)
		}
		return
	}
	defer x.Close()
	for h, want := range m.all {
		got, err := x.Ascend(h, 0, 1000)
		if want[0].Version == 0 {
			got, err = x.Descend(h, 0, 0, 1000)
		}
		if err != nil && !errors.Is(err, ErrDamaged) || err == nil && !slices.Equal(got, want) {
			t.Fatalf("%s of %s: %v, %v instead of %v", what, name, got, err, want)
		}
		newest, found, err := x.Newest(h)
		if err != nil && !errors.Is(err, ErrDamaged) || err == nil && (!found || newest != want[len(want)-1]) {
			t.Fatalf("%s of %s: the newest is %v, %t, %v instead of %v", what, name, newest, found, err, want[len(want)-1])
		}
	}
}
