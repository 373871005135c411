package ports

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"bankforge/adapters/sqlite"
	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/app/codec"
)

func TestMain(m *testing.M) {
	// The server closes a connection whose request it has refused, half a second later.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// views are the memory views, brought up to date by every question, unless they are held back.
type views struct {
	log  *apptest.MemoryLog
	mu   sync.Mutex
	mem  apptest.MemoryViews
	at   bank.Seq
	held bool // take nothing more in
	park bool // say that every key is parked
}

func (v *views) lock(ctx context.Context) func() {
	v.mu.Lock()
	for !v.held {
		rows, err := v.log.Read(ctx, v.at, 100)
		if err != nil || len(rows) == 0 {
			break
		}
		for _, r := range rows {
			e, m, err := codec.Decode(r.Data)
			if err != nil {
				panic(err)
			}
			v.mem.Evolve(app.Recorded{Event: e, Meta: m, Chain: r.Chain})
			v.at = e.Seq
		}
	}
	return v.mu.Unlock
}

func (v *views) Account(ctx context.Context, id bank.AccountID) (bank.Account, bool, error) {
	defer v.lock(ctx)()
	return v.mem.Account(ctx, id)
}

func (v *views) Accounts(ctx context.Context, f app.AccountFilter) ([]bank.Account, error) {
	defer v.lock(ctx)()
	return v.mem.Accounts(ctx, f)
}

func (v *views) Transaction(ctx context.Context, id bank.TransactionID) (bank.Transaction, bool, error) {
	defer v.lock(ctx)()
	return v.mem.Transaction(ctx, id)
}

func (v *views) Transactions(ctx context.Context, f app.TransactionFilter) ([]bank.Transaction, error) {
	defer v.lock(ctx)()
	return v.mem.Transactions(ctx, f)
}

func (v *views) Entries(ctx context.Context, f app.EntryFilter) ([]app.EntryRow, error) {
	defer v.lock(ctx)()
	return v.mem.Entries(ctx, f)
}

func (v *views) Hold(ctx context.Context, id bank.HoldID) (bank.Hold, bool, error) {
	defer v.lock(ctx)()
	return v.mem.Hold(ctx, id)
}

func (v *views) Holds(ctx context.Context, f app.HoldFilter) ([]bank.Hold, error) {
	defer v.lock(ctx)()
	return v.mem.Holds(ctx, f)
}

func (v *views) Await(_ context.Context, handler string, seq bank.Seq) bool {
	return v.At(handler) >= seq
}

func (v *views) At(string) bank.Seq {
	defer v.lock(context.Background())()
	return v.at
}

func (v *views) Parked(context.Context, string, string) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.park, nil
}

func (v *views) hold(back bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.held = back
}

// house is a whole bank behind its doors.
type house struct {
	t       testing.TB
	handler http.Handler
	key     TokenKey
	log     *apptest.MemoryLog
	views   *views
	ledger  *app.Ledger
	lot     *lot
	modules []ModuleState
	odd     bool // answers are not held against the document
}

func (h *house) Ready() []ModuleState { return h.modules }

var quiet = slog.New(slog.DiscardHandler)

func open(tb testing.TB, change ...func(*Config)) *house {
	tb.Helper()
	h := &house{t: tb, log: new(apptest.MemoryLog), key: TokenKey{ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}}
	h.views, h.lot = &views{log: h.log}, &lot{log: h.log}
	ctx := context.Background()
	ledger, err := app.StartLedger(ctx, app.LedgerConfig{Log: h.log, Lookup: h.log, Owner: "test", Logger: quiet})
	fatal(tb, err)
	h.ledger = ledger
	tb.Cleanup(func() { fatal(tb, ledger.Close(ctx)) })
	db, err := sqlite.Open(ctx, filepath.Join(tb.TempDir(), "state.db"), sqlite.StateFile)
	fatal(tb, err)
	tb.Cleanup(func() { fatal(tb, db.Close()) })
	bank, err := app.New(app.Parts{
		Decider: ledger, Tide: ledger.Tide(), Log: h.log, Lookup: h.log,
		Balances: h.views, History: h.views, Progress: h.views,
		Customers: sqlite.NewCustomers(db), MasterKey: make([]byte, 32), Publisher: app.LogIsBroker{},
	})
	fatal(tb, err)
	tokens, err := NewTokens(nil, h.key.Public())
	fatal(tb, err)
	c := Config{
		App: bank, Auth: tokens, Readiness: h, Log: quiet, Epoch: "inc-1", AsyncAPI: []byte("asyncapi: 3.0.0\n"),
		Ops: &Operations{Lot: h.lot, Demo: true, Patience: 100 * time.Millisecond},
	}
	for _, f := range change {
		f(&c)
	}
	h.handler, err = New(c)
	fatal(tb, err)
	return h
}

func fatal(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// token is one for the role; a customer's is for the customer whose id follows.
func (h *house) token(role app.Role, customer ...string) string {
	h.t.Helper()
	p := app.Principal{Subject: string(role), Roles: []app.Role{role}}
	if len(customer) > 0 {
		id, err := bank.ParseID[bank.Customer](customer[0])
		fatal(h.t, err)
		p.Customer, p.Subject = id, "the "+customer[0]
	}
	text, err := h.key.Sign(p, time.Now(), time.Hour)
	fatal(h.t, err)
	return text
}

// answer is what came back.
type answer struct {
	*http.Response
	text string
	body map[string]any
}

// ask sends a request. headers are "Name: value".
func (h *house) ask(token, method, target, body string, headers ...string) answer {
	h.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	out := answer{Response: w.Result(), text: w.Body.String()}
	if strings.Contains(out.Header.Get("Content-Type"), "json") {
		_ = json.Unmarshal(w.Body.Bytes(), &out.body)
	}
	if !h.odd {
		h.isTrue(method, target, out)
	}
	return out
}

// post sends a command as a teller under a key of its own.
func (h *house) post(target, body string, headers ...string) answer {
	h.t.Helper()
	return h.ask(h.token(teller), "POST", target, body, append([]string{"Idempotency-Key: " + newKey()}, headers...)...)
}

// is checks the status, and of a problem the code, too: "409 account_frozen".
func (h *house) is(a answer, want string) answer {
	h.t.Helper()
	got := a.Status[:3]
	if code := a.str("code"); code != "" {
		got += " " + code
	}
	if got != want {
		h.t.Fatalf("got %s, want %s: %s", got, want, a.text)
	}
	if a.StatusCode >= 400 {
		h.isProblem(a)
	}
	return a
}

// isProblem checks that all members are there.
func (h *house) isProblem(a answer) {
	h.t.Helper()
	if ct := a.Header.Get("Content-Type"); ct != "application/problem+json" {
		h.t.Fatalf("a problem is %s: %s", ct, a.text)
	}
	for _, member := range []string{
		"type", "title", "status", "detail", "instance", "code", "correlation_id", "retryable", "errors",
	} {
		if _, ok := a.body[member]; !ok {
			h.t.Errorf("a problem without %s: %s", member, a.text)
		}
	}
	if a.body["status"] != float64(a.StatusCode) || a.str("detail") == "" || a.Header.Get("X-Correlation-Id") == "" {
		h.t.Errorf("an odd problem: %s", a.text)
	}
}

// str is a text in the body, by its path.
func (a answer) str(path ...string) string {
	var at any = a.body
	for _, p := range path {
		switch v := at.(type) {
		case map[string]any:
			at = v[p]
		case []any:
			at = v[int(p[0]-'0')]
		}
	}
	s, _ := at.(string)
	return s
}
