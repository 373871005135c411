package index

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// eventually waits until done says so.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline.C:
			t.Fatal(what)
		case <-tick.C:
		}
	}
}

func TestAMissingFileIsNoticed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fill(t, dir, 60)
	names := runsIn(t, dir)
	if len(names) < 2 {
		t.Fatalf("%v is not enough to take one away", names)
	}
	if err := os.Remove(filepath.Join(dir, names[0])); err != nil {
		t.Fatal(err)
	}
	if _, err := openSmall(dir); !errors.Is(err, ErrDamaged) {
		t.Fatalf("%v, want ErrDamaged", err)
	}
	if err := Clear(dir); err != nil {
		t.Fatal(err)
	}
	x := small(t, dir)
	if reached := x.Reached(); reached != (Mark{}) {
		t.Fatalf("an empty index has reached %+v", reached)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDamageThatIsNoticedWhileReading is an error then, and still one at the next start.
func TestDamageThatIsNoticedWhileReading(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := fill(t, dir, 60)
	name := filepath.Join(dir, runsIn(t, dir)[0])
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[100] ^= 4 // in the first block
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	x := small(t, dir)
	failed := false
	for h := range m.all {
		if _, _, err := x.Newest(h); err != nil {
			failed = true
		}
		if failed {
			if _, _, err := x.Newest(h); !errors.Is(err, ErrDamaged) {
				t.Fatalf("%v after damage was noticed", err)
			}
		}
	}
	if err := x.Room(t.Context()); !failed || !errors.Is(err, ErrDamaged) {
		t.Fatalf("noticed: %t; room: %v", failed, err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := openSmall(dir); !errors.Is(err, ErrDamaged) {
		t.Fatalf("the next start: %v", err)
	}
}

// TestWhatIsThereIsLookedThrough finds each bit that is wrong, though nobody asks, and the index can be filled again
// while it is being read.
func TestWhatIsThereIsLookedThrough(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := fill(t, dir, 60)
	names := runsIn(t, dir)
	info, err := os.Stat(filepath.Join(dir, names[0]))
	if err != nil {
		t.Fatal(err)
	}
	for at := int64(0); at < info.Size()-footerSize; at += 313 {
		copied := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(copied, names[0]))
		if err != nil {
			t.Fatal(err)
		}
		data[at] ^= 1 << (at % 8)
		if err := os.WriteFile(filepath.Join(copied, names[0]), data, 0o600); err != nil {
			t.Fatal(err)
		}
		x := small(t, copied)
		<-x.Damaged()
		if err := x.Broken(); !errors.Is(err, ErrDamaged) {
			t.Fatalf("bit at %d of %d: %v", at, len(data), err)
		}
		if err := x.Reset(); err != nil {
			t.Fatal(err)
		}
		refill(t.Context(), t, x, m, len(m.records))
		if err := x.Refilled(); err != nil {
			t.Fatal(err)
		}
		m.same(t, x, 0, 1000)
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// fullDisk has files that cannot be written while it is full.
type fullDisk struct{ full atomic.Bool }

type fullFile struct {
	file

	on *fullDisk
}

var errNoSpace = errors.New("no space left on device")

func (d *fullDisk) create(path string) (file, error) {
	f, err := createFile(path)
	return fullFile{f, d}, err
}

func (f fullFile) WriteAt(p []byte, at int64) (int, error) {
	if f.on.full.Load() {
		return 0, errNoSpace
	}
	return f.file.WriteAt(p, at)
}

func TestAFullDisk(t *testing.T) {
	t.Parallel()
	var disk fullDisk
	disk.full.Store(true)
	dir, m := t.TempDir(), newModel()
	x, err := open(&Index{dir: dir, log: slog.New(slog.DiscardHandler), tableSize: 16, create: disk.create})
	if err != nil {
		t.Fatal(err)
	}
	var to Mark
	for err == nil {
		to.Seq++
		r := Record{hashed(3), to.Seq, to.Seq}
		x.Add([]Record{r}, to)
		m.all[r.Hash] = append(m.all[r.Hash], r)
		err = x.Room(t.Context())
	}
	if !errors.Is(err, ErrFull) || !errors.Is(err, errNoSpace) || to.Seq != 16*maxFrozen {
		t.Fatalf("after %d records: %v", to.Seq, err)
	}
	equal(t, "while the disk is full", first(x.Ascend(hashed(3), 0, 1000)), m.all[hashed(3)], false)
	for _, name := range runsIn(t, dir) {
		if strings.HasSuffix(name, runSuffix) {
			t.Errorf("there is %s", name)
		}
	}
	disk.full.Store(false)
	eventually(t, "there is no room, though the disk has some", func() bool { return x.Room(t.Context()) == nil })
	equal(t, "afterwards", first(x.Ascend(hashed(3), 0, 1000)), m.all[hashed(3)], false)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if x = small(t, dir); x.Reached() != to {
		t.Errorf("reached %+v instead of %+v", x.Reached(), to)
	}
	equal(t, "reopened", first(x.Ascend(hashed(3), 0, 1000)), m.all[hashed(3)], false)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestReadersBesideWriting reads while tables are written and runs are merged: what was added is always found.
func TestReadersBesideWriting(t *testing.T) {
	t.Parallel()
	x := small(t, t.TempDir())
	var added atomic.Uint64
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				least := added.Load()
				newest, _, err := x.Newest(hashed(1))
				if err != nil || newest.Version < least {
					t.Errorf("version %d, %v, after %d", newest.Version, err, least)
					return
				}
				some, err := x.Ascend(hashed(1), least/2, 10)
				if err != nil || least > 1 && (len(some) == 0 || some[0].Version != least/2+1) {
					t.Errorf("%v, %v behind %d", some, err, least/2)
					return
				}
			}
		})
	}
	for v := uint64(1); v <= 4000; v++ {
		if err := x.Room(t.Context()); err != nil {
			t.Fatal(err)
		}
		x.Add([]Record{{hashed(1), v, v}}, Mark{Place: Place{Seq: v}})
		added.Store(v)
	}
	close(stop)
	readers.Wait()
	n := 0
	err := x.All(func(Record) error { n++; return nil })
	if err != nil || n != 4000 {
		t.Errorf("%d records, %v", n, err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := x.Newest(hashed(1)); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed index says %v", err)
	}
}

// runFile is what a sound run looks like.
func runFile(f *testing.F, records int) []byte {
	f.Helper()
	dir := f.TempDir()
	x, err := open(&Index{dir: dir, log: slog.New(slog.DiscardHandler), tableSize: tableSize, create: createFile})
	if err != nil {
		f.Fatal(err)
	}
	for n := range records {
		x.Add([]Record{{hashed(1), uint64(n + 1), uint64(n + 1)}}, Mark{Place: Place{1, 1}, Incarnation: "first"})
	}
	if err := x.Close(); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, runName(Place{}, Place{1, 1})))
	if err != nil {
		f.Fatal(err)
	}
	return b
}

// FuzzOpenRun gives any bytes for a run file.
func FuzzOpenRun(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte(magic))
	for _, records := range []int{1, perBlock + 1} {
		f.Add(runFile(f, records))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		for _, footed := range []bool{false, true} {
			if footed && len(data) >= footerSize { // with a footer whose checksum is right, whatever it says
				data = slices.Clone(data)
				foot := data[len(data)-footerSize:]
				copy(foot, magic)
				binary.BigEndian.PutUint32(foot[footerSum:], crc32.Checksum(foot[:footerSum], castagnoli))
			}
			whole := data
			if foot, err := decodeFooter(data[max(0, len(data)-footerSize):]); err == nil {
				whole = data[:min(int64(len(data)), foot.fileSize())]
			}
			path := filepath.Join(dir, runName(Place{}, Place{1, 1}))
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			x, err := OpenReadOnly(dir)
			if err != nil {
				continue
			}
			_, _, err = x.Newest(hashed(1))
			if err != nil && !errors.Is(err, ErrDamaged) {
				t.Error(err)
			}
			if err := x.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
