package router_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// act appends what an operator wants of a handler: it touches no account.
func (l *ledger) act(handler string) {
	l.mu.Lock()
	seq := bank.Seq(len(l.events) + 1)
	l.events = append(l.events, app.Recorded{
		Event: bank.Event{
			Seq: seq, Type: bank.OperatorActed, Time: bank.Time(1_700_000_000_000_000 + int64(seq)), Act: &bank.Act{
				ID:   bank.MakeID[bank.Act]([16]byte{14: byte(seq >> 8), 15: byte(seq)}),
				Kind: bank.HandlerPause, Handler: handler, Reason: "seen",
			},
		},
		Meta: app.Meta{Actor: "olga", CorrelationID: fmt.Sprint("cor-", seq)},
	})
	l.mu.Unlock()
	l.hints.Wake()
}

// Between movements of money, and where there are none for long, operators act. Who is told of acts gets each of them
// once and in order, with what it is, though it fails at times and starts again; and who is told of accounts comes to
// the end of the log, whether or not acts are handled.
func TestActsComeOnceAndHoldUpNobody(t *testing.T) {
	t.Parallel()
	b := newBench(t, newLedger(), openStore(t), quick())
	for n := range 600 {
		b.ledger.act(fmt.Sprint("handler-", n%7))
	}
	b.start(t)
	b.await(t) // acts only
	for n := range 100 {
		b.ledger.credit(n%3, 10)
		b.ledger.act(fmt.Sprint("handler-", n%7))
	}
	b.await(t)
	b.book.check(t)
	if at := b.book.at(t, 10); at != 100 {
		t.Errorf("of 100 versions it has %d", at)
	}
	var told toldActs
	for _, until := range []int{50, 300, 701} { // it is stopped, and goes on
		told.run(t, b, until)
	}
	told.check(t, b.ledger)
}

// toldActs is what a handler of acts was told, in transactions that stayed.
type toldActs struct {
	mu    sync.Mutex
	all   []handlers.Fact
	tries int
}

var errAtTimes = errors.New("it fails at times")

// take fails every fifth time, after it has written.
func (a *toldActs) take(b *bench, stop func(), until int) handlers.Func {
	return handlers.Acts(func(ctx context.Context, f *handlers.Fact) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		at, err := b.store.Checkpoint(ctx, page("acts"))
		if err != nil {
			return err
		}
		n := int(at.Position.Seq) // acts that have had their effect
		next := router.Checkpoint{Position: handlers.Position{Seq: bank.Seq(n + 1)}}
		if err := b.store.Advance(ctx, page("acts"), next); err != nil {
			return err
		}
		if a.tries++; a.tries%5 == 0 {
			return errAtTimes
		}
		a.all = append(a.all[:min(n, len(a.all))], *f) // what was undone is told again
		if n+1 >= until {
			stop()
		}
		return nil
	})
}

// run runs a router until about so many acts have been handled, or all.
func (a *toldActs) run(t *testing.T, b *bench, until int) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	progress := router.NewProgress()
	r, err := router.New("", []router.Route{
		{Name: "acts", Topic: bank.OpsTopic, Store: b.store, Handler: a.take(b, stop, until)},
	}, router.Config{Source: b.ledger, Hints: b.ledger.hints, Progress: progress, Policy: quick(), Batch: 16})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		if progress.Await(ctx, "acts", b.ledger.head()) {
			stop()
		}
	})
	if err := r.Run(ctx); err != nil {
		t.Error(err)
	}
	stop()
	all.Wait()
}

func (a *toldActs) check(t *testing.T, l *ledger) {
	t.Helper()
	var want []bank.Seq
	for i := range l.events {
		if l.events[i].Act != nil {
			want = append(want, l.events[i].Seq)
		}
	}
	var got []bank.Seq
	for i := range a.all {
		f := &a.all[i]
		got = append(got, f.Seq)
		e := &l.events[f.Seq-1]
		if f.Act == nil || f.Act.ID != e.Act.ID || f.Actor != "olga" || f.CorrelationID != e.Meta.CorrelationID ||
			f.Topic() != bank.OpsTopic || f.Key() != e.Act.Handler || f.Leg != nil || f.Transaction != nil {
			t.Fatalf("event %d is told as %+v", f.Seq, f)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("told are %d acts %v\nwant %d", len(got), got, len(want))
	}
}
