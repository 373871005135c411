package ports

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
)

// LiveHub is where live updates come from.
type LiveHub interface {
	// Serve opens a socket. An error means that it has not, and that nothing has been answered.
	Serve(w http.ResponseWriter, r *http.Request) error
	// Follow calls send with each publication of the channel whose offset is above after (nil: above the newest), in
	// order, without gaps or duplicates; and with nil once it has begun, and whenever nothing has happened for
	// beat. It returns when ctx ends, when send fails, when the subject loses its rights, and when the hub shuts down.
	Follow(ctx context.Context, subject, channel string, after *uint64, beat time.Duration,
		send func(offset uint64, data []byte) error) error
}

// LiveAccess knows who may watch what.
type LiveAccess interface {
	// MaySubscribe says no to channels that do not exist just as to those of others.
	MaySubscribe(ctx context.Context, p app.Principal, channel string) (bool, error)
}

// Live is what the doors of live updates need.
type Live struct {
	Hub     LiveHub
	Access  LiveAccess
	Tickets *Tickets
}

// LiveTicket answers POST /v1/live/tickets.
type LiveTicket struct {
	Ticket    string `json:"ticket" doc:"Connect with it as token, once."`
	ExpiresAt string `json:"expires_at" format:"date-time"`
}

const (
	sseBeat    = 15 * time.Second // between comments that show that the stream is alive
	sseWrite   = 10 * time.Second // for one write; who is slower reconnects, and recovers
	sseChannel = "account:"
	sseVersion = "Last-Event-ID"
)

// accountStream answers GET /v1/accounts/{id}/live with Server-Sent Events: id is the account's version, data the
// same as on a WebSocket. An error means that nothing has been answered yet.
func (l *Live) accountStream(w http.ResponseWriter, r *http.Request, p app.Principal, id string) error {
	after, err := lastEventID(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	if !p.Expires.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, p.Expires)
		defer cancel()
	}
	may, err := l.Access.MaySubscribe(ctx, p, sseChannel+id)
	if err != nil {
		return err
	}
	if !may {
		return bank.Refuse(bank.NotFound, "", "There is no such account.")
	}
	s := eventStream{w: w, control: http.NewResponseController(w)}
	err = l.Hub.Follow(ctx, p.Subject, sseChannel+id, after, sseBeat, s.send)
	if !s.begun {
		return err
	}
	return nil // the stream has ended, for whatever reason: the client comes back with its last version
}

// lastEventID is the version that the client has, or nil when it has none.
func lastEventID(r *http.Request) (*uint64, error) {
	text := r.Header.Get(sseVersion)
	if text == "" {
		return nil, nil //nolint:nilnil // none, and that is no error
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return nil, badParameter(sseVersion, "integer", "It is the last version that you have got.")
	}
	return &n, nil
}

type eventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

func (s *eventStream) send(version uint64, data []byte) error {
	if err := s.begin(); err != nil {
		return err
	}
	var err error
	if data == nil {
		_, err = fmt.Fprint(s.w, ": alive\n\n")
	} else {
		_, err = fmt.Fprintf(s.w, "id: %d\ndata: %s\n\n", version, data) //nolint:gosec // an event stream, no page
	}
	if err != nil {
		return err
	}
	return s.control.Flush()
}

// begin sets the time for this write; the first one also answers the request.
func (s *eventStream) begin() error {
	if err := s.control.SetWriteDeadline(time.Now().Add(sseWrite)); err != nil {
		return err
	}
	if s.begun {
		return nil
	}
	if err := s.control.SetReadDeadline(time.Time{}); err != nil { // the time for reading requests is not for streams
		return err
	}
	s.begun = true
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy in front passes on what it gets at once
	s.w.WriteHeader(http.StatusOK)
	_, err := fmt.Fprint(s.w, "retry: 1000\n\n")
	return err
}

// Tickets let a client that cannot set headers open one live connection: it buys a ticket with its token, and
// connects with the ticket, once. They are kept in memory: after a restart the client buys another.
// It is safe for concurrent use.
type Tickets struct {
	now    func() time.Time
	mu     sync.Mutex
	valid  map[string]ticket
	oldest []string       // in the order of their making, which is that of their ends; used ones may be among them
	open   map[string]int // subject → how many are valid
}

type ticket struct {
	principal app.Principal
	expires   time.Time
}

const (
	ticketPrefix      = "ticket_"
	ticketLife        = 30 * time.Second
	maxTickets        = 10_000 // of all subjects
	maxSubjectTickets = 100    // of one
)

// NewTickets makes tickets that end by the clock now.
func NewTickets(now func() time.Time) *Tickets {
	return &Tickets{now: now, valid: map[string]ticket{}, open: map[string]int{}}
}

// Issue makes a ticket for the principal.
func (t *Tickets) Issue(p app.Principal) (text string, expires time.Time, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for len(t.oldest) > 0 {
		first, ok := t.valid[t.oldest[0]]
		if ok && now.Before(first.expires) {
			break
		}
		t.remove(t.oldest[0])
		t.oldest = t.oldest[1:]
	}
	switch {
	case t.open[p.Subject] >= maxSubjectTickets:
		return "", time.Time{}, bank.Refuse(codeRateLimited, "", "There are too many unused tickets of yours.")
	case len(t.oldest) >= maxTickets:
		return "", time.Time{}, bank.Refuse(app.CodeOverloaded, "", "There are too many unused tickets.")
	}
	text, expires = ticketPrefix+strings.ToLower(rand.Text()), now.Add(ticketLife)
	t.valid[text] = ticket{p, expires}
	t.oldest = append(t.oldest, text)
	t.open[p.Subject]++
	return text, expires, nil
}

// Redeem uses a ticket up, and says whose it was. What the principal's token does not outlive, neither does the ticket.
func (t *Tickets) Redeem(text string) (app.Principal, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	found, ok := t.valid[text]
	t.remove(text)
	now := t.now()
	p := found.principal
	if !ok || !now.Before(found.expires) || !p.Expires.IsZero() && !now.Before(p.Expires) {
		return app.Principal{}, false
	}
	return p, true
}

func (t *Tickets) remove(text string) {
	found, ok := t.valid[text]
	if !ok {
		return
	}
	delete(t.valid, text)
	if t.open[found.principal.Subject]--; t.open[found.principal.Subject] == 0 {
		delete(t.open, found.principal.Subject)
	}
}

// LiveTokens knows what a live connection may connect with: a ticket, or a bearer token.
type LiveTokens struct {
	Tickets *Tickets
	Bearer  Authenticator
}

// Authenticate uses a ticket up, or asks whose the token is.
func (l LiveTokens) Authenticate(ctx context.Context, token string) (app.Principal, error) {
	if !strings.HasPrefix(token, ticketPrefix) {
		return l.Bearer.Authenticate(ctx, token)
	}
	p, ok := l.Tickets.Redeem(token)
	if !ok {
		return app.Principal{}, bank.Refuse(codeUnauthenticated, "", "The ticket has been used, or has expired.")
	}
	return p, nil
}
