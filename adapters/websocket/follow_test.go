package websocket_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"bankforge/adapters/websocket"
	"bankforge/app"
	"bankforge/app/bank"
)

// reader follows a channel: begun, got and ended say how far it is.
type reader struct {
	begun chan struct{}
	got   chan uint64
	ended chan error
	stop  context.CancelFunc
}

func follow(t *testing.T, h *house, after *uint64, subject string) *reader {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	r := &reader{make(chan struct{}), make(chan uint64), make(chan error, 1), cancel}
	begun := false
	go func() {
		r.ended <- h.Follow(ctx, subject, own, after, time.Hour, func(offset uint64, _ []byte) error {
			if !begun {
				begun = true
				close(r.begun)
				return nil
			}
			select {
			case r.got <- offset:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	return r
}

func (r *reader) expect(t *testing.T, from, to uint64) {
	t.Helper()
	for want := from; want <= to; want++ {
		select {
		case got := <-r.got:
			if got != want {
				t.Fatalf("got version %d, not %d", got, want)
			}
		case err := <-r.ended:
			t.Fatalf("ended before version %d: %v", want, err)
		case <-time.After(patient):
			t.Fatalf("version %d never came", want)
		}
	}
}

func TestFollowingStartsWithTheNextVersion(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{})
	h.log.commitTo(7)
	r := follow(t, h, nil, "me")
	<-r.begun
	if !h.Watched(own) || h.Clients() != 1 {
		t.Error("the follower is not counted")
	}
	h.Publish(h.log.commit(own))
	r.expect(t, 8, 8)
	r.stop()
	if err := <-r.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if h.Watched(own) {
		t.Error("the follower is still counted")
	}
}

func TestFollowingRecoversAndGoesOn(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{})
	all := h.log.commitTo(500)
	r := follow(t, h, new(uint64(3)), "me")
	<-r.begun
	for _, p := range all[490:] {
		h.Publish(p) // push is behind the log
	}
	r.expect(t, 4, 500)
	h.log.commitTo(502)
	h.Publish(h.log.commit(own)) // two were not told
	r.expect(t, 501, 503)
}

func TestAFollowerThatIsSlowMissesNothing(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{})
	r := follow(t, h, nil, "me")
	<-r.begun
	for range 1_000 {
		h.Publish(h.log.commit(own)) // never waits
	}
	r.expect(t, 1, 1_000)
}

func TestFollowingEnds(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{MaxConnections: 2})
	revoked, other := follow(t, h, nil, "one"), follow(t, h, nil, "two")
	<-revoked.begun
	<-other.begun
	var refused *bank.Error
	if err := <-follow(t, h, nil, "three").ended; !errors.As(err, &refused) || refused.Code != app.CodeOverloaded {
		t.Errorf("a third of two: %v", err)
	}
	if err := h.Revoke("one"); err != nil {
		t.Fatal(err)
	}
	if err := <-revoked.ended; err == nil || !strings.Contains(err.Error(), "rights") {
		t.Errorf("revoked: %v", err)
	}
	if err := <-follow(t, h, new(uint64(1)), "one").ended; !errors.As(err, &refused) || refused.Code != "invalid_request" {
		t.Errorf("from the future: %v", err)
	}
	if err := h.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-other.ended; err == nil || !strings.Contains(err.Error(), "shutting down") {
		t.Errorf("at the end: %v", err)
	}
}

func TestSilenceBeats(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{})
	enough := errors.New("enough")
	beats := 0
	err := h.Follow(context.Background(), "me", own, nil, time.Millisecond, func(_ uint64, data []byte) error {
		if beats++; beats == 3 {
			return enough
		}
		if data != nil {
			t.Errorf("got %s", data)
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Errorf("ended with %v", err)
	}
}
