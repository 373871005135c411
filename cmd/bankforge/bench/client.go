package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"
)

// conn is one HTTP/1.1 connection on which one request at a time is under way. It costs the machine less than a
// http.Client, which matters where client and server share the same cores.
type conn struct {
	net.Conn
	in   *bufio.Reader
	body bytes.Buffer // of the last answer
}

// replyPatience is how long an answer may take before the connection counts as broken.
const replyPatience = 30 * time.Second

// dial connects to the server at base.
func dial(ctx context.Context, base *url.URL) (*conn, error) {
	var d net.Dialer
	host := base.Host
	if base.Port() == "" {
		host = net.JoinHostPort(base.Hostname(), base.Scheme)
	}
	raw, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	if base.Scheme == "https" {
		secure := tls.Client(raw, &tls.Config{ServerName: base.Hostname(), MinVersion: tls.VersionTLS12})
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, err
		}
		raw = secure
	}
	return &conn{Conn: raw, in: bufio.NewReaderSize(raw, 16<<10)}, nil
}

// reply is what a request was answered, but for the body.
type reply struct {
	status int
	header http.Header
	last   bool // the server closes the connection
}

// ask sends a request as it goes over the wire, and reads the answer. Its body is in c.body until the next one.
func (c *conn) ask(request []byte) (reply, error) {
	if err := c.SetDeadline(time.Now().Add(replyPatience)); err != nil {
		return reply{}, err
	}
	if _, err := c.Write(request); err != nil {
		return reply{}, err
	}
	r, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return reply{}, err
	}
	c.body.Reset()
	_, err = io.Copy(&c.body, r.Body)
	if e := r.Body.Close(); err == nil {
		err = e
	}
	return reply{r.StatusCode, r.Header, r.Close}, err
}

// parseURL takes only what a client can ask: http or https, and a host.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err == nil && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		err = fmt.Errorf("%q is not like http://127.0.0.1:8080", text)
	}
	return u, err
}

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
