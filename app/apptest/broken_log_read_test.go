package apptest

import (
	"context"
	"maps"
	"slices"

	"bankforge/app"
	"bankforge/app/bank"
)

var brokenReads = []brokenLog{
	{"reordered read", "what was appended is read, in order and whole", func(l *broken) {
		l.reads(func(rows []app.Row) []app.Row {
			if len(rows) > 1 {
				rows[0], rows[1] = rows[1], rows[0]
			}
			return rows
		})
	}},
	{"a row is left out", "what was appended is read, in order and whole", func(l *broken) {
		l.reads(func(rows []app.Row) []app.Row {
			return slices.DeleteFunc(rows, func(r app.Row) bool { return r.Seq == 3 })
		})
	}},
	{"no limit", "limits are kept", func(l *broken) {
		l.read = func(ctx context.Context, after bank.Seq, _ int) ([]app.Row, error) {
			return l.MemoryLog.Read(ctx, after, 1000)
		}
	}},
	{"includes what it is behind", "limits are kept", func(l *broken) {
		l.read = func(ctx context.Context, after bank.Seq, limit int) ([]app.Row, error) {
			return l.MemoryLog.Read(ctx, max(after, 1)-1, limit)
		}
	}},
	{"only so many keys at once", "outcomes are kept as they are", func(l *broken) {
		l.outcomes = func(ctx context.Context, keys []app.Key) (map[app.Key]app.Outcome, error) {
			return l.MemoryLog.Outcomes(ctx, keys[:min(len(keys), 256)])
		}
	}},
	{"an outcome without its reply", "what was appended is read, in order and whole", func(l *broken) {
		l.outcomes = func(ctx context.Context, keys []app.Key) (map[app.Key]app.Outcome, error) {
			found, err := l.MemoryLog.Outcomes(ctx, keys)
			for k, o := range found {
				o.Reply = nil
				found[k] = o
			}
			return found, err
		}
	}},
	{"latest is the first", "the newest version is found", func(l *broken) {
		l.latest = func(ctx context.Context, subjects []string) (map[string]app.Row, error) {
			out := map[string]app.Row{}
			for _, s := range subjects {
				rows, err := l.Versions(ctx, s, 0, 1)
				if err != nil {
					return nil, err
				}
				for _, r := range rows {
					out[s] = r
				}
			}
			return out, nil
		}
	}},
	{"ascending where descending is promised", "versions are found in order", func(l *broken) {
		l.before = func(ctx context.Context, s string, v bank.Version, limit int) ([]app.Row, error) {
			rows, err := l.MemoryLog.VersionsBefore(ctx, s, v, limit)
			slices.Reverse(rows)
			return rows, err
		}
	}},
}

// reads changes what is read.
func (l *broken) reads(change func([]app.Row) []app.Row) {
	l.read = func(ctx context.Context, after bank.Seq, limit int) ([]app.Row, error) {
		rows, err := l.MemoryLog.Read(ctx, after, limit)
		return change(rows), err
	}
}

var brokenOwners = []brokenLog{
	{"a term for all", "a new owner fences the old one", func(l *broken) {
		l.acquire = func(ctx context.Context, owner string) (app.Head, error) {
			head, err := l.MemoryLog.Acquire(ctx, owner)
			l.mu.Lock()
			defer l.mu.Unlock()
			l.head.Term = 1
			head.Term = 1
			return head, err
		}
	}},
	{"an incarnation for each owner", "a ledger is made by the first to acquire it", func(l *broken) {
		l.acquire = func(ctx context.Context, owner string) (app.Head, error) {
			l.mu.Lock()
			l.head.Incarnation = ""
			l.mu.Unlock()
			return l.MemoryLog.Acquire(ctx, owner)
		}
	}},
	{"resolve says yes", "resolving a batch that never came", func(l *broken) {
		l.resolve = func(ctx context.Context, b app.Batch) (bool, app.Head, error) {
			_, head, err := l.MemoryLog.Resolve(ctx, b)
			return err == nil, head, err
		}
	}},
	{"resolve says no", "resolving a committed batch", func(l *broken) {
		l.resolve = func(ctx context.Context, b app.Batch) (bool, app.Head, error) {
			_, head, err := l.MemoryLog.Resolve(ctx, b)
			return false, head, err
		}
	}},
	{"resolve only looks", "resolving a batch that never came", func(l *broken) {
		l.resolve = func(ctx context.Context, b app.Batch) (bool, app.Head, error) {
			committed, head, err := l.MemoryLog.Resolve(ctx, b)
			l.mu.Lock()
			defer l.mu.Unlock()
			l.head.Term = b.Term
			return committed, head, err
		}
	}},
	{"resolve takes the ledger from its owner", "resolving after another owner has come", func(l *broken) {
		l.resolve = func(ctx context.Context, b app.Batch) (bool, app.Head, error) {
			b.Term = l.now().Term
			return l.MemoryLog.Resolve(ctx, b)
		}
	}},
	{"a lost tail", "what was acknowledged survives a crash", func(l *broken) {
		l.crash = func() (LogUnderTest, error) {
			c := l.Crash()
			c.rows = c.rows[:len(c.rows)-1]
			c.head.Seq--
			c.head.Chain = app.Hash{}
			if n := len(c.rows); n > 0 {
				c.head.Chain = c.rows[n-1].Chain
			}
			delete(c.touches[hot], bank.Version(c.head.Seq+1))
			return c, nil
		}
	}},
	{"outcomes in memory only", "what was acknowledged survives a crash", func(l *broken) {
		l.crash = func() (LogUnderTest, error) {
			c := l.Crash()
			clear(c.outcomes)
			return c, nil
		}
	}},
	{"the index in memory only", "what was acknowledged survives a crash", func(l *broken) {
		l.crash = func() (LogUnderTest, error) {
			c := l.Crash()
			maps.DeleteFunc(c.touches, func(string, map[bank.Version]bank.Seq) bool { return true })
			return c, nil
		}
	}},
}
