package websocket_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"bankforge/adapters/websocket"
	"bankforge/handlers/push"
)

func TestTheFirstFrameMustConnectWithAGoodToken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		frame string
		code  int
	}{
		"subscribing first": {`{"id":1,"subscribe":{"channel":"account:mine"}}`, 3501},
		"a pong first":      {`{}`, 3501},
		"not JSON":          {`hello`, 3501},
		"nothing":           {``, 3501},
		"a bad token":       {`{"id":1,"connect":{"token":"bad"}}`, 3500},
		"no token":          {`{"id":1,"connect":{}}`, 3500},
		"nobody can tell":   {`{"id":1,"connect":{"token":"storeless"}}`, 3004},
		"two commands":      {`{"id":1,"connect":{"token":"good"}}` + "\n" + `{"id":2,"connect":{"token":"good"}}`, 3501},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, websocket.Config{})
			s := h.raw(t)
			s.send(c.frame)
			if code := s.closed(); code != c.code {
				t.Errorf("closed with %d, not %d", code, c.code)
			}
		})
	}
}

func TestOneObjectALine(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{})
	c := h.raw(t)
	c.send(`{"id":1,"connect":{"token":"good"}}` + "\n" + `{"id":2,"subscribe":{"channel":"account:mine"}}`)
	if r := c.next(); r.ID != 1 || r.Connect.Ping != 25 {
		t.Errorf("connect was answered %+v", r)
	}
	if r := c.next(); r.ID != 2 || r.Subscribe == nil {
		t.Errorf("subscribe was answered %+v", r)
	}
}

func TestForeignAndUnknownChannelsAreDeniedAlike(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{MaxChannels: 2})
	c := h.connect(t, "good")
	for channel, code := range map[string]int{
		foreign: 103, "account:nobodys": 103, "nonsense": 103, "fraud": 103, "account:broken": 100,
		strings.Repeat("a", 129): 107,
	} {
		if r := c.subscribe(channel, 1, "e1"); r.Error == nil || r.Error.Code != code {
			t.Errorf("subscribing to %.20s was answered %+v, not error %d", channel, r.Error, code)
		}
	}
	for i, code := range []int{0, 0, 106} {
		r := c.subscribe(fmt.Sprint("account:other", i), -1, "")
		if (r.Error == nil) != (code == 0) || r.Error != nil && r.Error.Code != code {
			t.Errorf("channel %d of at most 2 was answered %+v", i, r.Error)
		}
	}
}

func TestClientsOnlyListen(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{})
	c := h.connect(t, "good")
	c.subscribe(own, -1, "")
	for _, command := range []string{
		`"publish":{"channel":"account:mine","data":{}}`, `"history":{"channel":"account:mine","limit":9}`,
		`"presence":{"channel":"account:mine"}`, `"rpc":{"method":"x","data":{}}`,
	} {
		c.send(`{"id":7,` + command + `}`)
		if r := c.next(); r.Error == nil || r.Error.Code != 108 {
			t.Errorf("%s was answered %+v", command, r)
		}
	}
}

func TestATokenThatEndsClosesTheSocket(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{})
	if code := h.connect(t, "brief").closed(); code != 3005 {
		t.Errorf("closed with %d, not 3005", code)
	}
}

func TestWhoNeverConnectsIsClosed(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{ConnectTimeout: 20 * time.Millisecond})
	if code := h.raw(t).closed(); code != 3502 {
		t.Errorf("closed with %d, not 3502", code)
	}
}

func TestPingsMustBeAnswered(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{Ping: 3 * time.Second, Pong: 2 * time.Second})
	c := h.connect(t, "good")
	for range 2 {
		if r := c.next(); r != (reply{}) {
			t.Fatalf("instead of a ping came %+v", r)
		}
		c.send(`{}`)
	}
	if code := c.closed(); code != 3012 {
		t.Errorf("closed with %d, not 3012", code)
	}
}

