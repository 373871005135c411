package teller

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"bankforge/cmd/drill/journal"
)

// Office is all that the clients of one bank know together.
type Office struct {
	doors   []*Client
	journal *journal.Journal
	seed    uint64
	began   time.Time

	mu       sync.Mutex
	accounts []Account
	commands []*Command
	reads    []Read
	findings []string
	workers  int
	versions map[string]versions // by account; nil: whoever is asked knows by itself what it has told
}

// Account is one that the clients move money of.
type Account struct {
	ID        string
	Overdraft int64
}

// NewOffice makes up commands from seed, and notes them in j.
func NewOffice(c *Client, j *journal.Journal, seed uint64) *Office {
	return &Office{doors: []*Client{c}, journal: j, seed: seed, began: time.Now()}
}

// Through has the clients come in by many doors, each a process of the same bank. They stay when one does not answer,
// and try the next. What one process has told, another one that shows it need not know: so readers ask for at least the
// version that they know of.
func (o *Office) Through(doors ...*Client) {
	o.doors = doors
	o.versions = map[string]versions{}
}

// door is one of them. Whoever asks the next number, gets the next.
func (o *Office) door(n int) *Client { return o.doors[n%len(o.doors)] }

const (
	accounts = 6
	funds    = 20_000
)

// Found says that the bank has done what it must not.
func (o *Office) found(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.findings = append(o.findings, fmt.Sprintf(format, args...))
}

// Findings are what the bank must not have answered, so far; they are given once.
func (o *Office) Findings() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := o.findings
	o.findings = nil
	return out
}

// Accounts are those that the clients move money of.
func (o *Office) Accounts() []Account { return o.accounts }

// Commands are all so far. They may be read when no clients are at work.
func (o *Office) Commands() []*Command { return o.commands }

// Keep forgets commands, as a bank does that goes on from an older state. Only while no client works.
func (o *Office) Keep(these func(*Command) bool) {
	o.commands = slices.DeleteFunc(slices.Clone(o.commands), func(c *Command) bool { return !these(c) })
}

// Relearn forgets what commands of a kind were answered, so that they are asked again; only when nobody is at work.
func (o *Office) Relearn(kind Kind) {
	for _, c := range o.commands {
		if c.Kind == kind {
			c.Fate, c.Reply = journal.Unknown, Reply{}
		}
	}
}

// Reads are those since the last call.
func (o *Office) Reads() []Read {
	out := o.reads
	o.reads = nil
	return out
}

// Acked is how many commands have been acknowledged so far.
func (o *Office) Acked() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.commands {
		if c.Fate == journal.Acked {
			n++
		}
	}
	return n
}

// AckedSince is how many of those that were sent after a time of the drill have been acknowledged.
func (o *Office) AckedSince(t int64) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.commands {
		if c.Fate == journal.Acked && c.Call > t {
			n++
		}
	}
	return n
}

// Now is the time of the drill.
func (o *Office) Now() int64 { return int64(time.Since(o.began)) }

// Setup opens the accounts and puts money on them.
func (o *Office) Setup(ctx context.Context) error {
	w := o.worker()
	for i := range accounts {
		a := Account{Overdraft: int64(i%3) * 500}
		c := w.command(Open, "/v1/accounts", fmt.Sprintf(`{"currency":"EUR","overdraft_limit":%s}`, money(a.Overdraft)))
		w.insist(ctx, c)
		var opened struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(c.Reply.Body, &opened); err != nil || c.Fate != journal.Acked {
			return fmt.Errorf("open an account: %s, %w", c.Fate, errors.Join(err, errors.New(string(c.Reply.Body))))
		}
		a.ID = opened.ID
		o.accounts = append(o.accounts, a)
		w.insist(ctx, w.deposit(a, funds))
	}
	return nil
}

// insist sends a command again while it is not done: nobody may own the ledger yet.
func (w *worker) insist(ctx context.Context, c *Command) {
	for range 20 {
		if w.send(ctx, c); c.Fate != journal.NotDone || Rest(ctx, 100*time.Millisecond) != nil {
			return
		}
	}
}

// Work has n clients at work until ctx ends. A client whose connection breaks stops, or takes another door.
func (o *Office) Work(ctx context.Context, n int) { o.work(ctx, n, (*worker).step) }

func (o *Office) work(ctx context.Context, n int, step func(*worker, context.Context) bool) {
	var all sync.WaitGroup
	for range n {
		w := o.worker()
		all.Go(func() {
			for alive := true; alive && ctx.Err() == nil; {
				if alive = step(w, ctx); !alive && len(w.doors) > 1 {
					w.at++
					alive = Rest(ctx, 20*time.Millisecond) == nil
				}
			}
		})
	}
	all.Wait()
}

// worker is one client. What it does follows from the seed and from what it is answered.
type worker struct {
	*Office
	random *rand.Rand
	at     int        // its door
	mine   []*Command // that are known to be acked or rejected
	holds  []held
}

// held is an active hold that only this client touches.
type held struct {
	id        string
	account   Account
	remaining int64
}

