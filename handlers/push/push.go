// Package push tells those who watch an account or a transaction what has just happened to it.
//
// It has no memory: no checkpoint, no parking, no group. Every process reads the newest messages for
// its own clients, and a client that misses some recovers them from the log by version.
package push

import (
	"context"

	"bankforge/app/bank"
	"bankforge/handlers"
)

// Hub is where clients watch channels. It is called in the order of the log.
type Hub interface {
	// Watched reports whether anybody on this process watches the channel. What commits after it has
	// said no is seen by whoever begins to watch later, since they start from the log.
	Watched(channel string) bool
	// Publish hands p to everybody who watches its channel. It waits for none of them, and drops
	// what they already have.
	Publish(p Publication)
}

// Publication is one message of a live channel.
type Publication struct {
	Channel string
	Epoch   string // the log's incarnation: offsets of two epochs say nothing about each other
	Offset  uint64 // the account's or the transaction's version
	Data    []byte // JSON; shared, never written to
}

// Func makes the handler. What nobody watches costs a look-up, and is not encoded.
func Func(hub Hub) handlers.Func {
	return func(_ context.Context, facts []handlers.Fact) error {
		for i := range facts {
			channel := ChannelOf(&facts[i].Change)
			if hub.Watched(channel) {
				hub.Publish(publication(channel, &facts[i]))
			}
		}
		return nil
	}
}

// Encode makes the publication of a fact: what is pushed now, and byte for byte what is recovered later.
func Encode(f *handlers.Fact) Publication { return publication(ChannelOf(&f.Change), f) }

func publication(channel string, f *handlers.Fact) Publication {
	return Publication{
		Channel: channel,
		Epoch:   f.Incarnation,
		Offset:  uint64(f.Version()),
		Data:    encode(f),
	}
}

// The first parts of the names of channels that have a history.
const (
	AccountPrefix     = "account:"
	TransactionPrefix = "transaction:"
)

// ChannelOf names the channel that a change is told on.
func ChannelOf(c *bank.Change) string {
	if c.Topic() == bank.AccountsTopic {
		return AccountPrefix + c.Key()
	}
	return TransactionPrefix + c.Key()
}
