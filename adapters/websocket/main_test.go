package websocket_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
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

// commit makes the next version of a channel, which push has yet to tell.
func (l *ledger) commit(channel string) push.Publication {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := uint64(len(l.streams[channel]) + 1)
	p := push.Publication{Channel: channel, Epoch: l.epoch, Offset: n, Data: fmt.Appendf(nil, `{"version":%d}`, n)}
	l.streams[channel] = append(l.streams[channel], p)
	return p
}

// commitTo makes versions of own until there are n of them, and returns them all.
func (l *ledger) commitTo(n int) []push.Publication {
	for {
		l.mu.Lock()
		all := l.streams[own]
		l.mu.Unlock()
		if len(all) >= n {
			return all
		}
		l.commit(own)
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
	return channel == own || strings.HasPrefix(channel, "account:other") || channel == "ops" ||
		strings.HasPrefix(channel, "replay:"), nil
}

// house is a server with a hub.
type house struct {
	*websocket.Hub
	log *ledger
	url string
}

func open(tb testing.TB, c websocket.Config) *house {
	tb.Helper()
	log := newLedger()
	if c.History == nil {
		c.History = log
	}
	c.Authenticator, c.Access = doors{}, doors{}
	hub, err := websocket.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := hub.Serve(w, r); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	}))
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patient)
		defer cancel()
		if err := hub.Shutdown(ctx); err != nil {
			tb.Error(err)
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
	Offset uint64          `json:"offset"`
	Data   json.RawMessage `json:"data"`
}

type coded struct {
	Code int `json:"code"`
}

// reply is whatever the server says.
type reply struct {
	ID      int    `json:"id"`
	Error   *coded `json:"error"`
	Connect *struct {
		Ping int `json:"ping"`
	} `json:"connect"`
	Subscribe *struct {
		Recovered     bool   `json:"recovered"`
		WasRecovering bool   `json:"was_recovering"`
		Epoch         string `json:"epoch"`
		Offset        uint64 `json:"offset"`
		Publications  []pub  `json:"publications"`
	} `json:"subscribe"`
	Push *struct {
		Channel     string `json:"channel"`
		Pub         *pub   `json:"pub"`
		Unsubscribe *coded `json:"unsubscribe"`
	} `json:"push"`
}

// dial opens a socket, or says what the server answered instead.
func (h *house) dial(tb testing.TB, header http.Header) (c *client, status int, err error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true}
	//nolint:bodyclose // the library says that its body need not be closed
	conn, resp, err := ws.Dial(ctx, h.url+"/v1/live?cf_protocol=protobuf", &ws.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, HTTPHeader: header,
	})
	if resp != nil {
		status = resp.StatusCode
	}
	if err != nil {
		return nil, status, err
	}
	conn.SetReadLimit(64 << 20)
	tb.Cleanup(func() { _ = conn.CloseNow() })
	return &client{t: tb, conn: conn}, status, nil
}

func (h *house) raw(tb testing.TB) *client {
	tb.Helper()
	c, _, err := h.dial(tb, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func (h *house) connect(tb testing.TB, token string) *client {
	tb.Helper()
	c := h.raw(tb)
	c.send(`{"id":1,"connect":{"token":"` + token + `"}}`)
	if r := c.next(); r.ID != 1 || r.Connect == nil {
		tb.Fatalf("connect was answered %+v", r)
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
			if e, ok := errors.AsType[ws.CloseError](err); ok {
				return int(e.Code)
			}
			c.t.Fatalf("the socket was not closed with a code: %v", err)
		}
	}
}

// subscribe asks for a channel; since < 0 does not recover.
func (c *client) subscribe(channel string, since int, epoch string) reply {
	c.t.Helper()
	from := ""
	if since >= 0 {
		from = fmt.Sprintf(`,"recover":true,"epoch":%q,"offset":%d`, epoch, since)
	}
	c.send(fmt.Sprintf(`{"id":2,"subscribe":{"channel":%q%s}}`, channel, from))
	for {
		if r := c.next(); r.ID == 2 {
			return r
		}
	}
}

// pushed expects that this publication of own comes next.
func (c *client) pushed(offset uint64) {
	c.t.Helper()
	r := c.next()
	if r.Push == nil || r.Push.Pub == nil || r.Push.Channel != own || r.Push.Pub.Offset != offset {
		c.t.Fatalf("got %+v %+v, not publication %d", r, r.Push, offset)
	}
	if want := fmt.Sprintf(`{"version":%d}`, offset); string(r.Push.Pub.Data) != want {
		c.t.Fatalf("publication %d says %s", offset, r.Push.Pub.Data)
	}
}

func offsets(pubs []pub) string {
	var s []string
	for _, p := range pubs {
		s = append(s, strconv.FormatUint(p.Offset, 10))
	}
	return strings.Join(s, " ")
}
