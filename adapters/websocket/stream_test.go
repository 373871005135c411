package websocket_test

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"bankforge/adapters/websocket"
	"bankforge/handlers/push"
)

func TestWhatIsPublishedArrives(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{})
	c := h.connect(t, "good")
	if h.Watched(own) {
		t.Error("a channel is watched before anybody has subscribed")
	}
	h.log.commitTo(41)
	r := c.subscribe(own, -1, "")
	if r.Subscribe == nil || r.Subscribe.Offset != 41 || r.Subscribe.Epoch != "e1" {
		t.Fatalf("subscribed with %+v", r.Subscribe)
	}
	if !h.Watched(own) || h.Watched(foreign) || h.Clients() != 1 || h.Subscriptions() != 1 {
		t.Error("the hub miscounts who watches")
	}
	h.Publish(h.log.commit(own))
	c.pushed(42)
}

func TestReconnectRecoversExactlyWhatWasMissed(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{})
	all := h.log.commitTo(45)
	c := h.connect(t, "good")
	r := c.subscribe(own, 41, "e1")
	if !r.Subscribe.Recovered || offsets(r.Subscribe.Publications) != "42 43 44 45" {
		t.Fatalf("recovered %v: %s", r.Subscribe.Recovered, offsets(r.Subscribe.Publications))
	}
	if got := string(r.Subscribe.Publications[0].Data); got != string(all[41].Data) {
		t.Errorf("recovered %s, published %s", got, all[41].Data)
	}
	h.Publish(h.log.commit(own))
	c.pushed(46)
	up := h.connect(t, "good")
	if r := up.subscribe(own, 46, "e1"); !r.Subscribe.Recovered || len(r.Subscribe.Publications) != 0 {
		t.Errorf("who is up to date recovers %v: %s", r.Subscribe.Recovered, offsets(r.Subscribe.Publications))
	}
}

func TestWhenPushIsBehindTheLogItsLateMessagesAreDropped(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{})
	all := h.log.commitTo(50) // push has told 47 of them
	behind := h.connect(t, "good")
	behind.subscribe(own, 50, "e1")
	c := h.connect(t, "good")
	if r := c.subscribe(own, 45, "e1"); !r.Subscribe.Recovered || offsets(r.Subscribe.Publications) != "46 47 48 49 50" {
		t.Fatalf("recovered %s", offsets(r.Subscribe.Publications))
	}
	for _, p := range all[47:] {
		h.Publish(p)
	}
	h.Publish(h.log.commit(own))
	c.pushed(51)
	behind.pushed(51)
}

// TestLateMessagesDuringRecoveryAreDropped has push tell old versions while the client's recovery reads the log.
func TestLateMessagesDuringRecoveryAreDropped(t *testing.T) {
	t.Parallel()
	for name, since := range map[string]int{"older than what is missed": 48, "between": 45} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, websocket.Config{})
			all := h.log.commitTo(50)
			h.connect(t, "good").subscribe(own, -1, "") // so that the channel is watched
			var late sync.WaitGroup
			h.log.reading = func() {
				var told atomic.Bool
				late.Go(func() {
					h.Publish(all[46])
					h.Publish(all[47])
					told.Store(true)
				})
				for i := 0; i < 10_000 && !told.Load(); i++ {
					runtime.Gosched()
				}
			}
			c := h.connect(t, "good")
			r := c.subscribe(own, since, "e1").Subscribe
			if !r.Recovered || len(r.Publications) != 50-since || r.Publications[0].Offset != uint64(since)+1 {
				t.Errorf("recovered %v: %s", r.Recovered, offsets(r.Publications))
			}
			late.Wait()
			h.Publish(h.log.commit(own))
			c.pushed(51)
		})
	}
}

func TestDuplicatesAreDropped(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{})
	c := h.connect(t, "good")
	c.subscribe(own, -1, "")
	one, two := h.log.commit(own), h.log.commit(own)
	for _, p := range []push.Publication{one, one, two, one, two} {
		h.Publish(p)
	}
	h.Publish(h.log.commit(own))
	for offset := range uint64(3) {
		c.pushed(offset + 1)
	}
}

func TestAGapUnsubscribesAndTheClientRecovers(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{})
	c := h.connect(t, "good")
	c.subscribe(own, -1, "")
	h.Publish(h.log.commit(own))
	c.pushed(1)
	h.log.commit(own)
	h.Publish(h.log.commit(own))
	if r := c.next(); r.Push == nil || r.Push.Unsubscribe == nil || r.Push.Unsubscribe.Code != 2500 {
		t.Fatalf("after a gap came %+v", r)
	}
	if r := c.subscribe(own, 1, "e1"); !r.Subscribe.Recovered || offsets(r.Subscribe.Publications) != "2 3" {
		t.Errorf("recovered %s", offsets(r.Subscribe.Publications))
	}
	h.Publish(h.log.commit(own))
	c.pushed(4)
}

