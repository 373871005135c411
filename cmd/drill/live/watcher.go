// Package live is the clients of a bank's live channel: good ones, slow ones, and ones that hang up in the middle of a
// frame. Each knows which version it has to see next.
package live

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"bankforge/cmd/drill/teller"
)

// Habit is how a client behaves.
type Habit uint8

// The habits.
const (
	Good Habit = iota
	Slow       // reads one byte a second
	Rude       // hangs up in the middle of a frame, after every few versions
)

// Watcher is one client of one account. It connects again whenever it is cut off, and goes on from where it was.
type Watcher struct {
	url, token, account string
	habit               atomic.Uint32

	mu       sync.Mutex
	place    place
	reloads  int
	connects int
	findings []string
	line     *line // of the connection that stands
}

// place is what a client has seen.
type place struct {
	epoch         string
	offset        uint64
	balance, held int64
	seen          int  // versions, since it began
	blank         bool // it has to load the account anew, and has seen no version since
}

// New watches an account of the bank at the URL, from where it was seen last.
func New(url, token string, from *teller.Seen, habit Habit) *Watcher {
	w := &Watcher{url: "ws" + strings.TrimPrefix(url, "http") + "/v1/live", token: token, account: from.ID}
	w.place = place{epoch: from.Stream.Epoch, offset: from.Stream.Offset,
		balance: int64(from.Balance.Minor), held: int64(from.Held.Minor)}
	w.habit.Store(uint32(habit))
	return w
}

// Again is another client that begins where w has begun, or is.
func (w *Watcher) Again(habit Habit) *Watcher {
	w.mu.Lock()
	defer w.mu.Unlock()
	other := &Watcher{url: w.url, token: w.token, account: w.account, place: w.place}
	other.place.seen = 0
	other.habit.Store(uint32(habit))
	return other
}

// Behave changes the habit, from the next connection on.
func (w *Watcher) Behave(h Habit) { w.habit.Store(uint32(h)) }

// Cut breaks the connection.
func (w *Watcher) Cut() {
	w.mu.Lock()
	l := w.line
	w.mu.Unlock()
	if l != nil {
		_ = l.Close() // it may have broken by itself
	}
}

// Report is what a watcher has to tell.
type Report struct {
	Account           string
	Epoch             string
	Offset            uint64
	Balance, Held     int64
	Seen              int
	Blank             bool // balance and held are not known
	Connects, Reloads int
	Findings          []string
}

// Report tells what it has seen so far.
func (w *Watcher) Report() Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &w.place
	return Report{w.account, p.epoch, p.offset, p.balance, p.held, p.seen, p.blank, w.connects, w.reloads, w.findings}
}

func (w *Watcher) found(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.findings = append(w.findings, w.account+": "+fmt.Sprintf(format, args...))
}

// reconnectAfter is the same for all, so that all come at once.
const reconnectAfter = 100 * time.Millisecond

// Watch connects, and connects again, until ctx ends.
func (w *Watcher) Watch(ctx context.Context) {
	for ctx.Err() == nil {
		_ = w.once(ctx) // connections end in many ways, and none of them is wrong
		select {
		case <-time.After(reconnectAfter):
		case <-ctx.Done():
		}
	}
}

// reply is whatever the server says.
type reply struct {
	ID    int `json:"id"`
	Error *struct {
		Code int `json:"code"`
	} `json:"error"`
	Subscribe *struct {
		Recovered    bool          `json:"recovered"`
		Epoch        string        `json:"epoch"`
		Offset       uint64        `json:"offset"`
		Publications []publication `json:"publications"`
	} `json:"subscribe"`
	Push *struct {
		Pub         *publication    `json:"pub"`
		Unsubscribe json.RawMessage `json:"unsubscribe"`
	} `json:"push"`
}

type publication struct {
	Offset uint64 `json:"offset"`
	Data   struct {
		Version uint64 `json:"version"`
		Data    struct {
			Balance teller.Money `json:"balance"`
			Held    teller.Money `json:"held"`
		} `json:"data"`
	} `json:"data"`
}

// once is one connection, from its opening to its end.
func (w *Watcher) once(ctx context.Context) error {
	l := &line{ctx: ctx}
	transport := &http.Transport{DialContext: l.dial, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	//nolint:bodyclose // the library says that its body need not be closed
	conn, _, err := websocket.Dial(ctx, w.url, &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		return err
	}
	defer conn.CloseNow() //nolint:errcheck // it is over
	conn.SetReadLimit(64 << 20)
	w.mu.Lock()
	w.line = l
	w.connects++
	from := w.place
	w.mu.Unlock()
	habit := Habit(w.habit.Load())
	l.slow.Store(habit == Slow)
	hello := fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`+"\n"+
		`{"id":2,"subscribe":{"channel":"account:%s","recover":true,"epoch":%q,"offset":%d}}`,
		w.token, w.account, from.epoch, from.offset)
	if err := conn.Write(ctx, websocket.MessageText, []byte(hello)); err != nil {
		return err
	}
	for heard := 0; ; heard++ {
		_, frame, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		for text := range bytes.Lines(frame) {
			if err := w.hear(ctx, conn, bytes.TrimSpace(text)); err != nil {
				return err
			}
		}
		if habit == Rude && heard > rudeAfter {
			return l.tear()
		}
	}
}

// rudeAfter is how many frames a rude client listens to.
const rudeAfter = 20

var errUnsubscribed = errors.New("unsubscribed: subscribe again from where you are")

func (w *Watcher) hear(ctx context.Context, conn *websocket.Conn, text []byte) error {
	if string(text) == "{}" {
		return conn.Write(ctx, websocket.MessageText, text)
	}
	var r reply
	if err := json.Unmarshal(text, &r); err != nil {
		w.found("not JSON: %q", text)
		return err
	}
	switch {
	case r.Error != nil:
		w.found("error %d: %s", r.Error.Code, text)
		return io.EOF
	case r.Subscribe != nil:
		return w.subscribed(&r)
	case r.Push != nil && r.Push.Pub != nil:
		w.take(r.Push.Pub)
	case r.Push != nil && r.Push.Unsubscribe != nil:
		return errUnsubscribed
	}
	return nil
}

// maxMissed is how many versions the bank brings after the fact, at least.
const maxMissed = 1000

// subscribed takes in what was missed. Who is not brought what it missed has to load the account anew, which is
// right in another epoch, and when too much was missed.
func (w *Watcher) subscribed(r *reply) error {
	s := r.Subscribe
	if s.Recovered {
		for i := range s.Publications {
			w.take(&s.Publications[i])
		}
		return nil
	}
	w.mu.Lock()
	from := w.place
	w.reloads++
	w.place.epoch, w.place.offset, w.place.blank = s.Epoch, s.Offset, true
	w.mu.Unlock()
	if s.Epoch == from.epoch && s.Offset <= from.offset+maxMissed {
		w.found("from version %d on it was not brought what it missed up to %d", from.offset, s.Offset)
	}
	return nil
}

// take sees the next version: each once, in order.
func (w *Watcher) take(p *publication) {
	w.mu.Lock()
	want := w.place.offset + 1
	w.place.offset = p.Offset
	w.place.balance, w.place.held = int64(p.Data.Data.Balance.Minor), int64(p.Data.Data.Held.Minor)
	w.place.seen++
	w.place.blank = false
	w.mu.Unlock()
	if p.Offset != want || p.Data.Version != p.Offset {
		w.found("version %d at offset %d, where %d belongs", p.Data.Version, p.Offset, want)
	}
}
