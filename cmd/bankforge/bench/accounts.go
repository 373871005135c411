package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"golang.org/x/sync/errgroup"
)

const (
	openers = 32              // connections that open accounts
	funds   = "1000000000000" // minor units that each account starts with: no load can use them up
)

// OpenAccounts opens count accounts and puts money into each.
func OpenAccounts(ctx context.Context, server, token string, count int) ([]string, error) {
	base, err := parseURL(server)
	if err != nil {
		return nil, fmt.Errorf("--url: %w", err)
	}
	accounts := make([]string, count)
	work, ctx := errgroup.WithContext(ctx)
	for first := range min(openers, count) {
		work.Go(func() error {
			c, err := dial(ctx, base)
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // all that was asked has been answered
			for i := first; i < count && ctx.Err() == nil; i += openers {
				if accounts[i], err = c.openAccount(base, token); err != nil {
					return fmt.Errorf("open accounts: %w", err)
				}
			}
			return ctx.Err()
		})
	}
	return accounts, work.Wait()
}

// openAccount opens one and puts money into it.
func (c *conn) openAccount(base *url.URL, token string) (string, error) {
	id, err := c.create(base, token, "/v1/accounts", `{"currency":"EUR"}`)
	if err == nil {
		_, err = c.create(base, token, "/v1/deposits",
			fmt.Sprintf(`{"account_id":%q,"amount":{"amount":%q,"currency":"EUR"}}`, id, funds))
	}
	return id, err
}

// create posts a command, and returns the id of what it made.
func (c *conn) create(base *url.URL, token, path, body string) (string, error) {
	w := newWriter(Transfers, base, token, nil, nil)
	w.head = []byte(post(path, "Host: "+base.Host+"\r\nAuthorization: Bearer "+token+"\r\n"))
	w.command("", []byte(body))
	r, err := c.ask(w.buf.Bytes())
	if err != nil {
		return "", err
	}
	if r.status != http.StatusCreated {
		return "", fmt.Errorf("POST %s: %d: %s", path, r.status, c.body.Bytes())
	}
	var made struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(c.body.Bytes(), &made); err != nil {
		return "", fmt.Errorf("POST %s: %w", path, err)
	}
	return made.ID, nil
}
