package index

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const damagedSuffix = ".damaged"

// Open opens the index in dir, and makes it if it is not there. What is left of an unfinished write is cleared away.
// If a run is missing or damaged, as far as opening sees it, the error is ErrDamaged: see Clear.
// Only one process may have it open so; others use OpenReadOnly.
func Open(dir string, log *slog.Logger) (*Index, error) {
	return open(&Index{dir: dir, log: log, tableSize: tableSize, create: createFile})
}

// OpenReadOnly opens what is in dir, beside a process that may be writing. What is added stays in memory.
func OpenReadOnly(dir string) (*Index, error) {
	return open(&Index{
		dir: dir, log: slog.New(slog.DiscardHandler), tableSize: tableSize, create: createFile, readOnly: true,
	})
}

func open(x *Index) (*Index, error) {
	x.wake, x.merge = make(chan struct{}, 1), make(chan struct{}, 1)
	x.room, x.done, x.noticed = make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)
	if !x.readOnly {
		if err := os.MkdirAll(x.dir, 0o700); err != nil {
			return nil, err
		}
	}
	found, err := x.load()
	if err != nil {
		return nil, err
	}
	var reached Mark
	if len(found) > 0 {
		reached = found[len(found)-1].to
	}
	x.runs, x.active = newRuns(found), newTable(reached, min(x.tableSize, tableSize))
	if !x.readOnly {
		x.start()
	}
	return x, nil
}

// Clear removes everything in dir, last what says that something is damaged. The index is built anew from the log then.
func Clear(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, suffix := range [...]string{runSuffix, unfinished, damagedSuffix} {
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), suffix) {
				err = errors.Join(err, removeIfThere(filepath.Join(dir, e.Name())))
			}
		}
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// rereads is how often the directory is listed again, when a file of the list is gone because another process has
// merged it.
const rereads = 10

// load opens the runs, oldest first, and makes sure that none is missing.
func (x *Index) load() ([]*run, error) {
	for try := 1; ; try++ {
		found, err := x.loadOnce()
		if err == nil {
			if found, err = x.line(found); err == nil {
				return found, nil
			}
		}
		for _, r := range found {
			err = errors.Join(err, r.data.Close())
		}
		if !x.readOnly || try == rereads {
			return nil, err
		}
	}
}

func (x *Index) loadOnce() (found []*run, err error) {
	entries, err := os.ReadDir(x.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		path := filepath.Join(x.dir, e.Name())
		switch {
		case strings.HasSuffix(e.Name(), runSuffix):
			r, err := openRun(path)
			if err != nil {
				return found, err
			}
			found = append(found, r)
		case strings.HasSuffix(e.Name(), unfinished) && !x.readOnly:
			if err := removeIfThere(path); err != nil {
				return found, err
			}
		case strings.HasSuffix(e.Name(), damagedSuffix):
			return found, fmt.Errorf("%w: there is %s", ErrDamaged, e.Name())
		}
	}
	return found, nil
}

// line puts the runs in their order. Those that a merge has made one of are cleared away. All others must follow one
// another without a gap.
func (x *Index) line(found []*run) (kept []*run, err error) {
	slices.SortFunc(found, func(a, b *run) int { // of those that begin together, the longest first
		return cmp.Or(cmp.Compare(a.from.Seq, b.from.Seq), cmp.Compare(a.from.Outcome, b.from.Outcome),
			cmp.Compare(b.to.Seq, a.to.Seq), cmp.Compare(b.to.Outcome, a.to.Outcome))
	})
	var at Mark
	for i, r := range found {
		switch {
		case r.to.Seq <= at.Seq && r.to.Outcome <= at.Outcome:
			if err := x.covered(r); err != nil {
				return append(kept, found[i:]...), err
			}
			continue
		case r.from != at.Place:
			return append(kept, found[i:]...), fmt.Errorf("%w: what is between event %d and event %d is missing",
				ErrDamaged, at.Seq, r.from.Seq)
		case i > 0 && r.to.Incarnation != at.Incarnation:
			return append(kept, found[i:]...), fmt.Errorf("%w: its runs are of different logs", ErrDamaged)
		}
		at = r.to
		kept = append(kept, r)
	}
	return kept, nil
}

// covered gives up a run whose records are in another one.
func (x *Index) covered(r *run) error {
	err := r.data.Close()
	if !x.readOnly {
		err = errors.Join(err, removeIfThere(r.path))
	}
	return err
}
