package websocket

import (
	"context"
	"time"

	"github.com/centrifugal/centrifuge"

	"bankforge/handlers/push"
)

// historyPatience is how long a client's recovery may take.
const historyPatience = 10 * time.Second

// broker is the library's way to the streams: publications come from push, history from the log.
type broker struct {
	history  History
	limit    int
	patience time.Duration
	events   centrifuge.BrokerEventHandler
}

func (b *broker) hand(p push.Publication) error {
	return b.events.HandlePublication(p.Channel,
		&centrifuge.Publication{Offset: p.Offset, Data: p.Data},
		centrifuge.StreamPosition{Offset: p.Offset, Epoch: p.Epoch}, false, nil)
}

// RegisterBrokerEventHandler is called once, before anything is published.
func (b *broker) RegisterBrokerEventHandler(h centrifuge.BrokerEventHandler) error {
	b.events = h
	return nil
}

// Subscribe and Unsubscribe have nothing to do: push reads everything.
func (b *broker) Subscribe(string) error { return nil }

// Unsubscribe has nothing to do either.
func (b *broker) Unsubscribe(string) error { return nil }

// Publish is refused: clients only listen.
func (b *broker) Publish(string, []byte, centrifuge.PublishOptions) (centrifuge.StreamPosition, bool, error) {
	return centrifuge.StreamPosition{}, false, centrifuge.ErrorNotAvailable
}

// PublishJoin tells nobody who else watches.
func (b *broker) PublishJoin(string, *centrifuge.ClientInfo) error { return nil }

// PublishLeave tells nobody either.
func (b *broker) PublishLeave(string, *centrifuge.ClientInfo) error { return nil }

// RemoveHistory is refused: the log is for ever.
func (b *broker) RemoveHistory(string) error { return centrifuge.ErrorNotAvailable }

// History reads the log. It returns all that follows the place asked for, or nothing when that is more than
// one recovery may bring: the client then sees that it has to reload.
func (b *broker) History(ch string, o centrifuge.HistoryOptions) (
	[]*centrifuge.Publication, centrifuge.StreamPosition, error,
) {
	ctx, cancel := context.WithTimeout(context.Background(), b.patience)
	defer cancel()
	top, err := b.history.Top(ctx, ch)
	if err != nil {
		return nil, centrifuge.StreamPosition{}, err
	}
	place := centrifuge.StreamPosition{Offset: top.Offset, Epoch: top.Epoch}
	since := o.Filter.Since
	if since == nil || since.Offset >= top.Offset || since.Epoch != "" && since.Epoch != top.Epoch {
		return nil, place, nil
	}
	missed := top.Offset - since.Offset
	if missed > uint64(b.limit) {
		return nil, place, nil
	}
	read, err := b.history.Since(ctx, ch, since.Offset, int(missed))
	if err != nil {
		return nil, centrifuge.StreamPosition{}, err
	}
	pubs := make([]*centrifuge.Publication, len(read))
	for i, p := range read {
		pubs[i] = &centrifuge.Publication{Offset: p.Offset, Data: p.Data}
	}
	return pubs, place, nil
}