func (o *Office) worker() *worker {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.workers++
	random := rand.New(rand.NewPCG(o.seed, uint64(o.workers))) //nolint:gosec // replayed
	return &worker{Office: o, random: random, at: o.workers}
}

func (w *worker) command(kind Kind, path, body string) *Command {
	a, b := w.random.Uint64(), w.random.Uint64()
	c := &Command{Kind: kind, Path: path, Body: body}
	c.Key = fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48&0xfff, b&0xffffffffffff)
	w.mu.Lock()
	defer w.mu.Unlock()
	c.N = len(w.commands)
	w.commands = append(w.commands, c)
	return c
}

// send notes the intent, asks, and notes what came of it. It reports whether the bank is still there.
func (w *worker) send(ctx context.Context, c *Command) bool {
	return w.sendTwins(ctx, c, 1)
}

// sendTwins sends the same command over several connections at once. Whatever is known then is known of all.
func (w *worker) sendTwins(ctx context.Context, c *Command, n int) bool {
	if err := w.journal.Note(w.line(c, journal.Intent)); err != nil {
		w.found("the journal: %v", err)
		return false
	}
	replies, errs := make([]Reply, n), make([]error, n)
	c.Call = w.Now()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			// What was sent is waited for, whatever ctx says: else the answer would be lost, not refused.
			replies[i], errs[i] = w.door(w.at+i).Post(context.WithoutCancel(ctx), c)
		})
	}
	all.Wait()
	fate, alive := journal.NotDone, true
	for i := range n {
		f, err := w.settle(c, &replies[i], errs[i])
		if err != nil {
			w.found("%s %s: %v", c.Kind, c.Key, err)
		}
		alive = alive && errs[i] == nil
		if f == journal.Acked || f == journal.Rejected || f == journal.Unknown && fate == journal.NotDone {
			fate = f
		}
	}
	w.learn(c, fate) // before anybody may rely on it
	c.Return = w.Now()
	w.know(c, fate)
	if fate == journal.NotDone {
		_ = Rest(ctx, 5*time.Millisecond) // the loop sees when ctx has ended
	}
	return alive && !errors.Is(ctx.Err(), context.Canceled)
}

// settle takes one answer in, and compares it with those that were given before.
func (w *worker) settle(c *Command, r *Reply, err error) (journal.Fate, error) {
	f, err := fate(r, err)
	if f != journal.Acked && f != journal.Rejected {
		return f, err
	}
	if c.Reply.Status == 0 {
		c.Reply = *r
		return f, err
	}
	if c.Reply.Status != r.Status || !bytes.Equal(c.Reply.Body, r.Body) {
		err = errors.Join(err, fmt.Errorf("the same key gives %d %s, after %d %s",
			r.Status, r.Body, c.Reply.Status, c.Reply.Body))
	}
	return f, err
}

// know notes what has become of a command.
func (w *worker) know(c *Command, f journal.Fate) {
	w.mu.Lock()
	c.Fate = f
	w.mu.Unlock()
	if err := w.journal.Note(w.line(c, f)); err != nil {
		w.found("the journal: %v", err)
	}
	if f == journal.Acked || f == journal.Rejected {
		w.mine = append(w.mine, c)
	}
}

func (w *worker) line(c *Command, f journal.Fate) journal.Line {
	l := journal.Line{N: c.N, At: time.Now().UnixNano(), Fate: f}
	if f == journal.Intent {
		l.Key, l.Path, l.Body = c.Key, c.Path, c.Body
	} else {
		l.Status, l.Body = c.Reply.Status, string(c.Reply.Body)
	}
	return l
}

// Ask sends a command again. What was unknown, is known then; what was known must be the same, to the byte.
// Only when no clients are at work.
func (o *Office) Ask(ctx context.Context, c *Command) error {
	w := worker{Office: o}
	known := c.Reply.Status != 0
	for tries := 0; ; tries++ {
		r, err := o.door(c.N+tries).Post(ctx, c)
		if err == nil && r.Status == http.StatusServiceUnavailable && tries < 50 {
			if err := Rest(ctx, 100*time.Millisecond); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("%s %s again: %w", c.Kind, c.Key, err)
		}
		f, err := w.settle(c, &r, nil)
		switch {
		case err != nil:
			return fmt.Errorf("%s %s again: %w", c.Kind, c.Key, err)
		case f != journal.Acked && f != journal.Rejected:
			return fmt.Errorf("%s %s again: %d %s", c.Kind, c.Key, r.Status, r.Body)
		case known && r.Header.Get("Idempotency-Replayed") != "true":
			return fmt.Errorf("%s %s again: it does not say that it is replayed", c.Kind, c.Key)
		case !known:
			o.learn(c, f)
			c.Return, c.Again = o.Now(), true
			w.know(c, f)
		}
		return nil
	}
}

// Rest waits, or ends with ctx.
func Rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Until polls what only another process knows.
func Until(ctx context.Context, within time.Duration, is func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for !is() {
		if err := Rest(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
