package teller

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"bankforge/cmd/drill/journal"
)

// step does one thing, and reports whether the bank is still there.
func (w *worker) step(ctx context.Context) bool {
	switch n := w.random.IntN(100); {
	case n < movements:
		return w.move(ctx, n)
	case n < 83:
		return w.repeat(ctx)
	default:
		return w.read(ctx)
	}
}

// movements: of a hundred things that a client does, so many are new commands.
const movements = 77

// move sends a new command.
func (w *worker) move(ctx context.Context, n int) bool {
	switch {
	case n < 38:
		return w.send(ctx, w.transfer())
	case n < 43:
		return w.send(ctx, w.deposit(w.account(), w.amount()))
	case n < 48:
		return w.send(ctx, w.withdrawal())
	case n < 56:
		return w.hold(ctx)
	case n < 64:
		return w.endHold(ctx)
	case n < 69:
		return w.reverse(ctx)
	case n < 73:
		return w.send(ctx, w.bulk())
	default:
		return w.sendTwins(ctx, w.transfer(), 3)
	}
}

// account prefers the first one: banks have such accounts.
func (w *worker) account() Account {
	if w.random.IntN(3) == 0 {
		return w.accounts[0]
	}
	return w.accounts[w.random.IntN(len(w.accounts))]
}

// amount is sometimes more than an account has.
func (w *worker) amount() int64 {
	if w.random.IntN(10) == 0 {
		return 10_000 + w.random.Int64N(40_000)
	}
	return 1 + w.random.Int64N(400)
}

func (w *worker) pair() (from, to Account) {
	from, to = w.account(), w.account()
	for to == from {
		to = w.accounts[w.random.IntN(len(w.accounts))]
	}
	return from, to
}

func (w *worker) transfer() *Command {
	from, to := w.pair()
	n := w.amount()
	c := w.command(Transfer, "/v1/transfers", transferBody(from, to, n))
	c.Account, c.Amount = from.ID, n
	return c
}

func transferBody(from, to Account, n int64) string {
	return fmt.Sprintf(`{"from_account_id":%q,"to_account_id":%q,"amount":%s}`, from.ID, to.ID, money(n))
}

func (w *worker) deposit(a Account, n int64) *Command {
	return w.command(Deposit, "/v1/deposits", fmt.Sprintf(`{"account_id":%q,"amount":%s}`, a.ID, money(n)))
}

func (w *worker) withdrawal() *Command {
	a, n := w.account(), w.amount()
	c := w.command(Withdrawal, "/v1/withdrawals", fmt.Sprintf(`{"account_id":%q,"amount":%s}`, a.ID, money(n)))
	c.Account, c.Amount = a.ID, n
	return c
}

func (w *worker) bulk() *Command {
	items := make([]string, 2+w.random.IntN(6))
	for i := range items {
		from, to := w.pair()
		items[i] = transferBody(from, to, w.amount())
	}
	return w.command(Bulk, "/v1/transfers/bulk",
		fmt.Sprintf(`{"atomic":%t,"items":[%s]}`, w.random.IntN(2) == 0, strings.Join(items, ",")))
}

// hold places a hold, and remembers it when it is there.
func (w *worker) hold(ctx context.Context) bool {
	a, n := w.account(), w.amount()
	c := w.command(Hold, "/v1/holds", fmt.Sprintf(`{"account_id":%q,"amount":%s}`, a.ID, money(n)))
	c.Account, c.Amount = a.ID, n
	alive := w.send(ctx, c)
	var h struct {
		ID string `json:"id"`
	}
	if c.Fate == journal.Acked && json.Unmarshal(c.Reply.Body, &h) == nil {
		w.holds = append(w.holds, held{h.ID, a, n})
	}
	return alive
}

