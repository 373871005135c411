package inside

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/bank"
	"bankforge/cmd/bankforge/bench"
	"bankforge/handlers"
	"bankforge/router"
)

const batched = 1000 // facts of a delivery that is one of many

// Chain times the steps on so many messages, and the making of what they are handed: alone, and when many come
// together. Handler, transaction and what is read in it cost nothing; metrics are the process's own.
func Chain(ctx context.Context, messages int, metrics router.Metrics) (out bench.ChainCost, err error) {
	if out.Alone, out.Making, err = timed(ctx, messages, 1, metrics); err != nil {
		return out, err
	}
	out.Batched, _, err = timed(ctx, messages*10, batched, metrics)
	return out, err
}

// timed is the processor time of the steps for each of so many messages, when so many of them come together, and what
// it takes to make the message of Watermill that carries them.
func timed(
	ctx context.Context, messages, together int, metrics router.Metrics,
) (each, making time.Duration, err error) {
	const incarnation = "incarnation"
	s := &free{at: router.Checkpoint{Incarnation: incarnation}}
	r, err := router.New("", []router.Route{{
		Name: history.Handler, Topic: history.Topic, Store: s,
		Handler: func(context.Context, []handlers.Fact) error { return nil },
	}}, router.Config{Source: router.FromLog(nil), Progress: router.NewProgress(), Metrics: metrics})
	if err != nil {
		return 0, 0, err
	}
	d := &router.Delivery{Incarnation: incarnation, Facts: make([]handlers.Fact, together)}
	for i := range d.Facts {
		d.Facts[i].Leg = &bank.Leg{Account: bank.MakeID[bank.Account]([16]byte{13: byte(i >> 8), 14: byte(i)})}
		d.Facts[i].Incarnation = d.Incarnation
	}
	deliveries := messages / together
	making = bench.OwnCPU()
	var msg *message.Message
	for range deliveries {
		msg = router.NewMessage(ctx, d)
	}
	making = (bench.OwnCPU() - making) / time.Duration(deliveries)
	chain := r.Chain(history.Handler)
	each = bench.OwnCPU()
	for range deliveries {
		d.Prev = d.Through
		for i := range d.Facts {
			d.Through.Seq++
			d.Facts[i].Seq = d.Through.Seq
		}
		if _, err := chain(msg); err != nil {
			return 0, 0, err
		}
	}
	each = (bench.OwnCPU() - each) / time.Duration(deliveries*together)
	if s.at.Position != d.Through || int(s.at.Position.Seq) != deliveries*together {
		return 0, 0, errors.New("the steps have left something out")
	}
	return each, making, nil
}

// free is a store whose transactions cost nothing, and in which nothing is parked.
type free struct {
	router.Store // nil: nothing else is called
	at           router.Checkpoint
}

// InTx runs fn.
func (*free) InTx(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }

// Checkpoint is the last one.
func (s *free) Checkpoint(context.Context, router.Stream) (router.Checkpoint, error) {
	return s.at, nil
}

// Advance keeps it.
func (s *free) Advance(_ context.Context, _ router.Stream, c router.Checkpoint) error {
	s.at = c
	return nil
}

// Blocked has nothing.
func (*free) Blocked(context.Context, string, []string) ([]string, error) { return nil, nil }
