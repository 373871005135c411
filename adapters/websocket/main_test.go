package websocket_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	ws "github.com/coder/websocket"
	"go.uber.org/goleak"

	"bankforge/adapters/websocket"
	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers/push"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The library never ends this one, and the workers of that one sleep for a second before they end.
		goleak.IgnoreTopFunction("github.com/FZambia/eagle.(*Eagle).aggregate"),
		goleak.IgnoreAnyFunction("github.com/centrifugal/centrifuge/internal/dissolve.(*Dissolver).runWorker"))
}

const (
	own     = "account:mine"
	foreign = "account:theirs"
	patient = 20 * time.Second // for what must happen soon, on a busy machine
)

// ledger is a log in memory: for each channel its publications.
type ledger struct {
	mu      sync.Mutex
	epoch   string
	streams map[string][]push.Publication
	broken  error
	reading func() // called in the middle of a reading, when set
}

func newLedger() *ledger { return &ledger{epoch: "e1", streams: map[string][]push.Publication{}} }

// commit makes the next version of the channel, which push has yet to tell.
func (l *ledger) commit(channel string) push.Publication {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := uint64(len(l.streams[channel]) + 1)
	p := push.Publication{Channel: channel, Epoch: l.epoch, Offset: n, Data: fmt.Appendf(nil, `{"version":%d}`, n)}
	l.streams[channel] = append(l.streams[channel], p)
	return p
}

// commitTo makes versions until there are n of them, and returns them all.
func (l *ledger) commitTo(channel string, n int) []push.Publication {
	for {
		l.mu.Lock()
		all := l.streams[channel]
		l.mu.Unlock()
		if len(all) >= n {
			return all
		}
		l.commit(channel)
	}
}

func (l *ledger) Top(_ context.Context, channel string) (websocket.Place, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return websocket.Place{Epoch: l.epoch, Offset: uint64(len(l.streams[channel]))}, l.broken
}

func (l *ledger) Since(_ context.Context, channel string, after uint64, limit int) ([]push.Publication, error) {
	l.mu.Lock()
	read := l.streams[channel][after:]
	hook := l.reading
	l.mu.Unlock()
	if hook != nil {
		hook()
	}
	return read[:min(limit, len(read))], nil
}

// doors lets in whom it knows, to what is theirs.
type doors struct {
	broken error
}

func (d doors) Authenticate(_ context.Context, token string) (app.Principal, error) {
	switch {
	case d.broken != nil:
		return app.Principal{}, d.broken
	case strings.HasPrefix(token, "good"):
		return app.Principal{Subject: token}, nil
	case token == "brief":
		return app.Principal{Subject: token, Expires: time.Now().Add(1500 * time.Millisecond)}, nil
	case token == "storeless":
		return app.Principal{}, bank.Refuse(app.CodeUnavailable, "", "The store is down.")
	}
	return app.Principal{}, bank.Refuse("unauthenticated", "", "no")
}

func (d doors) MaySubscribe(_ context.Context, _ app.Principal, channel string) (bool, error) {
	if channel == "account:broken" {
		return false, errors.New("the store is down")
	}
	return channel == own || strings.HasPrefix(channel, "account:other") || channel == "ops", nil
}

// house is a server with a hub.
type house struct {
	*websocket.Hub
	log *ledger
	url string
}

func open(t testing.TB, c websocket.Config) *house {
	t.Helper()
	log := newLedger()
	if c.History == nil {
		c.History = log
	}
	c.Authenticator, c.Access = doors{}, doors{}
	hub, err := websocket.New(c)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := hub.Serve(w, r); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patient)
		defer cancel()
		if err := hub.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	return &house{hub, log, server.URL}
}

// client is a socket that reads one JSON object after the other.
type client struct {
	t     testing.TB
	conn  *ws.Conn
	lines [][]byte
}

type pub struct {
	Offset uint64
	Data   json.RawMessage
}

type reply struct {
	ID    int
	Error *struct{ Code int }
	// The answers to commands.
	Connect   *struct{ Ping int }
	Subscribe *struct {
		Recovered     bool
		WasRecovering bool `json:"was_recovering"`
		Epoch         string
		Offset        uint64
		Publications  []pub
	}
	Push *struct {
		Channel     string
		Pub         *pub
		Unsubscribe *struct{ Code int }
	}
}

func (h *house) dial(t testing.TB, header http.Header) (*client, *http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true}
	conn, resp, err := ws.Dial(ctx, h.url+"/v1/live?cf_protocol=protobuf", &ws.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, HTTPHeader: header,
	})
	if err != nil {
		return nil, resp, err
	}
	conn.SetReadLimit(64 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &client{t: t, conn: conn}, resp, nil
}

func (h *house) raw(t testing.TB) *client {
	t.Helper()
	c, _, err := h.dial(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (h *house) connect(t testing.TB, token string) *client {
	t.Helper()
	c := h.raw(t)
	c.send(`{"id":1,"connect":{"token":"` + token + `"}}`)
	if r := c.next(); r.ID != 1 || r.Connect == nil {
		t.Fatalf("connect was answered %+v", r)
	}
	return c
}

func (c *client) send(frame string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	if err := c.conn.Write(ctx, ws.MessageText, []byte(frame)); err != nil {
		c.t.Fatalf("sending %s: %v", frame, err)
	}
}

func (c *client) read() (reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	for len(c.lines) == 0 {
		_, frame, err := c.conn.Read(ctx)
		if err != nil {
			return reply{}, err
		}
		c.lines = bytes.Split(bytes.TrimSpace(frame), []byte("\n"))
	}
	line := c.lines[0]
	c.lines = c.lines[1:]
	var r reply
	if err := json.Unmarshal(line, &r); err != nil {
		return reply{}, fmt.Errorf("%q is not a JSON object on a line: %w", line, err)
	}
	return r, nil
}

func (c *client) next() reply {
	c.t.Helper()
	r, err := c.read()
	if err != nil {
		c.t.Fatalf("nothing more came: %v", err)
	}
	return r
}

// closed reads until the server has closed the socket, and returns its code.
func (c *client) closed() int {
	c.t.Helper()
	for {
		if _, err := c.read(); err != nil {
			var e ws.CloseError
			if errors.As(err, &e) {
				return int(e.Code)
			}
			c.t.Fatalf("the socket was not closed with a code: %v", err)
		}
	}
}

// subscribe asks for a channel; since < 0 does not recover.
func (c *client) subscribe(channel string, since int, epoch string) reply {
	c.t.Helper()
	recover := ""
	if since >= 0 {
		recover = fmt.Sprintf(`,"recover":true,"epoch":%q,"offset":%d`, epoch, since)
	}
	c.send(fmt.Sprintf(`{"id":2,"subscribe":{"channel":%q%s}}`, channel, recover))
	for {
		if r := c.next(); r.ID == 2 {
			return r
		}
	}
}

// pushed expects the next publication of the channel to be this one.
func (c *client) pushed(channel string, offset uint64) {
	c.t.Helper()
	r := c.next()
	if r.Push == nil || r.Push.Pub == nil || r.Push.Channel != channel || r.Push.Pub.Offset != offset {
		c.t.Fatalf("got %+v %+v, not publication %d of %s", r, r.Push, offset, channel)
	}
	if want := fmt.Sprintf(`{"version":%d}`, offset); string(r.Push.Pub.Data) != want {
		c.t.Fatalf("publication %d says %s", offset, r.Push.Pub.Data)
	}
}

func offsets(pubs []pub) string {
	var s []string
	for _, p := range pubs {
		s = append(s, fmt.Sprint(p.Offset))
	}
	return strings.Join(s, " ")
}
