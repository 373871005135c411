package router_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/app/codec"
	"bankforge/router"
)

// countedLog is a log in memory that grows, and counts the rows that are read.
type countedLog struct {
	app.Log
	rows  []app.Row
	grown atomic.Int64 // rows that are there by now
	read  atomic.Int64
}

func (l *countedLog) Read(_ context.Context, after bank.Seq, limit int) ([]app.Row, error) {
	end := min(int64(after)+int64(limit), l.grown.Load())
	if end <= int64(after) {
		return nil, nil
	}
	l.read.Add(end - int64(after))
	return l.rows[after:end], nil
}

func newCountedLog(commands int) *countedLog {
	l := &countedLog{}
	for _, e := range apptest.RandomHistory(rand.New(rand.NewPCG(1, 2)).IntN, commands) {
		l.rows = append(l.rows, app.Row{Seq: e.Seq, Data: codec.Encode(nil, &e.Event, e.Meta)})
	}
	return l
}

func TestHandlersShareWhatWasDecoded(t *testing.T) {
	t.Parallel()
	l := newCountedLog(4000)
	n := int64(len(l.rows))
	s := router.FromLog(l)
	var readers sync.WaitGroup
	for i := range uint64(4) {
		readers.Go(func() {
			random := rand.New(rand.NewPCG(i, 1))
			for at := bank.Seq(0); int64(at) < n; {
				limit := 1 + random.IntN(700)
				events, err := s.Read(t.Context(), at, limit)
				if err != nil || len(events) > limit {
					t.Errorf("%d events of at most %d, %v", len(events), limit, err)
					return
				}
				for j := range events {
					if events[j].Seq != at+1+bank.Seq(j) {
						t.Errorf("event %d instead of %d", events[j].Seq, at+1+bank.Seq(j))
						return
					}
				}
				at += bank.Seq(len(events))
				l.grown.Store(min(n, l.grown.Load()+int64(random.IntN(100))))
			}
		})
	}
	readers.Wait()
	if l.read.Load() != n {
		t.Errorf("%d rows were decoded, of %d", l.read.Load(), n)
	}
}

// A reader that is far behind takes pages away from others; what they get stays right.
func TestOldPagesAreForgotten(t *testing.T) {
	t.Parallel()
	l := newCountedLog(100)
	first := l.rows[0]
	l.rows = slices.Repeat([]app.Row{first}, 20_000)
	for i := range l.rows {
		l.rows[i].Seq = bank.Seq(i + 1)
	}
	l.grown.Store(int64(len(l.rows)))
	s := router.FromLog(l)
	for range 3 {
		for at := bank.Seq(0); int(at) < len(l.rows); at += 1000 {
			if events, err := s.Read(t.Context(), at, 1000); err != nil || len(events) != 1000 {
				t.Fatal(len(events), err)
			}
		}
	}
	if l.read.Load() < 3*int64(len(l.rows)) {
		t.Errorf("%d rows were decoded: more is kept than should be", l.read.Load())
	}
}
