package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sync/errgroup"
)

// loadAccounts is how many accounts the clients of a load move money between. Each starts with loadFunds.
const (
	loadAccounts = 4
	loadFunds    = 1_000_000_00
)

// checking is how many transfers are asked for at once when a load is checked.
const checking = 8

// load is a number of clients that move money until the bank is gone. It remembers what it was told.
type load struct {
	url      string
	header   http.Header
	accounts []string
	quit     chan struct{}
	clients  sync.WaitGroup
	started  int      // clients so far
	through  []string // processes to go through one after the other, when one does not answer; none: clients give up then

	mu    sync.Mutex
	last  time.Time     // when something was acknowledged
	gap   time.Duration // the longest time without that
	sent  []transfer    // also what was never answered
	acked int
	other []string // answers that a load must not get
}

// transfer is one command of a client.
type transfer struct {
	key, body string
	id        string // of the transaction; "" when there was no answer
}

func loadCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 0, "load open | start CLIENTS | wait COUNT | stop | check | through NAME… | gap S")
	j := of(ts)
	switch n := count(args); {
	case args[0] == "open" || args[0] == "start" && j.load == nil:
		l, err := newLoad(ts.Getenv("URL"), j.headers(ts, http.MethodGet))
		ts.Check(err)
		j.load = l
		l.run(n)
	case args[0] == "start":
		j.load.run(n)
	case args[0] == "wait" && n > 0:
		if !until(patience, func() bool { return j.load.acknowledged() >= n }) {
			n := j.load.acknowledged()
			j.load.stop()
			ts.Fatalf("only %d acknowledged: %v", n, j.load.other)
		}
	case args[0] == "stop":
		j.load.stop()
		ts.Logf("%d sent, %d acknowledged", len(j.load.sent), j.load.acked)
	case args[0] == "check":
		j.load.url = ts.Getenv("URL")
		ts.Check(j.load.check())
	case args[0] == "through":
		for _, name := range args[1:] {
			j.load.through = append(j.load.through, ts.Getenv(name))
		}
	case args[0] == "gap" && n > 0:
		gap := j.load.longest()
		fmt.Fprintf(ts.Stdout(), "the longest time without an answer was %s\n", gap.Round(time.Millisecond))
		if gap > time.Duration(n)*time.Second {
			ts.Fatalf("nothing was acknowledged for %s", gap)
		}
	default:
		ts.Fatalf("load: unknown %q", args)
	}
}

func count(args []string) int {
	if len(args) != 2 {
		return 0
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return 0
	}
	return n
}

// newLoad opens the accounts.
func newLoad(url string, header http.Header) (*load, error) {
	l := &load{url: url, header: header}
	for i := range loadAccounts {
		a, err := l.post("/v1/accounts", fmt.Sprintf("load-open-%d", i), `{"currency":"EUR"}`)
		if err != nil {
			return nil, err
		}
		id, err := a.at("id")
		if err != nil || a.status != http.StatusCreated {
			return nil, fmt.Errorf("open: %v: %d %s", err, a.status, a.body)
		}
		l.accounts = append(l.accounts, id)
		a, err = l.post("/v1/deposits", fmt.Sprintf("load-fund-%d", i),
			fmt.Sprintf(`{"account_id":%q,"amount":{"amount":"%d","currency":"EUR"}}`, id, loadFunds))
		if err != nil || a.status != http.StatusCreated {
			return nil, fmt.Errorf("deposit: %v: %d %s", err, a.status, a.body)
		}
	}
	return l, nil
}

// run starts more clients, each with keys of its own.
func (l *load) run(clients int) {
	quit := make(chan struct{})
	l.quit, l.last = quit, time.Time{}
	for range clients {
		c := l.started
		l.started++
		l.clients.Go(func() { l.client(c, quit) })
	}
}

func (l *load) post(path, key, body string) (answer, error) {
	return l.postTo(l.url, path, key, body)
}

func (l *load) postTo(url, path, key, body string) (answer, error) {
	h := l.header.Clone()
	h.Set("Idempotency-Key", key)
	h.Set("Content-Type", "application/json")
	return ask(http.MethodPost, url+path, h, body)
}

// insist asks one process after the other, under the same key, until one has done it.
func (l *load) insist(c int, t transfer, quit <-chan struct{}) (a answer, err error) {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for i := c; ; i++ {
		a, err = l.postTo(l.through[i%len(l.through)], "/v1/transfers", t.key, t.body)
		if err == nil && a.status != http.StatusServiceUnavailable {
			return a, nil
		}
		select {
		case <-quit:
			return a, err
		case <-again.C:
		}
	}
}

// client sends one transfer after the other, until one is not answered.
func (l *load) client(c int, quit <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-quit:
			return
		default:
		}
		t := transfer{key: fmt.Sprintf("load-%d-%d", c, i), body: fmt.Sprintf(
			`{"from_account_id":%q,"to_account_id":%q,"amount":{"amount":"%d","currency":"EUR"}}`,
			l.accounts[(c+i)%loadAccounts], l.accounts[(c+i+1+i%(loadAccounts-1))%loadAccounts], 1+i%100)}
		var a answer
		var err error
		if len(l.through) > 0 {
			a, err = l.insist(c, t, quit)
		} else {
			a, err = l.post("/v1/transfers", t.key, t.body)
		}
		if !l.note(t, a, err) {
			return
		}
	}
}

