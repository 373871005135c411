package repair_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bankforge/app/ops"
	"bankforge/handlers"
	"bankforge/router/repair"
)

// faultMessages is how many messages the run has for each store; the issue wants 100,000 once.
var faultMessages = flag.Int("faults", 5_000, "messages of the fault run")

// Handlers and replayers of several processes fail at random and die in the middle: nothing is lost, doubled, out of
// order or stuck.
func TestFaults(t *testing.T) {
	t.Parallel()
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const keys = 50
			s := open(t)
			l, b := many(*faultMessages, keys), &book{store: s, name: "faults"}
			b.dice = mended()
			var all [3]*process
			begin := func(i int) {
				var err error
				if all[i], err = start(l, b, s, quick(), fmt.Sprint("process-", i), 200*time.Millisecond); err != nil {
					t.Fatal(err)
				}
			}
			for i := range all {
				begin(i)
			}
			op, deaths := &operator{store: s}, 0
			next := time.Now()
			err := eventually(t.Context(), "nothing waits", func() (bool, error) {
				waiting, err := s.Sequences(t.Context(), ops.SequenceFilter{Page: ops.Page{Limit: 2 * keys}, Handler: b.name})
				for _, q := range waiting {
					if q.NextAt.IsZero() {
						_, ill := op.act(t.Context(), repair.Act{Kind: ops.SequenceRetry, Handler: b.name, Key: q.Key})
						err = errors.Join(err, ill)
					}
				}
				c, ill := s.Checkpoint(t.Context(), (&story{name: b.name}).stream())
				there := c.Position.Whole() >= l.head()
				if !there && time.Now().After(next) { // somebody dies
					next = time.Now().Add(150 * time.Millisecond)
					i := rand.N(len(all))
					all[i].life.dead.Store(true)
					ill = errors.Join(ill, all[i].stop())
					deaths++
					begin(i)
				}
				return there && len(waiting) == 0, errors.Join(err, ill)
			})
			for _, p := range all {
				err = errors.Join(err, p.stop())
			}
			for i, want := range l.versions {
				if got, ill := b.at(t.Context(), i); ill != nil || got != want {
					t.Errorf("account %d has %d of %d versions, %v", i, got, want, ill)
				}
			}
			if err != nil || len(b.wrong) > 0 {
				t.Errorf("%v; %v", err, b.wrong)
			}
			t.Logf("%d messages, %d deaths, %d acts", len(l.events), deaths, op.n.Load())
		})
	}
}

// mended fails for every 23rd event until it has been tried some times.
func mended() func(f *handlers.Fact) error {
	var failed sync.Map // seq → how often
	return func(f *handlers.Fact) error {
		if f.Seq%23 != 0 {
			return nil
		}
		n, _ := failed.LoadOrStore(f.Seq, new(atomic.Int64))
		if n.(*atomic.Int64).Add(1) > 5 {
			return nil
		}
		switch f.Seq % 3 {
		case 0:
			return handlers.As(handlers.Poison, errBoom)
		case 1:
			return errBoom
		default:
			panic(errBoom)
		}
	}
}