func TestAnotherEpochUnsubscribes(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{})
	c := h.connect(t, "good")
	c.subscribe(own, -1, "")
	p := h.log.commit(own)
	p.Epoch = "e2"
	h.Publish(p)
	if r := c.next(); r.Push == nil || r.Push.Unsubscribe == nil || r.Push.Unsubscribe.Code != 2500 {
		t.Fatalf("after another epoch came %+v", r)
	}
}

func TestWhatCannotBeRecoveredIsReloaded(t *testing.T) {
	t.Parallel()
	for name, since := range map[string]struct {
		offset int
		epoch  string
	}{
		"too many missed": {offset: 9, epoch: "e1"},
		"another epoch":   {offset: 19, epoch: "e0"},
		"from the future": {offset: 21, epoch: "e1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, websocket.Config{MaxMissed: 10})
			h.log.commitTo(20)
			c := h.connect(t, "good")
			r := c.subscribe(own, since.offset, since.epoch).Subscribe
			if r.Recovered || !r.WasRecovering || len(r.Publications) != 0 || r.Offset != 20 || r.Epoch != "e1" {
				t.Fatalf("answered %+v", r)
			}
			h.Publish(h.log.commit(own))
			c.pushed(21)
			if r := h.connect(t, "good").subscribe(own, 11, "e1").Subscribe; !r.Recovered || len(r.Publications) != 10 {
				t.Errorf("as many as may be missed are not recovered: %+v", r)
			}
		})
	}
}

func TestHintsHaveNoHistory(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{})
	c := h.connect(t, "good")
	if r := c.subscribe("ops", -1, ""); r.Subscribe == nil || r.Subscribe.Offset != 0 {
		t.Fatalf("subscribed with %+v", r.Subscribe)
	}
	h.Publish(push.Publication{Channel: "ops", Data: []byte(`{"hint":1}`)})
	if r := c.next(); r.Push == nil || string(r.Push.Pub.Data) != `{"hint":1}` {
		t.Errorf("got %+v", r)
	}
}

func TestItIsKnownWhichHintsAreWatched(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{})
	if got := h.Watching("replay:"); len(got) > 0 || h.Watched("ops") {
		t.Errorf("nobody is there, and %v are watched", got)
	}
	c := h.connect(t, "good")
	for _, channel := range []string{own, "ops", "replay:rpl_1", "replay:rpl_2"} {
		if r := c.subscribe(channel, -1, ""); r.Subscribe == nil {
			t.Fatalf("subscribing to %s was answered %+v", channel, r)
		}
	}
	got := h.Watching("replay:")
	if slices.Sort(got); !slices.Equal(got, []string{"replay:rpl_1", "replay:rpl_2"}) || !h.Watched("ops") {
		t.Errorf("%v are watched", got)
	}
	if got := h.Watching("account:"); len(got) > 0 {
		t.Errorf("%v have a history", got)
	}
	c.send(`{"id":3,"unsubscribe":{"channel":"replay:rpl_1"}}`)
	for c.next().ID != 3 {
		continue
	}
	if got := h.Watching("replay:"); !slices.Equal(got, []string{"replay:rpl_2"}) {
		t.Errorf("%v are watched", got)
	}
}

// TestEveryClientSeesEachVersionOnce has clients come and go while versions are committed, and push lag behind.
func TestEveryClientSeesEachVersionOnce(t *testing.T) {
	t.Parallel()
	const versions, clients = 1_500, 6
	h := open(t, websocket.Config{MaxMissed: versions})
	h.log.reading = func() {
		for range 100 {
			runtime.Gosched() // so that much happens during a reading
		}
	}
	tail := make(chan push.Publication, 40) // push is at most 40 versions behind
	var work sync.WaitGroup
	work.Go(func() {
		for p := range tail {
			if h.Watched(own) {
				h.Publish(p)
			}
		}
	})
	for range clients {
		work.Go(func() {
			seen := uint64(0)
			for seen < versions {
				seen = watch(t, h, seen, seen+1+rand.Uint64N(60))
			}
		})
	}
	for range versions {
		tail <- h.log.commit(own)
	}
	close(tail)
	work.Wait()
}

// watch connects, goes on from seen until it has seen enough, and hangs up.
func watch(t *testing.T, h *house, seen, enough uint64) uint64 {
	t.Helper()
	c := h.connect(t, "good")
	defer func() { _ = c.conn.CloseNow() }()
	r := c.subscribe(own, int(seen), "e1").Subscribe
	if !r.Recovered {
		t.Errorf("not recovered from %d", seen)
		return 1 << 62
	}
	take := func(p pub) {
		if p.Offset != seen+1 {
			t.Errorf("version %d came after %d", p.Offset, seen)
		}
		seen = p.Offset
	}
	for _, p := range r.Publications {
		take(p)
	}
	for seen < min(enough, 1_500) {
		r := c.next()
		if r.Push == nil || r.Push.Pub == nil {
			t.Errorf("got %+v instead of version %d", r, seen+1)
			return 1 << 62
		}
		take(*r.Push.Pub)
	}
	return seen
}
