package app_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/app/codec"
)

// tampered is a log of which everything can be changed behind its back.
type tampered struct {
	*apptest.MemoryLog
	head  app.Head
	rows  []app.Row
	index map[app.Touch]bank.Seq
	// The outcomes, in their order.
	outcomes []app.Outcome
}

// untouched is a log of n events or a few more, in one batch.
func untouched(t *testing.T, seed uint64, n int) *tampered {
	t.Helper()
	ledger, err := apptest.NewLedger(seed)
	if err != nil {
		t.Fatal(err)
	}
	l := &tampered{MemoryLog: new(apptest.MemoryLog), index: map[app.Touch]bank.Seq{}}
	if l.head, err = l.Acquire(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	l.rows = apptest.Rows(l.head, ledger.Events(n))
	b := app.Batch{Term: l.head.Term, Number: l.head.Batch + 1, Rows: l.rows}
	if err := l.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if l.head, err = l.MemoryLog.Head(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, r := range l.rows {
		for _, touch := range r.Touches {
			l.index[touch] = r.Seq
		}
	}
	return l
}

func (l *tampered) Head(context.Context) (app.Head, error) { return l.head, nil }

func (l *tampered) Read(_ context.Context, after bank.Seq, limit int) (out []app.Row, err error) {
	for _, r := range l.rows {
		if r.Seq > after && len(out) < limit {
			out = append(out, r)
		}
	}
	return out, nil
}

func (l *tampered) Versions(ctx context.Context, subject string, after bank.Version, _ int) (out []app.Row, err error) {
	seq, ok := l.index[app.Touch{Subject: subject, Version: after + 1}]
	if !ok {
		return nil, nil
	}
	return l.Read(ctx, seq-1, 1)
}

func (*tampered) IndexedAs(subject string) string { return subject }

func (l *tampered) Touches(_ context.Context, until bank.Seq, each func(app.Touch, bank.Seq) error) error {
	for t, seq := range l.index {
		if seq <= until {
			if err := each(t, seq); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *tampered) Decided(_ context.Context, after int64, limit int) ([]app.Outcome, int64, error) {
	from := max(0, int(after))
	to := min(from+limit, len(l.outcomes))
	return l.outcomes[from:to], int64(to), nil
}

// change replaces event seq, and hashes the log anew from there: only the content tells.
func (l *tampered) change(t *testing.T, seq bank.Seq, with func(*bank.Event)) {
	t.Helper()
	e, m, err := codec.Decode(l.rows[seq-1].Data)
	if err != nil {
		t.Fatal(err)
	}
	with(&e)
	l.rows[seq-1].Data = codec.Encode(nil, &e, m)
	l.rehash(seq)
}

func (l *tampered) rehash(from bank.Seq) {
	for i := from - 1; i < bank.Seq(len(l.rows)); i++ {
		prev := app.Hash{}
		if i > 0 {
			prev = l.rows[i-1].Chain
		}
		l.rows[i].Chain = codec.Chain(prev, l.rows[i].Data)
		l.head.Chain = l.rows[i].Chain
	}
}

// find is the first event of which ok is true.
func (l *tampered) find(t *testing.T, ok func(*bank.Event) bool) bank.Seq {
	t.Helper()
	for _, r := range l.rows {
		e, _, err := codec.Decode(r.Data)
		if err != nil {
			t.Fatal(err)
		}
		if ok(&e) {
			return e.Seq
		}
	}
	t.Fatal("there is no such event in the log")
	return 0
}

func verify(t *testing.T, l app.VerifiedLog, views ...app.ViewCheck) app.VerifyReport {
	t.Helper()
	r, err := app.Verify(t.Context(), l, views...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestVerifyFindsNothingWrongInAGoodLog(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		l := untouched(t, seed, 1500)
		r := verify(t, l)
		if !r.OK() || r.Events != len(l.rows) || r.Head != l.head || r.State.Seq() != l.head.Seq {
			t.Fatalf("seed %d: %d events read, the differences are %v", seed, r.Events, r.Differences)
		}
		if r := verify(t, l.MemoryLog); !r.OK() {
			t.Fatalf("seed %d, through the index of the log itself: %v", seed, r.Differences)
		}
	}
	if r := verify(t, new(apptest.MemoryLog)); !r.OK() || r.Events != 0 {
		t.Fatalf("an empty log: %v", r.Differences)
	}
}

// TestVerifyFindsEveryFlippedBit flips bits all over the rows, one at a time.
func TestVerifyFindsEveryFlippedBit(t *testing.T) {
	t.Parallel()
	l := untouched(t, 1, 80)
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		i := random.IntN(len(l.rows))
		r := &l.rows[i]
		was := *r
		if random.IntN(4) == 0 {
			r.Chain[random.IntN(len(r.Chain))] ^= 1 << random.IntN(8)
		} else {
			r.Data = slices.Clone(r.Data)
			r.Data[random.IntN(len(r.Data))] ^= 1 << random.IntN(8)
		}
		report := verify(t, l)
		if report.OK() || report.Differences[0].Seq != was.Seq {
			t.Fatalf("a bit of event %d is flipped, found is %v", was.Seq, report.Differences)
		}
		*r = was
	}
	if r := verify(t, l); !r.OK() {
		t.Fatalf("all is as it was, and found is %v", r.Differences)
	}
}

// tampering is one way to damage a log, and what must be told of it.
type tampering struct {
	does func(t *testing.T, l *tampered) bank.Seq // returns the event at which it shows first
	want string
}

var tamperedRows = map[string]tampering{
	"a missing event": {func(_ *testing.T, l *tampered) bank.Seq {
		l.rows = slices.Delete(l.rows, 99, 100)
		return 101
	}, "those between are missing"},
	"a missing event, hashed anew": {func(_ *testing.T, l *tampered) bank.Seq {
		l.rows = slices.Delete(l.rows, 99, 100)
		l.rehash(100)
		return 101
	}, "those between are missing"},
	"a lost tail": {func(_ *testing.T, l *tampered) bank.Seq {
		l.rows = l.rows[:150]
		return 150
	}, "the head of the log is at event"},
	"nothing but a head": {func(_ *testing.T, l *tampered) bank.Seq {
		l.rows = nil
		return 0
	}, "the head of the log is at event"},
	"a head that was set back": {func(_ *testing.T, l *tampered) bank.Seq {
		l.head.Seq, l.head.Chain = 100, l.rows[99].Chain
		return 101
	}, "behind the head"},
	"another chain in the head": {func(_ *testing.T, l *tampered) bank.Seq {
		l.head.Chain[0]++
		return l.head.Seq
	}, "not the head's"},
	"two events in each other's place": {func(_ *testing.T, l *tampered) bank.Seq {
		l.rows[99].Data, l.rows[100].Data = l.rows[100].Data, l.rows[99].Data
		l.rehash(100)
		return 100
	}, "it says that it is event 101"},
	"no event at all": {func(_ *testing.T, l *tampered) bank.Seq {
		l.rows[99].Data = []byte("garbage")
		l.rehash(100)
		return 100
	}, "it cannot be read"},
	"an entry missing in the index": {func(_ *testing.T, l *tampered) bank.Seq {
		delete(l.index, l.rows[99].Touches[0])
		return 100
	}, "does not lead from version"},
	"an entry of the index elsewhere": {func(_ *testing.T, l *tampered) bank.Seq {
		l.index[l.rows[99].Touches[0]] = 99
		return 100
	}, "does not lead from version"},
	"an entry too many in the index": {func(_ *testing.T, l *tampered) bank.Seq {
		l.index[app.Touch{Subject: "acc_x", Version: 1}] = 42
		return 42
	}, "did not make"},
}

func isMovement(e *bank.Event) bool { return e.Type == bank.TransactionMade && e.Seq > 50 }

func isReversal(e *bank.Event) bool { return len(e.Transactions) == 2 }

// tamperedContent is hashed anew: only the rules of the bank tell.
var tamperedContent = map[string]tampering{
	"money from nothing": {func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		at := l.find(t, isMovement)
		l.change(t, at, func(e *bank.Event) { e.Legs[1].Amount++; e.Legs[1].After.Balance++ })
		return at
	}, "not to 0"},
	"another balance": {func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		at := l.find(t, isMovement)
		l.change(t, at, func(e *bank.Event) { e.Legs[0].After.Balance += 100 })
		return at
	}, "are not"},
	"a version left out": {func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		at := l.find(t, isMovement)
		l.change(t, at, func(e *bank.Event) { e.Legs[0].After.Version++ })
		return at
	}, "follows version"},
	"a version of a transaction left out": {func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		at := l.find(t, isReversal)
		l.change(t, at, func(e *bank.Event) { e.Transactions[1].Version++ })
		return at
	}, "follows"},
	"more given back than was moved": {func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		at := l.find(t, isReversal)
		l.change(t, at, func(e *bank.Event) { e.Transactions[1].Reversed++ })
		return at
	}, "given back"},
	"more held than the hold says": {func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		at := l.find(t, func(e *bank.Event) bool { return e.Type == bank.HoldPlaced })
		l.change(t, at, func(e *bank.Event) { e.Hold.Remaining++ })
		return at
	}, "remain"},
	"an act that moves money": {func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		at := l.find(t, isMovement)
		l.change(t, at, func(e *bank.Event) { e.Act = &bank.Act{Kind: bank.GroupRetry} })
		return at
	}, "and is none"},
	"an act without a reason": {func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		at := l.find(t, func(e *bank.Event) bool { return e.Act != nil })
		l.change(t, at, func(e *bank.Event) { e.Act.Reason = "" })
		return at
	}, "(reason)"},
	"another's act": {func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		at := l.find(t, func(e *bank.Event) bool { return e.Act != nil })
		l.change(t, at, func(e *bank.Event) { e.Act = nil })
		return at
	}, "without one"},
}

func TestVerifySaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, cases := range []map[string]tampering{tamperedRows, tamperedContent} {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				l := untouched(t, 3, 400)
				at := c.does(t, l)
				r := verify(t, l)
				if r.OK() || r.Differences[0].Seq != at || !strings.Contains(r.Differences[0].String(), c.want) {
					t.Fatalf("found is %v; want %q at event %d first", r.Differences, c.want, at)
				}
			})
		}
	}
}

func TestVerifyListsABoundedNumber(t *testing.T) {
	t.Parallel()
	l := untouched(t, 3, 600)
	for i := range l.rows {
		l.rows[i].Chain[0] ^= 1
	}
	if r := verify(t, l); len(r.Differences) != 100 || r.Omitted < len(l.rows)-100 {
		t.Fatalf("%d are listed and %d omitted, of %d rows", len(r.Differences), r.Omitted, len(l.rows))
	}
}

type viewCheck func(context.Context, *bank.State) ([]app.Difference, error)

func (c viewCheck) Compare(ctx context.Context, s *bank.State) ([]app.Difference, error) {
	return c(ctx, s)
}

func TestVerifyComparesViewsWithTheReplayedState(t *testing.T) {
	t.Parallel()
	l := untouched(t, 4, 200)
	wrong := app.Difference{Seq: 7, Subject: "acc_1", What: "another balance"}
	r := verify(t, l, viewCheck(func(_ context.Context, s *bank.State) ([]app.Difference, error) {
		if s.Seq() != l.head.Seq {
			t.Errorf("the state is of event %d", s.Seq())
		}
		return []app.Difference{wrong}, nil
	}))
	if !slices.Equal(r.Differences, []app.Difference{wrong}) {
		t.Fatalf("the differences are %v", r.Differences)
	}
	boom := errors.New("boom")
	unreadable := viewCheck(func(context.Context, *bank.State) ([]app.Difference, error) { return nil, boom })
	if _, err := app.Verify(t.Context(), l, unreadable); !errors.Is(err, boom) {
		t.Fatalf("a view that cannot be read: %v", err)
	}
}

func TestVerifyBesideAWriter(t *testing.T) {
	t.Parallel()
	ledger, err := apptest.NewLedger(9)
	if err != nil {
		t.Fatal(err)
	}
	l := new(apptest.MemoryLog)
	head, err := l.Acquire(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		for range 60 {
			b := apptest.Batch(head, ledger.Events(5))
			if err := l.Append(context.WithoutCancel(t.Context()), b); err != nil {
				done <- err
				return
			}
			last := b.Rows[len(b.Rows)-1]
			head.Batch, head.Seq, head.Chain = b.Number, last.Seq, last.Chain
		}
		done <- nil
	}()
	for writing := true; writing; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			writing = false
		default:
		}
		if r := verify(t, l); !r.OK() {
			t.Fatalf("beside a writer: %v", r.Differences)
		}
	}
}
