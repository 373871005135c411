package snapshots

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/app/codec"
)

func mark(seq bank.Seq) app.SnapshotMark {
	return app.SnapshotMark{Schema: 3, Incarnation: "one", Seq: seq, Chain: app.Hash{1, 2, 0xff}}
}

func saveText(t *testing.T, s *Directory, m app.SnapshotMark, text string) {
	t.Helper()
	err := s.Save(t.Context(), m, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// loaded is what Load reads; "" when it finds nothing.
func loaded(t *testing.T, s *Directory) string {
	t.Helper()
	var got string
	found, err := s.Load(t.Context(), func(m app.SnapshotMark, r io.Reader) error {
		content, err := io.ReadAll(r)
		got = string(content)
		if m != mark(m.Seq) {
			t.Errorf("the mark is %+v", m)
		}
		return err
	})
	if err != nil || found != (got != "") {
		t.Fatalf("found: %t, with content %q, error %v", found, got, err)
	}
	return got
}

func files(t *testing.T, dir string) (names []string) {
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

func TestSnapshotsKeepTheNewest(t *testing.T) {
	t.Parallel()
	s := New(t.TempDir(), slog.New(slog.DiscardHandler))
	if got := loaded(t, s); got != "" {
		t.Fatalf("before there is one: %q", got)
	}
	for _, seq := range []bank.Seq{9, 10, 0, 1 << 40, 7} { // 7: a restored log is shorter
		saveText(t, s, mark(seq), fmt.Sprint("state ", seq))
		if got := loaded(t, s); got != fmt.Sprint("state ", seq) {
			t.Fatalf("of %d: %q", seq, got)
		}
		if left := files(t, s.dir); len(left) != 1 {
			t.Fatalf("the files are %v", left)
		}
	}
}

func TestASnapshotThatFailsLeavesTheOneBefore(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	s := New(t.TempDir(), slog.New(slog.DiscardHandler))
	saveText(t, s, mark(1), "good")
	err := s.Save(t.Context(), mark(2), func(w io.Writer) error {
		_, err := io.WriteString(w, "half of")
		return errors.Join(err, boom)
	})
	if !errors.Is(err, boom) {
		t.Fatalf("the error is %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	err = s.Save(cancelled, mark(2), func(w io.Writer) error {
		cancel()
		_, err := io.WriteString(w, "too late")
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("the error is %v", err)
	}
	if got, left := loaded(t, s), files(t, s.dir); got != "good" || len(left) != 1 {
		t.Fatalf("%q is left, in %v", got, left)
	}
}

// TestDamagedSnapshotsArePassedOver damages a snapshot in all of its bytes, and cuts it off everywhere. The one
// before, which is there as if the process had died before removing it, takes its place.
func TestDamagedSnapshotsArePassedOver(t *testing.T) {
	t.Parallel()
	var told bytes.Buffer
	s := New(t.TempDir(), slog.New(slog.NewTextHandler(&told, nil)))
	saveText(t, s, mark(1), "older")
	older := filepath.Join(s.dir, files(t, s.dir)[0])
	kept, err := os.ReadFile(older)
	if err != nil {
		t.Fatal(err)
	}
	saveText(t, s, mark(2), "newer")
	newer := filepath.Join(s.dir, files(t, s.dir)[0])
	good, err := os.ReadFile(newer)
	if err != nil {
		t.Fatal(err)
	}
	write := func(path string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(older, kept)
	write(newer+unfinished, good)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		for _, damaged := range [][]byte{bad, good[:i]} {
			told.Reset()
			write(newer, damaged)
			if got := loaded(t, s); got != "older" {
				t.Fatalf("damaged at byte %d: %q", i, got)
			}
			if !strings.Contains(told.String(), filepath.Base(newer)) || !strings.Contains(told.String(), "reason=") {
				t.Fatalf("the log says %q", told.String())
			}
		}
	}
	write(newer, good)
	if got := loaded(t, s); got != "newer" {
		t.Fatalf("undamaged again: %q", got)
	}
}

func TestASnapshotThatDoesNotFitIsTold(t *testing.T) {
	t.Parallel()
	boom := errors.New("of another incarnation")
	s := New(t.TempDir(), slog.New(slog.DiscardHandler))
	saveText(t, s, mark(5), "state")
	found, err := s.Load(t.Context(), func(app.SnapshotMark, io.Reader) error { return boom })
	if !found || !errors.Is(err, boom) {
		t.Fatalf("found: %t, error %v", found, err)
	}
	if _, err := New(filepath.Join(s.dir, "none"), s.log).Load(t.Context(), nil); err == nil {
		t.Fatal("a folder that does not exist is not told")
	}
}

func TestAStateGoesThroughASnapshot(t *testing.T) {
	t.Parallel()
	ledger, err := apptest.NewLedger(2)
	if err != nil {
		t.Fatal(err)
	}
	ledger.Events(500)
	s := New(t.TempDir(), slog.New(slog.DiscardHandler))
	err = s.Save(t.Context(), mark(ledger.State.Seq()), func(w io.Writer) error {
		return codec.WriteState(w, ledger.State)
	})
	if err != nil {
		t.Fatal(err)
	}
	found, err := s.Load(t.Context(), func(m app.SnapshotMark, r io.Reader) error {
		state, err := codec.ReadState(r)
		if err == nil && state.Seq() != m.Seq {
			err = fmt.Errorf("the state is of event %d", state.Seq())
		}
		return err
	})
	if !found || err != nil {
		t.Fatalf("found: %t, error %v", found, err)
	}
}
