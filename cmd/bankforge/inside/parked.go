// Package inside does for the suite of measurements what cannot be done to a bank from outside: it parks what a handler
// has not handled yet, has a handler fail for one account, and times the steps that every message goes through.
package inside

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/cmd/bankforge/stores"
	"bankforge/handlers"
	"bankforge/router"
)

const (
	together = 1024 // events of one transaction
	reasons  = 20   // why the first message of a key has failed
)

// history is what the handler of history reads, where the log is the broker.
var history = router.Stream{Handler: app.HistoryHandler, Topic: bank.AccountsTopic}

// Park parks everything that the handler of history has not handled, as if the first message of each key had failed: of
// keys in turn for another reason. It returns how many messages wait then.
func Park(ctx context.Context, s *stores.Stores) (parked int, err error) {
	head, err := s.Log.Head(ctx)
	if err != nil {
		return 0, err
	}
	source, at := router.FromLog(s.Log), bank.Seq(0)
	p := parker{store: s.Writes.Views, began: time.Now().UTC().Truncate(time.Microsecond), keys: map[string]bool{}}
	for at < head.Seq {
		events, err := source.Read(ctx, at, together)
		if err != nil {
			return 0, err
		}
		d := router.DeliveryFrom(head.Incarnation, bank.AccountsTopic, at, events)
		if err := p.take(ctx, d); err != nil {
			return 0, fmt.Errorf("park what is behind event %d: %w", at, err)
		}
		at = d.Through.Whole()
	}
	return p.parked, nil
}

type parker struct {
	store  router.Store
	began  time.Time
	keys   map[string]bool
	parked int
}

func (p *parker) take(ctx context.Context, d *router.Delivery) error {
	return p.store.InTx(ctx, func(ctx context.Context) error {
		was, err := p.store.Checkpoint(ctx, history)
		if err == nil && was.Position != d.Prev {
			err = fmt.Errorf("the handler is at %v, and not at %v", was.Position, d.Prev)
		}
		if err != nil {
			return err
		}
		for i := range d.Facts {
			if err := p.park(ctx, &d.Facts[i]); err != nil {
				return err
			}
		}
		return p.store.Advance(ctx, history, router.Checkpoint{Incarnation: d.Incarnation, Position: d.Through})
	})
}

func (p *parker) park(ctx context.Context, f *handlers.Fact) error {
	msg, err := router.Encode(f, handlers.Position{})
	if err != nil {
		return err
	}
	m := router.Parked{
		Stream: history, Key: f.Key(), Incarnation: f.Incarnation, Position: f.Position(), Status: router.Waiting,
		At: p.began.Add(time.Duration(p.parked) * time.Microsecond), Type: msg.Metadata.Get("ce_type"),
		Correlation: f.CorrelationID, Accounts: []string{f.Key()}, Metadata: msg.Metadata, Payload: msg.Payload,
	}
	var tries []router.Attempt
	if !p.keys[m.Key] {
		n := len(p.keys) % reasons
		a := router.Attempt{At: m.At, Class: handlers.Unknown, Error: "reason " + string(rune('a'+n)), By: ops.ByStream}
		if n%2 == 1 {
			a.Class = handlers.Poison
		}
		a.Fingerprint = ops.Fingerprint(history.Handler, a.Class.String(), a.Error, "")
		m.Status, tries, p.keys[m.Key] = router.Failed, []router.Attempt{a}, true
	}
	p.parked++
	_, err = p.store.Park(ctx, m, tries)
	return err
}

// Isolate leaves the handler of history alone with the log: the others of views have seen it. With spoilt, the history
// of one account has an entry that the log does not know, so that none of the account's fits behind it: its first
// movement fails.
func Isolate(ctx context.Context, s *stores.Stores, spoilt bool) error {
	head, err := s.Log.Head(ctx)
	if err == nil {
		err = s.Begin(ctx, head)
	}
	if err != nil {
		return err
	}
	views := s.Writes.Views
	return views.InTx(ctx, func(ctx context.Context) error {
		for handler, topic := range map[string]bank.Topic{
			app.BalancesHandler: bank.AccountsTopic, app.TransactionsHandler: bank.TransactionsTopic,
		} {
			of := router.Stream{Handler: handler, Topic: topic}
			if _, err := views.Checkpoint(ctx, of); err != nil {
				return err
			}
			end := router.Checkpoint{Incarnation: head.Incarnation, Position: handlers.End(head.Seq)}
			if err := views.Advance(ctx, of, end); err != nil {
				return err
			}
		}
		if !spoilt {
			return nil
		}
		return spoil(ctx, s)
	})
}

// spoil has the handler itself write the entry, of the first account that was opened.
func spoil(ctx context.Context, s *stores.Stores) error {
	events, err := router.FromLog(s.Log).Read(ctx, 0, together)
	if err != nil {
		return err
	}
	for i := range events {
		for _, c := range events[i].Changes() {
			if c.Leg == nil || c.Opening == nil || bank.IsInternal(c.Leg.Account) {
				continue
			}
			leg := *c.Leg
			leg.Amount, leg.After.Balance = 1, 1
			c.Leg = &leg
			c.Transaction = &bank.Transaction{ID: bank.MakeID[bank.Transaction]([16]byte{15: 1}), Kind: bank.DepositKind}
			return s.Writes.Entries(ctx, []handlers.Fact{{Change: c}})
		}
	}
	return errors.New("the bank has no accounts")
}
