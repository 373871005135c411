package apptest

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"bankforge/app"
	"bankforge/app/bank"
)

// broken is a log that keeps all promises but those whose functions are replaced.
type broken struct {
	*MemoryLog
	acquire  func(context.Context, string) (app.Head, error)
	append   func(context.Context, app.Batch) error
	resolve  func(context.Context, app.Batch) (bool, app.Head, error)
	read     func(context.Context, bank.Seq, int) ([]app.Row, error)
	outcomes func(context.Context, []app.Key) (map[app.Key]app.Outcome, error)
	latest   func(context.Context, []string) (map[string]app.Row, error)
	before   func(context.Context, string, bank.Version, int) ([]app.Row, error)
	crash    func() (LogUnderTest, error)
}

func newBroken() *broken {
	l := new(MemoryLog)
	return &broken{
		MemoryLog: l, acquire: l.Acquire, append: l.Append, resolve: l.Resolve, read: l.Read, outcomes: l.Outcomes,
		latest: l.Latest, before: l.VersionsBefore,
		crash: func() (LogUnderTest, error) { return l.Crash(), nil },
	}
}

func (l *broken) Acquire(ctx context.Context, owner string) (app.Head, error) {
	return l.acquire(ctx, owner)
}
func (l *broken) Append(ctx context.Context, b app.Batch) error { return l.append(ctx, b) }
func (l *broken) Resolve(ctx context.Context, b app.Batch) (bool, app.Head, error) {
	return l.resolve(ctx, b)
}

func (l *broken) Read(ctx context.Context, after bank.Seq, limit int) ([]app.Row, error) {
	return l.read(ctx, after, limit)
}

func (l *broken) Outcomes(ctx context.Context, keys []app.Key) (map[app.Key]app.Outcome, error) {
	return l.outcomes(ctx, keys)
}

func (l *broken) Latest(ctx context.Context, subjects []string) (map[string]app.Row, error) {
	return l.latest(ctx, subjects)
}

func (l *broken) VersionsBefore(ctx context.Context, s string, v bank.Version, limit int) ([]app.Row, error) {
	return l.before(ctx, s, v, limit)
}

// now is the head, behind the back of whoever is tested.
func (l *broken) now() app.Head {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.head
}

// fixed makes an append that changes each batch first.
func (l *broken) fixed(change func(*app.Batch)) {
	l.append = func(ctx context.Context, b app.Batch) error {
		b.Rows, b.Outcomes = slices.Clone(b.Rows), slices.Clone(b.Outcomes)
		change(&b)
		return l.MemoryLog.Append(ctx, b)
	}
}

// brokenLog is one way to break a log, and the promise that TestLog must miss.
type brokenLog struct {
	name, promise string
	breaks        func(*broken)
}

func TestBrokenLogsAreRejected(t *testing.T) {
	t.Parallel()
	for _, c := range slices.Concat(brokenAppends, brokenReads, brokenOwners) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := TestLog(t.Context(), LogStore{
				Open: func() (LogUnderTest, error) {
					l := newBroken()
					c.breaks(l)
					return l, nil
				},
				Crash: func(l LogUnderTest) (LogUnderTest, error) {
					if b, ok := l.(*broken); ok {
						return b.crash()
					}
					return crashMemory(l)
				},
			})
			if err == nil || !strings.Contains(err.Error(), c.promise+": ") {
				t.Fatalf("it is told that\n%v\nand not that this is broken: %s", err, c.promise)
			}
		})
	}
}

// TestEveryPromiseIsNeeded: a check that no broken log fails would prove nothing.
func TestEveryPromiseIsNeeded(t *testing.T) {
	t.Parallel()
	for _, c := range logChecks {
		if !slices.ContainsFunc(slices.Concat(brokenAppends, brokenReads, brokenOwners), func(b brokenLog) bool {
			return b.promise == c.promise
		}) {
			t.Errorf("no broken log fails %q", c.promise)
		}
	}
}