func TestASlowClientIsDisconnected(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{MaxQueue: 10_000})
	slow, quick := h.connect(t, "good"), h.connect(t, "good")
	slow.subscribe("ops", -1, "")
	quick.subscribe(own, -1, "")
	hint := push.Publication{Channel: "ops", Data: []byte(`"` + strings.Repeat("x", 11_000) + `"`)}
	for range 100 { // one alone may be on its way before anybody counts
		h.Publish(hint)
	}
	if code := slow.closed(); code != 3008 {
		t.Errorf("closed with %d, not 3008", code)
	}
	h.Publish(h.log.commit(own))
	quick.pushed(1)
}

func TestAFrameThatIsTooLargeClosesTheSocket(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{MaxMessage: 1_000})
	c := h.connect(t, "good")
	c.send(`{"id":2,"subscribe":{"channel":"` + string(bytes.Repeat([]byte("a"), 2_000)) + `"}}`)
	if code := c.closed(); code != 1009 {
		t.Errorf("closed with %d, not 1009", code)
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{MaxConnections: 2})
	one, two := h.raw(t), h.connect(t, "good")
	if _, status, err := h.dial(t, nil); err == nil || status != http.StatusServiceUnavailable {
		t.Fatalf("a third connection: %d, %v", status, err)
	}
	one.send(`nonsense`)
	one.closed()
	_ = two.conn.CloseNow()
	deadline := time.Now().Add(patient)
	for {
		if _, _, err := h.dial(t, nil); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the places of those who left are not free")
		}
	}
}

func TestOnlyOwnAndConfiguredOrigins(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{Origins: []string{"https://bank.example"}})
	for origin, want := range map[string]bool{
		h.url: true, "https://bank.example": true, "": true,
		"https://bank.example.evil": false, "https://evil.example": false, "null": false, "http://bank.example": false,
	} {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		if _, _, err := h.dial(t, header); (err == nil) != want {
			t.Errorf("origin %q: let in %v, not %v", origin, err == nil, want)
		}
	}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, h.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Serve(nil, r); err == nil || !strings.Contains(err.Error(), "invalid_request") {
		t.Errorf("a plain request was answered %v", err)
	}
}

func TestRevokedAndShutDown(t *testing.T) {
	t.Parallel()
	h := open(t, websocket.Config{})
	bad, fine, silent := h.connect(t, "good-1"), h.connect(t, "good-2"), h.raw(t)
	if err := h.Revoke("good-1"); err != nil {
		t.Fatal(err)
	}
	if code := bad.closed(); code != 4501 {
		t.Errorf("the revoked one was closed with %d", code)
	}
	done := make(chan error, 1)
	go func() { done <- h.Shutdown(context.Background()) }()
	if code := fine.closed(); code != 3001 {
		t.Errorf("at the end closed with %d", code)
	}
	if _, err := silent.read(); err == nil {
		t.Error("who never connected is still there")
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, _, err := h.dial(t, nil); err == nil {
		t.Error("a client came in after the end")
	}
}

func FuzzLiveFrame(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"id":1,"connect":{"token":"good"}}`, "{\"id\":1}\n{}\n\n", `[]`, `{"id":-1}`, "\xff\xfe",
		`{"id":2,"subscribe":{"channel":"account:mine","recover":true,"offset":1}}`,
		`{"id":3,"unsubscribe":{"channel":"account:mine"}}`, `{"id":4,"refresh":{}}`,
		`{"id":5,"subscribe":{"channel":"ops","tf":{"op":"eq"}}}`, `{"id":6,"send":{"data":{}}}`, `{"id":7,"sub_refresh":{}}`,
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	h := open(f, websocket.Config{})
	h.log.commitTo(3)
	f.Fuzz(func(t *testing.T, frame []byte, connected bool) {
		c := h.raw(t)
		if connected {
			c = h.connect(t, "good")
		}
		c.send(string(frame))
		c.send(`{"id":99,"connect":{"token":"bad"}}`) // whatever it was, this ends it
		switch code := c.closed(); code {
		case 3500, 3501, 3508, 1002, 1003, 1007, 1009:
		default:
			t.Errorf("%q closed the socket with %d", frame, code)
		}
		_ = c.conn.CloseNow()
	})
}
