package ports

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
)

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
