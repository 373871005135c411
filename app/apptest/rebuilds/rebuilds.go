// Package rebuilds has logs, views and stores that go on, or break, in the middle of a rebuild.
package rebuilds

import (
	"context"
	"errors"
	"sync/atomic"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/router"
	"bankforge/router/rebuild"
)

// GrowingLog goes on whenever it is read, and handlers with it, until a rebuild holds them up.
type GrowingLog struct {
	router.Source
	Grow  func()
	Await func() // returns when the handlers have everything
	Reads atomic.Int64
}

// Read implements router.Source.
func (g *GrowingLog) Read(ctx context.Context, after bank.Seq, limit int) ([]app.Recorded, error) {
	events, err := g.Source.Read(ctx, after, limit)
	g.Grow()
	if g.Reads.Add(1) <= 3 { // what the view must be, what it is further, and all that followed
		g.Await()
	}
	return events, err
}

// FailingLog does something the first time that it is read up to an event.
type FailingLog struct {
	router.Source
	At    bank.Seq
	Then  func() error
	times atomic.Int64
}

// Read implements router.Source.
func (f *FailingLog) Read(ctx context.Context, after bank.Seq, limit int) ([]app.Recorded, error) {
	if after+bank.Seq(limit) >= f.At && f.times.Add(1) == 1 {
		if err := f.Then(); err != nil {
			return nil, err
		}
	}
	return f.Source.Read(ctx, after, limit)
}

// TurningLog is restored from a backup in the middle.
type TurningLog struct {
	router.Source
	asked atomic.Int64
}

// Head implements router.Source.
func (l *TurningLog) Head(ctx context.Context) (app.Head, error) {
	h, err := l.Source.Head(ctx)
	if l.asked.Add(1) > 1 {
		h.Incarnation = "another"
	}
	return h, err
}

// StuckView is a view whose builds cannot be put in use.
type StuckView struct{ rebuild.View }

// Begin implements rebuild.View.
func (u StuckView) Begin(ctx context.Context, s []router.Stream, m router.Mark) (rebuild.Build, error) {
	b, err := u.View.Begin(ctx, s, m)
	return stuck{b}, err
}

type stuck struct{ rebuild.Build }

// Switch does nothing.
func (stuck) Switch(context.Context, router.Mark) error { return errors.New("it does not switch") }

// UncommittedStore is a store whose commit fails.
type UncommittedStore struct{ rebuild.Store }

// ErrCommit is how an UncommittedStore fails.
var ErrCommit = errors.New("the commit failed")

// InTx implements rebuild.Store.
func (u UncommittedStore) InTx(ctx context.Context, fn func(context.Context) error) error {
	return u.Store.InTx(ctx, func(ctx context.Context) error { return errors.Join(fn(ctx), ErrCommit) })
}
