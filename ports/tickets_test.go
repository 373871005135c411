package ports

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
)

// watch is a clock that stands still until it is told to move.
type watch struct{ time time.Time }

func (w *watch) now() time.Time { return w.time }

func newWatch() *watch { return &watch{time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func TestATicketIsGoodOnce(t *testing.T) {
	t.Parallel()
	w := newWatch()
	tickets := NewTickets(w.now)
	text, expires, err := tickets.Issue(app.Principal{Subject: "ann", Roles: []app.Role{app.RoleTeller}})
	if err != nil || !expires.Equal(w.time.Add(30*time.Second)) {
		t.Fatalf("a ticket until %s (%v)", expires, err)
	}
	p, ok := tickets.Redeem(text)
	if !ok || p.Subject != "ann" || !p.Has(app.RoleTeller) {
		t.Errorf("redeemed %+v, %v", p, ok)
	}
	if _, ok := tickets.Redeem(text); ok {
		t.Error("it was good twice")
	}
	if _, ok := tickets.Redeem("ticket_guessed"); ok {
		t.Error("a guess was good")
	}
}

func TestATicketEnds(t *testing.T) {
	t.Parallel()
	w := newWatch()
	tickets := NewTickets(w.now)
	late, _, err := tickets.Issue(app.Principal{Subject: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	revoked, _, err := tickets.Issue(app.Principal{Subject: "bob", Expires: w.time.Add(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	w.time = w.time.Add(time.Second)
	if _, ok := tickets.Redeem(revoked); ok {
		t.Error("the ticket has outlived the token that it was bought with")
	}
	w.time = w.time.Add(29 * time.Second)
	if _, ok := tickets.Redeem(late); ok {
		t.Error("the ticket was good after 30 s")
	}
}

func TestUnusedTicketsAreLimited(t *testing.T) {
	t.Parallel()
	w := newWatch()
	tickets := NewTickets(w.now)
	issue := func(subject string) bank.Code {
		_, _, err := tickets.Issue(app.Principal{Subject: subject})
		var e *bank.Error
		errors.As(err, &e)
		if e == nil {
			return ""
		}
		return e.Code
	}
	for range maxSubjectTickets {
		if code := issue("greedy"); code != "" {
			t.Fatal(code)
		}
	}
	if code := issue("greedy"); code != codeRateLimited {
		t.Errorf("one more than a subject may have: %q", code)
	}
	for i := range maxTickets - maxSubjectTickets {
		if code := issue(fmt.Sprint("s", i)); code != "" {
			t.Fatalf("ticket %d: %q", i, code)
		}
	}
	if code := issue("modest"); code != app.CodeOverloaded {
		t.Errorf("one more than there may be: %q", code)
	}
	w.time = w.time.Add(ticketLife)
	if code := issue("greedy"); code != "" {
		t.Errorf("after the others have ended: %q", code)
	}
	if len(tickets.valid) != 1 || len(tickets.open) != 1 {
		t.Errorf("%d tickets of %d subjects are kept", len(tickets.valid), len(tickets.open))
	}
}

type onlyBearer struct{}

func (onlyBearer) Authenticate(_ context.Context, token string) (app.Principal, error) {
	if token != "bearer" {
		return app.Principal{}, bank.Refuse(codeUnauthenticated, "", "no")
	}
	return app.Principal{Subject: "bea"}, nil
}

func TestTicketsAndTokensConnect(t *testing.T) {
	t.Parallel()
	l := LiveTokens{NewTickets(newWatch().now), onlyBearer{}}
	text, _, err := l.Tickets.Issue(app.Principal{Subject: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ token, subject string }{
		{"bearer", "bea"}, {text, "ann"}, {text, ""}, {"", ""}, {"other", ""}, {"ticket_", ""},
	} {
		p, err := l.Authenticate(context.Background(), c.token)
		if p.Subject != c.subject || (err == nil) != (c.subject != "") {
			t.Errorf("token %q is %q's (%v), not %q's", c.token, p.Subject, err, c.subject)
		}
	}
}
