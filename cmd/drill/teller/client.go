// Package teller is the client of a drill: it moves money as many clients at once would, and remembers in a journal
// what it wanted and what it was told.
package teller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"bankforge/cmd/drill/journal"
)

// Client speaks to one bank.
type Client struct {
	URL   string
	Token string
	// Shows is where a path is read; nil: where commands go, too.
	Shows func(path string) (url string)
	http  *http.Client
}

// patience is how long an answer may take.
const patience = 20 * time.Second

// NewClient speaks to the bank at the URL, as the bearer of token.
func NewClient(url, token string) *Client {
	return &Client{url, token, nil, &http.Client{
		Timeout:   patience,
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute},
	}}
}

// Close gives up connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Reply is an answer, read to its end.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// Get asks for something.
func (c *Client) Get(ctx context.Context, path string) (Reply, error) {
	return c.do(ctx, http.MethodGet, &Command{Path: path})
}

// GetInto asks for something, and reads it as JSON.
func (c *Client) GetInto(ctx context.Context, path string, into any) error {
	r, err := c.Get(ctx, path)
	if err != nil {
		return err
	}
	if r.Status != http.StatusOK {
		return fmt.Errorf("GET %s: %d %s", path, r.Status, r.Body)
	}
	return json.Unmarshal(r.Body, into)
}

// Post sends a command. Its key is its correlation id as well, so that the log tells whose events are whose.
func (c *Client) Post(ctx context.Context, m *Command) (Reply, error) {
	return c.do(ctx, http.MethodPost, m)
}

// Put replaces something.
func (c *Client) Put(ctx context.Context, m *Command) (Reply, error) {
	return c.do(ctx, http.MethodPut, m)
}

func (c *Client) do(ctx context.Context, method string, m *Command) (Reply, error) {
	url := c.URL
	if method == http.MethodGet && c.Shows != nil {
		url = c.Shows(m.Path)
	}
	req, err := http.NewRequestWithContext(ctx, method, url+m.Path, strings.NewReader(m.Body))
	if err != nil {
		return Reply{}, err
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	if m.Key != "" {
		req.Header.Set("Idempotency-Key", m.Key)
		req.Header.Set("X-Correlation-Id", m.Key)
	}
	if m.Body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if m.Prefer != "" {
		req.Header.Set("Prefer", m.Prefer)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Reply{}, err
	}
	b, err := io.ReadAll(resp.Body)
	return Reply{resp.StatusCode, resp.Header, b}, errors.Join(err, resp.Body.Close())
}

// Problem is a refusal, as far as a client looks at it.
type Problem struct {
	Code   string `json:"code"`
	Status int    `json:"status"`
}

// fate is what an answer says about a command. An error means that the bank may not answer so.
func fate(r *Reply, err error) (journal.Fate, error) {
	if err != nil {
		return journal.Unknown, nil //nolint:nilerr // nobody knows, and that is an answer
	}
	if r.Status == http.StatusOK || r.Status == http.StatusCreated {
		return journal.Acked, nil
	}
	var p Problem
	if err := json.Unmarshal(r.Body, &p); err != nil || p.Status != r.Status || p.Code == "" {
		return journal.Unknown, fmt.Errorf("%d without a problem: %s", r.Status, r.Body)
	}
	switch {
	case r.Status == http.StatusConflict || r.Status == http.StatusUnprocessableEntity:
		if p.Code == "idempotency_key_reused" {
			return journal.Unknown, fmt.Errorf("a key is taken that nobody has used: %s", r.Body)
		}
		return journal.Rejected, nil
	case r.Status != http.StatusServiceUnavailable:
		return journal.Unknown, fmt.Errorf("unexpected: %d %s", r.Status, r.Body)
	case r.Header.Get("Retry-After") == "":
		return journal.Unknown, fmt.Errorf("503 without Retry-After: %s", r.Body)
	case p.Code == "unavailable" || p.Code == "overloaded":
		return journal.NotDone, nil
	case p.Code == "outcome_unknown":
		return journal.Unknown, nil
	}
	return journal.Unknown, fmt.Errorf("503 of an unknown kind: %s", r.Body)
}
