// Package stores is the shape of what a bank is kept in, so that whoever serves it need not know in what.
package stores

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/ports"
	"bankforge/router"
	"bankforge/router/rebuild"
	"bankforge/router/relay"
	"bankforge/router/repair"
)

// Stores is all that a process keeps its bank in. Who opens it calls Close at the end, also when it is not used.
type Stores struct {
	Log       app.Log
	Deciding  app.Lookup // for the decider alone: readers must not hold it up
	Lookup    app.Lookup
	Following app.Log // for those who follow the log
	Snapshots app.Snapshots
	// Lease says who may take the ledger over; nil: whoever has these stores open is alone with them.
	Lease app.Lease

	Balances app.Balances
	History  app.History
	Progress app.Progress // how far the handlers are that keep what Balances and History answer from
	Writes   Writes
	Broker   *Broker // nil: handlers follow the log itself
	// Follow is how they do that, where there is no Broker; nil: as a Tail does.
	Follow    func(r router.Route, t router.TailConfig, events int) (message.Subscriber, error)
	Customers app.CustomerStore
	MasterKey []byte         // of customers
	TokenKey  ports.TokenKey // of all processes of the bank

	Classify []router.Classifier // know the errors of these stores
	Gauges   []Gauge
	Names    Names
	// Begin notes which log the stores belong to, once there is one.
	Begin func(ctx context.Context, head app.Head) error
	// Ready says why commands cannot be decided upon these stores; nil: they can.
	Ready func() error
	Close func() error
}

// Process is what a shared store is told of the process that opens it.
type Process struct {
	Address string        // where others reach it
	Lease   time.Duration // how long it may be silent as the owner of the ledger
	Log     *slog.Logger
	// Runs says which modules need their servers.
	Runs func(module string) bool
	// Progress is told how far handlers have come.
	Progress *router.Progress
	// FellBack is told why a view was not read where it is fast; nil: nobody counts.
	FellBack func(view, reason string)
}

// Broker carries messages from the log to handlers.
type Broker struct {
	// Subscribe makes what a route reads from.
	Subscribe  func(router.Route) (message.Subscriber, error)
	Partitions map[bank.Topic]int
	// Cursors tell how far the relay has come.
	Cursors router.Cursors
	// Relay completes the settings of a relay with what belongs to the broker. Its publisher is closed once it has run.
	Relay func(relay.Config) (r *relay.Relay, publisher io.Closer, err error)
	// Mirror shows beside the topics what is parked of them, until ctx ends.
	Mirror func(ctx context.Context) error
}

// Writes is what keeps the views, and where the checkpoints and the parked messages of that stand.
type Writes struct {
	router.Reactions
	router.Stores
	Operations Operations // of the handlers with a parking lot in Views
}

// Operations is what operators see and want of handlers, and what executes it.
type Operations interface {
	ops.Lot
	ops.Changes
	router.Controls
	repair.Store
}

// Gauge is a figure that is asked for at each scrape.
type Gauge struct {
	Name, Help string
	Labels     map[string]string
	Value      func() float64
}

// Names are what messages to operators call the stores, and what they advise.
type Names struct {
	Where string // the flag that says where they are
	Log   string
	Views string
	Anew  string // how the views are built anew
}

// Rebuilt says what building views anew has found and done.
type Rebuilt struct {
	Views       []string
	Through     bank.Seq         // the last event that is in the views now
	Parked      int              // keys whose messages waited, and are in the views now
	Differences []app.Difference // the first ones between the old views and the log, at where the old views stood
	Omitted     int              // how many more there are
}

// And is both of them.
func (r Rebuilt) And(other Rebuilt) Rebuilt {
	if len(r.Views) == 0 {
		return other
	}
	return Rebuilt{
		Views: append(r.Views, other.Views...), Through: min(r.Through, other.Through), Parked: r.Parked + other.Parked,
		Differences: append(r.Differences, other.Differences...), Omitted: r.Omitted + other.Omitted,
	}
}

// Handlers are where the handlers of a bank stand, for who works on their views without running them.
type Handlers struct {
	Source router.Source
	Store  rebuild.Store
}

// Choose is the views that a command names: one of those that there are, or all.
func Choose(view string, all []string) ([]string, error) {
	switch {
	case view == "all":
		return all, nil
	case slices.Contains(all, view):
		return []string{view}, nil
	}
	return nil, fmt.Errorf("there is no view %q; there are all, %s", view, strings.Join(all, ", "))
}
