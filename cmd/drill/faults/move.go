package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/process"
	"bankforge/cmd/drill/teller"
)

const (
	accounts = 64
	funds    = 1_000_000_000
	together = 50 // transfers in one command
	// A transfer is told as two messages of accounts and one of a transaction.
	messagesPerTransfer = 3
)

// policy has handlers try again soon, so that a run does not wait for hours.
const policy = `{"reason":"a drill","policy":{"again_ms":%s,
	"backoff":{"first_ms":2,"most_ms":20,"jitter_percent":50},"hold":{"first_ms":10,"most_ms":200,"jitter_percent":50}}}`

// setUp opens accounts that have money, and says how handlers treat failures.
func (b *bank) setUp(ctx context.Context) error {
	for range accounts {
		var opened struct {
			ID string `json:"id"`
		}
		if err := b.ask(ctx, "/v1/accounts", `{"currency":"EUR"}`, &opened); err != nil {
			return err
		}
		deposit := fmt.Sprintf(`{"account_id":%q,"amount":{"amount":"%d","currency":"EUR"}}`, opened.ID, funds)
		if err := b.ask(ctx, "/v1/deposits", deposit, &struct{}{}); err != nil {
			return err
		}
		b.accounts = append(b.accounts, opened.ID)
	}
	again := "[300,1000,3000]"
	if b.conf.Plant != "" {
		again = "[60000]" // it is about those who replay
	}
	body := fmt.Sprintf(policy, again)
	for name := range handlers {
		var reply teller.Reply
		path := "/ops/v1/handlers/" + name + "/policy"
		err := teller.Until(ctx, process.Patience, func() bool {
			var err error
			reply, err = b.handling()[0].client.Put(ctx, &teller.Command{Path: path, Body: body, Key: b.key()})
			return err == nil && reply.Status == http.StatusOK
		})
		if err != nil {
			return fmt.Errorf("%s: %w: %d %s", path, err, reply.Status, reply.Body)
		}
	}
	return nil
}

// ask sends a command again and again until it is done.
func (b *bank) ask(ctx context.Context, path, body string, into any) error {
	var reply teller.Reply
	m := &teller.Command{Path: path, Body: body, Key: b.key()}
	err := teller.Until(ctx, process.Patience, func() bool {
		var err error
		reply, err = b.members[0].client.Post(ctx, m)
		return err == nil && (reply.Status == http.StatusOK || reply.Status == http.StatusCreated)
	})
	if err != nil {
		return check.Wrong(fmt.Errorf("%s: %w: %d %s", path, err, reply.Status, reply.Body))
	}
	return json.Unmarshal(reply.Body, into)
}

// key is one that no other command has.
func (b *bank) key() string { return fmt.Sprintf("%016x-%016x", b.moves.Uint64(), b.moves.Uint64()) }

// pace is the pause between commands: there must be something to disturb.
const pace = 15 * time.Millisecond

// move has so many messages made at least.
func (b *bank) move(ctx context.Context, messages int) error {
	for left := messages; left > 0; {
		items := make([]string, together)
		for i := range items {
			items[i] = b.transfer()
		}
		var done struct {
			Succeeded int `json:"succeeded"`
		}
		body := `{"atomic":false,"items":[` + strings.Join(items, ",") + `]}`
		if err := b.ask(ctx, "/v1/transfers/bulk", body, &done); err != nil {
			return err
		}
		left -= messagesPerTransfer * done.Succeeded
		if err := teller.Rest(ctx, pace); err != nil {
			return err
		}
	}
	return nil
}

func (b *bank) transfer() string {
	from := b.moves.IntN(len(b.accounts))
	to := (from + 1 + b.moves.IntN(len(b.accounts)-1)) % len(b.accounts)
	return fmt.Sprintf(`{"from_account_id":%q,"to_account_id":%q,"amount":{"amount":"%d","currency":"EUR"}}`,
		b.accounts[from], b.accounts[to], 1+b.moves.IntN(100))
}