// longest is the longest time between two acknowledgements so far.
func (l *load) longest() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gap
}

// note remembers what became of a transfer, and reports whether the bank still answers.
func (l *load) note(t transfer, a answer, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && a.status == http.StatusCreated {
		t.id, err = a.at("id")
	}
	if err == nil && a.status != http.StatusCreated && a.status != http.StatusServiceUnavailable {
		l.other = append(l.other, fmt.Sprintf("%d %s", a.status, a.body))
	}
	l.sent = append(l.sent, t)
	if t.id != "" {
		l.acked++
		now := time.Now()
		if !l.last.IsZero() {
			l.gap = max(l.gap, now.Sub(l.last))
		}
		l.last = now
	}
	return err == nil && a.status == http.StatusCreated
}

func (l *load) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked
}

func (l *load) stop() {
	if l.quit != nil {
		close(l.quit)
		l.quit = nil
	}
	l.clients.Wait()
}

// check sends everything again under its old key. What was acknowledged must be known, as the same transaction; what
// was not, is now done once. Then the history must have each of them exactly once, and no money may be missing.
func (l *load) check() error {
	if len(l.other) > 0 {
		return fmt.Errorf("unexpected answers: %v", l.other)
	}
	ids := make([]string, len(l.sent))
	var group errgroup.Group
	group.SetLimit(checking)
	for i, t := range l.sent {
		group.Go(func() (err error) {
			ids[i], err = l.known(t)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	want := map[string]bool{}
	for _, id := range ids {
		if want[id] {
			return fmt.Errorf("two transfers are the same transaction %s", id)
		}
		want[id] = true
	}
	return errors.Join(l.checkHistory(want), l.checkMoney())
}

// known is the transaction that a transfer is, when it is sent once more.
func (l *load) known(t transfer) (id string, err error) {
	a, err := l.again(t)
	if err != nil {
		return "", err
	}
	id, err = a.at("id")
	switch {
	case err != nil || a.status != http.StatusCreated:
		return "", fmt.Errorf("%s again: %v: %d %s", t.key, err, a.status, a.body)
	case t.id != "" && (id != t.id || a.header.Get("Idempotency-Replayed") != "true"):
		return "", fmt.Errorf("%s was acknowledged as %s, and is now %s, replayed: %q",
			t.key, t.id, id, a.header.Get("Idempotency-Replayed"))
	}
	return id, nil
}

// again sends a transfer under its old key, until it is answered: what is away may have been killed a moment ago.
func (l *load) again(t transfer) (a answer, err error) {
	until(patience, func() bool {
		a, err = l.post("/v1/transfers", t.key, t.body)
		return err == nil && a.status != http.StatusServiceUnavailable
	})
	return a, err
}

func (l *load) checkHistory(want map[string]bool) error {
	const list = "/v1/transactions?kind=transfer&limit=200"
	for next := list; ; {
		a, err := l.read(next)
		if err != nil {
			return err
		}
		var page struct {
			Data []struct {
				ID string `json:"id"`
			} `json:"data"`
			Next string `json:"next_cursor"` // null: it is the last one
		}
		if err := json.Unmarshal(a.body, &page); err != nil {
			return fmt.Errorf("the answer is not JSON: %w: %s", err, a.body)
		}
		for _, t := range page.Data {
			if !want[t.ID] {
				return fmt.Errorf("the history has %s twice, or nobody asked for it", t.ID)
			}
			delete(want, t.ID)
		}
		if page.Next == "" {
			break
		}
		next = list + "&cursor=" + page.Next
	}
	if len(want) > 0 {
		return fmt.Errorf("the history lacks %d transfers", len(want))
	}
	return nil
}

// read reads what is not stale: a view may need some seconds after its process was killed.
func (l *load) read(path string) (a answer, err error) {
	fresh := until(patience, func() bool {
		a, err = ask(http.MethodGet, l.url+path, l.header, "")
		return err != nil || a.status != http.StatusServiceUnavailable && a.header.Get("Bankforge-Stale") == ""
	})
	if err == nil && (!fresh || a.status != http.StatusOK) {
		err = fmt.Errorf("%s: %d, stale: %s: %s", path, a.status, a.header.Get("Bankforge-Stale"), a.body)
	}
	return a, err
}

func (l *load) checkMoney() error {
	sum := 0
	for _, id := range l.accounts {
		a, err := l.read("/v1/accounts/" + id)
		if err != nil {
			return err
		}
		balance, err := a.at("balance.amount")
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(balance)
		if err != nil {
			return err
		}
		sum += n
	}
	if sum != loadAccounts*loadFunds {
		return fmt.Errorf("the accounts hold %d together, and should hold %d", sum, loadAccounts*loadFunds)
	}
	return nil
}
