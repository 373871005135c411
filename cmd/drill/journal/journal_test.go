package journal_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"bankforge/cmd/drill/journal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWhatIsNotedIsThere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() {
			for _, fate := range []journal.Fate{journal.Intent, journal.Acked} {
				if err := j.Note(journal.Line{N: n, Fate: fate, Body: "a\nb"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	// Not closed: what was noted is in the file already.
	lines := read(t, path)
	if len(lines) != 100 {
		t.Errorf("%d lines", len(lines))
	}
	fates := map[int]string{}
	for _, l := range lines {
		fates[l.N] += string(l.Fate) + l.Body + " "
	}
	for n, got := range fates {
		if got != "intenta\nb ackeda\nb " {
			t.Errorf("%d: %q", n, got)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if j.Close() != nil || j.Note(journal.Line{}) == nil {
		t.Error("a closed journal takes lines")
	}
	again := open(t, path)
	if err := again.Note(journal.Line{N: 99, Fate: journal.Unknown}); err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if lines = read(t, path); len(lines) != 101 || lines[100].Fate != journal.Unknown {
		t.Errorf("opened again: %d lines", len(lines))
	}
}

func TestATornEndIsLeftOut(t *testing.T) {
	t.Parallel()
	lines, err := journal.Read(strings.NewReader("{\"n\":1}\n{\"n\":2}\n{\"n\":"))
	if err != nil || len(lines) != 2 {
		t.Errorf("%v, %v", lines, err)
	}
	if _, err := journal.Read(strings.NewReader("{\"n\":1}\nx\n{\"n\":2}\n")); err == nil {
		t.Error("a damaged line was read")
	}
}

func open(t *testing.T, path string) *journal.Journal {
	t.Helper()
	j, err := journal.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func read(t *testing.T, path string) []journal.Line {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := journal.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}
