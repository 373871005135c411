package repair_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/repair"
)

// fill parks so many messages of the ledger, each in the sequence of its account: all have failed.
func fill(tb testing.TB, s store, l *ledger, handler string, n int) {
	tb.Helper()
	const together = 1000
	facts := []handlers.Fact{}
	for i := range l.events {
		for _, c := range l.events[i].Changes() {
			facts = append(facts, handlers.Fact{Change: c, Incarnation: "inc1", CorrelationID: l.events[i].Meta.CorrelationID})
		}
	}
	seen := map[string]bool{}
	for from := 0; from < n; from += together {
		err := s.InTx(tb.Context(), func(ctx context.Context) error {
			for i := from; i < min(from+together, n); i++ {
				p, tries, err := parked(handler, &facts[i], i, seen)
				if err != nil {
					return err
				}
				if _, err := s.Park(ctx, p, tries); err != nil {
					return err
				}
			}
			return s.Advance(ctx, router.Stream{Handler: handler, Topic: bank.AccountsTopic},
				router.Checkpoint{Incarnation: "inc1", Position: facts[min(from+together, n)-1].Position()})
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// parked is a message as the router parks it: the first one of a key has failed.
func parked(
	handler string, f *handlers.Fact, i int, seen map[string]bool,
) (p router.Parked, tries []router.Attempt, err error) {
	msg, err := router.Encode(f, handlers.Position{})
	if err != nil {
		return p, nil, err
	}
	p = router.Parked{
		Stream: router.Stream{Handler: handler, Topic: bank.AccountsTopic}, Key: f.Key(), Incarnation: "inc1",
		Position: f.Position(), Status: router.Waiting, At: time.UnixMicro(1_700_000_000_000_000 + int64(i)),
		Type: msg.Metadata["ce_type"], Correlation: f.CorrelationID, Accounts: []string{f.Key()},
		Metadata: msg.Metadata, Payload: msg.Payload,
	}
	if seen[p.Key] {
		return p, nil, nil
	}
	seen[p.Key] = true
	p.Status = router.Failed
	class, text := handlers.Class(i%2*2), fmt.Sprint("reason ", string(rune('a'+i%20)))
	return p, []router.Attempt{{
		At: p.At, Class: class, Error: text, By: ops.ByStream,
		Fingerprint: ops.Fingerprint(handler, class.String(), text, ""),
	}}, nil
}

// many is a ledger with so many movements, over so many accounts.
func many(messages, keys int) *ledger {
	l := newLedger()
	for i := range messages {
		l.credit(i % keys)
	}
	return l
}

func BenchmarkReplay(b *testing.B) {
	for name, open := range stores {
		for _, keys := range []int{100, 5000} {
			b.Run(fmt.Sprint(name, "/", keys), func(b *testing.B) {
				s := open(b)
				const messages = 10_000
				l := many(messages, keys)
				book := &book{store: s, name: "bench"}
				fill(b, s, l, book.name, messages)
				p, err := start(l, book, s, quick(), "bench", time.Minute)
				if err != nil {
					b.Fatal(err)
				}
				op := &operator{store: s}
				body, err := ops.Canonical(ops.ReplaySpec{Filter: ops.ReplayScope{Handler: book.name}, Concurrency: 8})
				if err != nil {
					b.Fatal(err)
				}
				planned, err := op.act(b.Context(), repair.Act{Kind: ops.ReplayPlan, Body: body})
				if err != nil {
					b.Fatal(err)
				}
				b.ResetTimer()
				began := time.Now()
				id := ops.ReplayOf(planned.ID)
				if _, err := op.act(b.Context(), repair.Act{Kind: ops.ReplayStart, Target: id}); err != nil {
					b.Fatal(err)
				}
				err = eventually(b.Context(), "the replay is done", func() (bool, error) {
					runs, err := s.Runs(b.Context(), id)
					return !runs, err
				})
				b.ReportMetric(messages/time.Since(began).Seconds(), "messages/s")
				if err != nil || book.handled.Load() != messages || len(book.wrong) > 0 {
					b.Errorf("%d handled, %v, %v", book.handled.Load(), book.wrong, err)
				}
				if err := p.stop(); err != nil {
					b.Error(err)
				}
			})
		}
	}
}

func BenchmarkLists(b *testing.B) {
	page := ops.Page{Limit: 50}
	for name, open := range stores {
		s := open(b)
		const messages, keys = 100_000, 50_000
		l := many(messages, keys)
		fill(b, s, l, "lists", messages)
		reason := ops.Fingerprint("lists", "transient", "reason b", "")
		for what, ask := range map[string]func(context.Context) error{
			"failures": func(ctx context.Context) error { return list(s.Failures(ctx, ops.FailureFilter{Page: page})) },
			"handler": func(ctx context.Context) error {
				return list(s.Failures(ctx, ops.FailureFilter{Page: page, Handler: "lists"}))
			},
			"handler and class": func(ctx context.Context) error {
				return list(s.Failures(ctx, ops.FailureFilter{Page: page, Handler: "lists", Class: "transient"}))
			},
			"status": func(ctx context.Context) error {
				return list(s.Failures(ctx, ops.FailureFilter{Page: page, Status: ops.Blocked}))
			},
			"no such status": func(ctx context.Context) error {
				return list(s.Failures(ctx, ops.FailureFilter{Page: page, Handler: "lists", Status: ops.Discarded}))
			},
			"account": func(ctx context.Context) error {
				return list(s.Failures(ctx, ops.FailureFilter{Page: page, Account: account(7).String()}))
			},
			"fingerprint": func(ctx context.Context) error {
				return list(s.Failures(ctx, ops.FailureFilter{Page: page, Fingerprint: reason}))
			},
			"correlation": func(ctx context.Context) error {
				return list(s.Failures(ctx, ops.FailureFilter{Page: page, Correlation: "cor-77"}))
			},
			"groups": func(ctx context.Context) error { return list(s.Groups(ctx, ops.GroupFilter{Page: page})) },
			"sequences": func(ctx context.Context) error {
				return list(s.Sequences(ctx, ops.SequenceFilter{Page: page, Handler: "lists"}))
			},
			"handlers": func(ctx context.Context) error { return list(s.Handlers(ctx)) },
		} {
			b.Run(name+"/"+what, func(b *testing.B) {
				for b.Loop() {
					if err := ask(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func list[T any](_ []T, err error) error { return err }
