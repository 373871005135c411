package websocket

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"bankforge/app/bank"
	"bankforge/handlers/push"
)

var (
	errClosing = errors.New("the server is shutting down")
	errRevoked = errors.New("the caller's rights have been taken away")
)

const (
	followQueue = 64  // publications that wait for one follower; what is beyond is read from the log
	followPage  = 200 // publications of one reading of the log
)

// Follow calls send with each publication of the channel whose offset is above after (nil: above the newest one), in
// order, without gaps or duplicates, and with nil when it has begun and whenever nothing has happened for beat. It
// returns when ctx ends, when send fails, when the subject is revoked, and when the hub shuts down, and says why.
// A *bank.Error before the first call of send is for the caller: there are too many, or after is ahead of the channel.
func (h *Hub) Follow(
	ctx context.Context, subject, channel string, after *uint64, beat time.Duration,
	send func(offset uint64, data []byte) error,
) error {
	if !h.enter() {
		return errFull()
	}
	defer h.leave()
	f := &follower{subject: subject, queue: make(chan push.Publication, followQueue), ended: make(chan struct{})}
	h.follow(channel, f)
	defer h.unfollow(channel, f) // it listens first and reads then, so that nothing falls between
	top, err := h.conf.History.Top(ctx, channel)
	if err != nil {
		return err
	}
	s := stream{hub: h, channel: channel, last: top.Offset, send: send}
	if after != nil {
		if *after > top.Offset {
			return bank.Refuse("invalid_request", "Last-Event-ID",
				fmt.Sprintf("The newest version is %d. Load the account again.", top.Offset))
		}
		s.last = *after
	}
	if err := send(0, nil); err != nil {
		return err
	}
	if err := s.catchUp(ctx, top.Offset); err != nil {
		return err
	}
	return s.listen(ctx, f, beat)
}

// stream is one follower's way through a channel.
type stream struct {
	hub     *Hub
	channel string
	last    uint64 // the newest offset sent
	send    func(offset uint64, data []byte) error
}

func (s *stream) listen(ctx context.Context, f *follower, beat time.Duration) error {
	pulse := time.NewTicker(beat)
	defer pulse.Stop()
	for {
		select {
		case p := <-f.queue:
			if err := s.take(ctx, f, p); err != nil {
				return err
			}
			pulse.Reset(beat)
		case <-pulse.C:
			if err := s.send(0, nil); err != nil {
				return err
			}
		case <-f.ended:
			return f.why
		case <-s.hub.closing:
			return errClosing
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take sends p, or what is missing up to it, and what did not fit into the queue.
func (s *stream) take(ctx context.Context, f *follower, p push.Publication) error {
	if p.Offset == s.last+1 {
		if err := s.send(p.Offset, p.Data); err != nil {
			return err
		}
		s.last = p.Offset
	}
	return s.catchUp(ctx, max(p.Offset, f.missed.Load()))
}

// catchUp sends from the log until it has sent target.
func (s *stream) catchUp(ctx context.Context, target uint64) error {
	for s.last < target {
		read, err := s.hub.conf.History.Since(ctx, s.channel, s.last, followPage)
		if err != nil {
			return err
		}
		if len(read) == 0 {
			return fmt.Errorf("the log ends at version %d of %s, before %d", s.last, s.channel, target)
		}
		for _, p := range read {
			if err := s.send(p.Offset, p.Data); err != nil {
				return err
			}
			s.last = p.Offset
		}
		select {
		case <-s.hub.closing:
			return errClosing
		default:
		}
	}
	return nil
}

// follower is one who follows a channel within the process.
type follower struct {
	subject string
	queue   chan push.Publication
	missed  atomic.Uint64 // the newest offset that did not fit into queue
	ended   chan struct{}
	why     error
	once    sync.Once
}

// offer never waits. What does not fit is noted before it is tried again: then either it is in the queue,
// or the queue is full and whoever empties it comes upon the note.
func (f *follower) offer(p push.Publication) {
	select {
	case f.queue <- p:
		return
	default:
		f.missed.Store(p.Offset)
	}
	select {
	case f.queue <- p:
	default:
	}
}

func (f *follower) end(why error) {
	f.once.Do(func() {
		f.why = why
		close(f.ended)
	})
}

func (h *Hub) follow(channel string, f *follower) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.followers[channel] == nil {
		h.followers[channel] = map[*follower]struct{}{}
	}
	h.followers[channel][f] = struct{}{}
}

func (h *Hub) unfollow(channel string, f *follower) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.followers[channel], f)
	if len(h.followers[channel]) == 0 {
		delete(h.followers, channel)
	}
}