var brokenAppends = []brokenLog{
	{"no fence by term", "a new owner fences the old one", func(l *broken) {
		l.fixed(func(b *app.Batch) { b.Term = l.now().Term })
	}},
	{"no fence by batch", "a batch that does not follow the head is fenced", func(l *broken) {
		l.fixed(func(b *app.Batch) { b.Number = l.now().Batch + 1 })
	}},
	{"no fence by place", "a batch that does not follow the head is fenced", func(l *broken) {
		l.fixed(func(b *app.Batch) { shift(b, l.now().Seq) })
	}},
	{"no fence at all", "of many who follow the same head one wins", func(l *broken) {
		l.fixed(func(b *app.Batch) {
			b.Term, b.Number = l.now().Term, l.now().Batch+1
			shift(b, l.now().Seq)
			for i := range b.Rows {
				b.Rows[i].Touches = nil
			}
			b.Outcomes = nil
		})
	}},
	{"gap in seq", "rows are dense", func(l *broken) { l.fixed(func(b *app.Batch) { shift(b, b.After) }) }},
	{"outcomes before the transaction", "a batch that does not follow the head is fenced", func(l *broken) {
		l.append = func(ctx context.Context, b app.Batch) error {
			l.keep(b.Outcomes)
			b.Outcomes = nil
			return l.MemoryLog.Append(ctx, b)
		}
	}},
	{"outcomes after the transaction", "readers see nothing but beginnings of the log", func(l *broken) {
		var asked atomic.Int64
		l.outcomes = func(ctx context.Context, keys []app.Key) (map[app.Key]app.Outcome, error) {
			defer asked.Add(1)
			return l.MemoryLog.Outcomes(ctx, keys)
		}
		l.append = func(ctx context.Context, b app.Batch) error {
			later := b.Outcomes
			b.Outcomes = nil
			err := l.MemoryLog.Append(ctx, b)
			if err == nil {
				for before, n := asked.Load(), 0; asked.Load() < before+6 && n < 10_000; n++ {
					runtime.Gosched() // so that a reader comes in between
				}
				l.keep(later)
			}
			return err
		}
	}},
	{"outcomes for events only", "what was appended is read, in order and whole", func(l *broken) {
		l.fixed(func(b *app.Batch) {
			if len(b.Rows) == 0 {
				b.Outcomes = nil
			}
		})
	}},
	{"the last outcome wins", "a key has one outcome for ever", func(l *broken) {
		l.fixed(func(b *app.Batch) {
			l.mu.Lock()
			defer l.mu.Unlock()
			kept := map[app.Key]app.Outcome{}
			for _, o := range b.Outcomes {
				delete(l.MemoryLog.outcomes, o.Key)
				kept[o.Key] = o
			}
			b.Outcomes = nil
			for _, o := range kept {
				b.Outcomes = append(b.Outcomes, o)
			}
		})
	}},
	{"the first version wins", "a version is made once", func(l *broken) {
		l.fixed(func(b *app.Batch) {
			l.mu.RLock()
			defer l.mu.RUnlock()
			seen := map[app.Touch]bool{}
			for i := range b.Rows {
				b.Rows[i].Touches = slices.DeleteFunc(slices.Clone(b.Rows[i].Touches), func(t app.Touch) bool {
					twice := seen[t] || l.touches[t.Subject][t.Version] != 0
					seen[t] = true
					return twice
				})
			}
		})
	}},
	{"half of a refused batch stays", "a key has one outcome for ever", func(l *broken) {
		l.append = func(ctx context.Context, b app.Batch) error {
			err := l.MemoryLog.Append(ctx, b)
			if err != nil {
				b.Outcomes = nil
				_ = l.MemoryLog.Append(ctx, b)
			}
			return err
		}
	}},
	{"stale chain", "what was appended is read, in order and whole", func(l *broken) {
		l.fixed(func(b *app.Batch) {
			for i := range b.Rows {
				b.Rows[i].Chain = l.now().Chain
			}
		})
	}},
	{"keeps the batch", "a batch is not kept", func(l *broken) {
		var mu sync.Mutex
		given := map[bank.Seq][]byte{}
		l.append = func(ctx context.Context, b app.Batch) error {
			mu.Lock()
			for _, r := range b.Rows {
				given[r.Seq] = r.Data
			}
			mu.Unlock()
			return l.MemoryLog.Append(ctx, b)
		}
		l.read = func(ctx context.Context, after bank.Seq, limit int) ([]app.Row, error) {
			rows, err := l.MemoryLog.Read(ctx, after, limit)
			mu.Lock()
			defer mu.Unlock()
			for i := range rows {
				rows[i].Data = given[rows[i].Seq]
			}
			return rows, err
		}
	}},
	{"a cancelled append is told to have failed", "a cancelled append is known to have failed or not", func(l *broken) {
		l.append = func(ctx context.Context, b app.Batch) error {
			if err := l.MemoryLog.Append(context.WithoutCancel(ctx), b); err != nil {
				return err
			}
			return ctx.Err()
		}
	}},
}

// keep puts outcomes in, in a step of its own.
func (l *broken) keep(outcomes []app.Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.MemoryLog.outcomes == nil {
		l.MemoryLog.outcomes = map[app.Key]app.Outcome{}
	}
	for _, o := range outcomes {
		l.MemoryLog.outcomes[o.Key] = o
	}
}