// endHold captures a hold, a part of it, or voids it. What comes of it may be unknown, and then this client
// leaves the hold alone.
func (w *worker) endHold(ctx context.Context) bool {
	if len(w.holds) == 0 {
		return w.hold(ctx)
	}
	i := w.random.IntN(len(w.holds))
	h := w.holds[i]
	w.holds[i] = w.holds[len(w.holds)-1]
	w.holds = w.holds[:len(w.holds)-1]
	if w.random.IntN(3) == 0 {
		c := w.command(Void, "/v1/holds/"+h.id+"/void", "{}")
		c.Account, c.Release = h.account.ID, h.remaining
		return w.send(ctx, c)
	}
	n := 1 + w.random.Int64N(h.remaining)
	final := w.random.IntN(2) == 0
	to := ""
	if other := w.account(); other != h.account {
		to = fmt.Sprintf(`"to_account_id":%q,`, other.ID)
	}
	c := w.command(Capture, "/v1/holds/"+h.id+"/captures", fmt.Sprintf(`{%s"amount":%s,"final":%t}`, to, money(n), final))
	c.Account, c.Release = h.account.ID, n
	if final {
		c.Release = h.remaining
	}
	alive := w.send(ctx, c)
	if rest := h.remaining - c.Release; c.Fate == journal.Acked && rest > 0 {
		w.holds = append(w.holds, held{h.id, h.account, rest})
	}
	return alive
}

// reverse gives some transfer of this client back, or tries to.
func (w *worker) reverse(ctx context.Context) bool {
	for range 10 {
		if len(w.mine) == 0 {
			break
		}
		of := w.mine[w.random.IntN(len(w.mine))]
		if of.Kind != Transfer || of.Fate != journal.Acked {
			continue
		}
		var t struct {
			ID string `json:"id"`
			To string `json:"to_account_id"`
		}
		if err := json.Unmarshal(of.Reply.Body, &t); err != nil {
			w.found("%s %s: %v", of.Kind, of.Key, err)
			return false
		}
		c := w.command(Reversal, "/v1/transactions/"+t.ID+"/reversals", `{"reason":"drill"}`)
		c.Account, c.Amount = t.To, of.Amount
		return w.send(ctx, c)
	}
	return w.send(ctx, w.transfer())
}

// repeat asks for something that is known: the answer must be the same, to the byte.
func (w *worker) repeat(ctx context.Context) bool {
	if len(w.mine) == 0 {
		return w.send(ctx, w.transfer())
	}
	c := w.mine[w.random.IntN(len(w.mine))]
	r, err := w.door(w.at).Post(context.WithoutCancel(ctx), c)
	if _, wrong := w.settle(c, &r, err); wrong != nil {
		w.found("%s %s: %v", c.Kind, c.Key, wrong)
	}
	return err == nil
}

// read looks at an account. What the bank says to be stale proves nothing.
func (w *worker) read(ctx context.Context) bool {
	a := w.account()
	call := w.Now()
	query, ordered := w.atLeast(a.ID)
	r, err := w.door(w.at).Get(context.WithoutCancel(ctx), "/v1/accounts/"+a.ID+query)
	if err != nil {
		return false
	}
	if r.Status == http.StatusServiceUnavailable || r.Header.Get("Bankforge-Stale") == "true" {
		return Rest(ctx, 5*time.Millisecond) == nil
	}
	var seen Seen
	if err := seen.Read(&r); err != nil {
		w.found("%v", err)
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told(a.ID, seen.Version, 0)
	if !ordered {
		return true
	}
	w.reads = append(w.reads, Read{a.ID, int64(seen.Balance.Minor), int64(seen.Held.Minor), call, w.Now()})
	return true
}

// Seen is an account as the bank shows it.
type Seen struct {
	ID      string `json:"id"`
	Version uint64 `json:"version"`
	Balance Money  `json:"balance"`
	Held    Money  `json:"held"`
	Stream  struct {
		Epoch  string `json:"epoch"`
		Offset uint64 `json:"offset"`
	} `json:"stream"`
}

// Read takes an answer in.
func (s *Seen) Read(r *Reply) error {
	if err := json.Unmarshal(r.Body, s); err != nil || r.Status != http.StatusOK {
		return fmt.Errorf("GET account: %d %s", r.Status, r.Body)
	}
	return nil
}
