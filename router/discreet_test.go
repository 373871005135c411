package router_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"bankforge/adapters/sqlite"
	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/app/codec"
	"bankforge/app/ops"
	"bankforge/handlers"
	"bankforge/router"
)

// told is a log that can be written to by many.
type told struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *told) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *told) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// versions are those of a log in memory.
type versions []app.Recorded

func (v versions) Versions(_ context.Context, subject string, after bank.Version, limit int) (rows []app.Row, _ error) {
	for _, e := range v {
		for _, touch := range app.Touches(&e.Event) {
			if touch.Subject == subject && touch.Version > after && len(rows) < limit {
				rows = append(rows, app.Row{Seq: e.Seq, Data: codec.Encode(nil, &e.Event, e.Meta)})
			}
		}
	}
	return rows, nil
}

// quoting is a handler that fails for one key, and says all that the message says.
type quoting struct{ key string }

func (q *quoting) handle(_ context.Context, facts []handlers.Fact) error {
	for i := range facts {
		f := &facts[i]
		big := f.Transaction != nil && f.Leg.Amount > 99 && f.Leg.After.Balance != f.Leg.Amount
		if q.key == "" && big && !bank.IsInternal(f.Leg.Account) {
			q.key = f.Key()
		}
		if f.Key() == q.key && big {
			return fmt.Errorf("%s: no shelf for %s: %d and %d at ann@example.com", f.Key(), f.Transaction.Reference,
				f.Leg.Amount, f.Leg.After.Balance)
		}
	}
	return nil
}

// Whatever an error quotes of the message that failed, operators are told of the failure without it; those who may see
// everything see it; and no log has it.
func TestWhatErrorsQuoteIsNotTold(t *testing.T) {
	t.Parallel()
	source := rand.New(rand.NewPCG(3, 3)) // the same each time
	l := newLedger()
	l.events = apptest.RandomHistory(source.IntN, 120)
	for i := range l.events {
		for j := range l.events[i].Transactions {
			l.events[i].Transactions[j].Reference = "INV 2031/7"
		}
	}
	store, log, q := openStore(t), &told{}, &quoting{}
	progress := router.NewProgress()
	r, err := router.New("", []router.Route{{
		Name: handlerName, Topic: bank.AccountsTopic, Store: store, Handler: q.handle,
		Forget: func(context.Context, string) (bool, error) { return true, nil },
	}}, router.Config{
		Source: l, Hints: l.hints, Versions: versions(l.events), Progress: progress, Policy: quick(), Batch: 16,
		Classify: []router.Classifier{sqlite.Classify}, Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Router: r, name: handlerName, ledger: l, store: store, progress: progress}
	b.start(t)
	b.await(t)
	texts := map[string]string{"the handler": b.status(t).LastError}
	again := func(what string, err error) {
		t.Helper()
		failed, ok := errors.AsType[*router.ReplayError](err)
		if !ok {
			t.Fatalf("%s: %v", what, err)
		}
		texts[what] = failed.Text
	}
	again("a replay", r.ReplayHead(t.Context(), handlerName, q.key, router.By{Cause: "act_1"}))
	always := func(context.Context) (bool, error) { return true, nil }
	again("a rebuild", r.Rebuild(t.Context(), handlerName, q.key, always, func(context.Context) error { return nil }))
	kept(t, store, q.key, texts)
	for what, text := range texts {
		const masked = ": no shelf for ***: *** and *** at ***"
		if got := ops.Masked(text); got != q.key+masked {
			t.Errorf("%s is %q", what, got)
		}
		if all := ops.Open(text); !strings.Contains(all, "INV 2031/7") || !strings.Contains(all, "ann@example.com") {
			t.Errorf("%s is %q for who sees everything", what, all)
		}
	}
	if lines := log.text(); !strings.Contains(lines, "no shelf for") || strings.Contains(lines, "INV 2031/7") ||
		strings.Contains(lines, "ann@example.com") {
		t.Errorf("the log has %s", lines)
	}
}

// kept adds the texts that the parking lot has of a key.
func kept(t *testing.T, store *sqlite.HandlerStore, key string, texts map[string]string) {
	t.Helper()
	failures, err := store.Failures(t.Context(), ops.FailureFilter{Page: ops.Page{Limit: 1, Ascending: true}, Key: key})
	if err != nil || len(failures) != 1 {
		t.Fatalf("%+v, %v", failures, err)
	}
	texts["the list"] = failures[0].Error
	d, _, err := store.Failure(t.Context(), failures[0].ID)
	if err != nil || len(d.Tries) < 2 {
		t.Fatalf("%+v, %v", d.Tries, err)
	}
	for i := range d.Tries {
		texts[fmt.Sprint("attempt ", i)] = d.Tries[i].Error
	}
	groups, err := store.Groups(t.Context(), ops.GroupFilter{Page: ops.Page{Limit: 9}})
	if err != nil || len(groups) != 1 || groups[0].Count != 1 {
		t.Fatalf("%+v, %v", groups, err)
	}
	texts["the group"] = groups[0].Error
}
