// Package faults lets handlers and replayers fail at random, kills them in the middle, and puts poison on the topics
// that they read. Then it counts what became of each message: in a bank in files, which is one process, or in one on
// PostgreSQL and Kafka, where several processes share the work.
package faults

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/process"
	"bankforge/cmd/drill/teller"
)

// Config is what a run is told.
type Config struct {
	Bankforge string // the program
	Script    string // that starts servers
	Servers   bool   // PostgreSQL and Kafka; else one process on files
	Messages  int    // at least
	Plant     string // an order that every process gets
	Dir       string
	Seed      uint64
	Noted     func(format string, args ...any) // for the table
}

// handlers are those that are made to fail: whether they are told of accounts, or else of transactions. The witness is
// only there under a drill, and takes in whatever comes; the others refuse what does not follow.
var handlers = map[string]bool{"balances": true, "history": true, "transactions": false, "witness": true}

// Of so many messages there is one kill; and at about every so manyth message a handler fails, again and again.
const (
	messagesPerKill = 2_500
	failsAtEvery    = 150
	fewestKills     = 4
)

// Run makes a bank, and has it handle messages under faults. The error is about an attack that could not be made; what
// became of the messages is in the tally.
func Run(ctx context.Context, c *Config) (t check.Tally, err error) {
	b, err := open(ctx, c)
	defer func() { err = errors.Join(err, b.close()) }()
	if err == nil {
		err = b.setUp(ctx)
	}
	if err != nil {
		return t, err
	}
	people := b.operate(ctx)
	if b.poisons() {
		err = b.forge(ctx)
	}
	kills := max(c.Messages/messagesPerKill, fewestKills)
	for range kills {
		if err == nil {
			err = b.disturb(ctx, c.Messages/kills, people)
		}
	}
	if err == nil {
		err = b.calm(ctx)
	}
	sound := c.Plant == "" // else it need not come to an end, and what went wrong is there by then
	if err == nil {
		within := drainedWithin
		if !sound {
			within = process.Patience
		}
		if failed := b.drain(ctx, within); sound {
			err = failed
		}
	}
	waits, failed := people.rest(ctx, err == nil && sound)
	if err = errors.Join(err, failed); err != nil {
		return t, err
	}
	if t, err = b.tally(ctx, people, waits); err == nil && t.Broken() == nil {
		err = b.verify(ctx)
	}
	return t, err
}

// poisons reports whether there are topics to poison. Not where a guard is missing: what is discarded leaves a gap,
// which there only the missing guard may.
func (b *bank) poisons() bool { return b.conf.Servers && b.conf.Plant == "" }

// disturb has a share of the messages made, while somebody is killed if nothing is missing.
func (b *bank) disturb(ctx context.Context, messages int, people *operators) error {
	moved := make(chan error, 1)
	go func() { moved <- errors.Join(people.inTime(ctx), b.move(ctx, messages)) }()
	var err error
	if b.conf.Plant == "" { // who is killed leaves claims, and what is claimed nobody takes out of order
		err = b.killSomebody(ctx)
	}
	if err == nil && b.poisons() {
		err = b.poison(ctx)
	}
	for {
		select {
		case failed := <-moved:
			return errors.Join(err, failed)
		case <-time.After(100 * time.Millisecond):
			err = errors.Join(err, b.reviveAll(ctx, false)) // who ended in a handler's transaction, may be who takes commands
		}
	}
}

// lifetime is how long it is from one kill to the next: where a group of consumers has to notice a death, longer.
func (b *bank) lifetime() time.Duration {
	if b.conf.Servers {
		return 500*time.Millisecond + time.Duration(b.random.Int64N(int64(4*time.Second)))
	}
	return 300*time.Millisecond + time.Duration(b.random.Int64N(int64(1200*time.Millisecond)))
}

// stillFor is longer than a handler waits for a broker before it reads the log itself.
const stillFor = 20 * time.Second

// calm lets everybody live.
func (b *bank) calm(ctx context.Context) error {
	for _, m := range b.members {
		if err := m.calm(ctx); err != nil {
			return err
		}
	}
	return nil
}

// drain waits until all is handled that can be.
func (b *bank) drain(ctx context.Context, within time.Duration) error {
	behind, since := uint64(0), time.Now()
	err := teller.Until(ctx, within, func() bool {
		now, ok := b.behind(ctx)
		if !ok || now != behind {
			behind, since = now, time.Now()
		}
		return ok && now == 0 || time.Since(since) > stillFor || teller.Rest(ctx, 100*time.Millisecond) != nil
	})
	if err != nil {
		return check.Wrong(fmt.Errorf("handlers do not come to the end of the log: %w", err))
	}
	return nil
}
