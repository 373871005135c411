// Package broker makes the log in PostgreSQL a broker: watermill-sql's subscriber over the table of events, for
// handlers that keep their own checkpoints.
//
// The checkpoint of a handler is the truth about how far it has come; it is moved in the handler's transaction. A
// session starts there, and what is acknowledged afterwards is remembered in memory only. So there is no table of
// offsets that could be ahead of the views or behind them, and a process that is killed goes on where its last commit
// was. Nor has the subscriber a transaction (see pool in driver.go): none is open while a handler works, and a refused
// message cannot come again inside one that is broken.
package broker

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5"

	"bankforge/app/bank"
	"bankforge/router"
)

// Querier asks the schema of the log, each question by itself. It is safe for concurrent use.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Broker brings the log to handlers. It is safe for concurrent use.
type Broker struct {
	log     Querier
	decoded *decoder
	asked   *asked
}

// New makes a broker of the log in a schema.
func New(log Querier) *Broker { return &Broker{log, newDecoder(), &asked{}} }

// Follow makes the subscriber of a handler.
func (b *Broker) Follow(r router.Route, t router.TailConfig, events int) (message.Subscriber, error) {
	s := newSubscriber(b.log, r.Name, t, events, eventTable, b.open(t.Silent != nil))
	s.asked = b.asked
	return s, nil
}

// eventTable is where all topics stand.
func eventTable(string) string { return "event" }

// open makes deliveries of rows; with silent, rows without facts of the topic are no messages.
func (b *Broker) open(silent bool) opener {
	return func(ctx context.Context, topic string, s *stretch) (*message.Message, error) {
		events, err := b.decoded.events(s)
		if err != nil {
			return nil, err
		}
		d := router.DeliveryFrom(s.incarnation, bank.Topic(topic), s.after, events)
		if silent && len(d.Facts) == 0 {
			return nil, nil
		}
		return router.NewMessage(ctx, d), nil
	}
}
