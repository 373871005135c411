package bench

import (
	"bufio"
	"bytes"
	"context"
	crand "crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
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

// Kind is what a load consists of.
type Kind string

// The kinds of load.
const (
	Transfers Kind = "transfers" // between two accounts at random
	Hot       Kind = "hot"       // to and from the first account
	Bulk      Kind = "bulk"      // many transfers in one request
	Reads     Kind = "reads"     // of one account, chosen at random
)

const (
	bulkItems  = 1000 // transfers in one bulk
	bulkBodies = 16   // different bodies that a load sends in turn: making them costs the client too much
)

// writer makes the requests of one connection. It is not for concurrent use.
type writer struct {
	kind     Kind
	head     []byte // up to the key, or all but the path of a read
	accounts []string
	random   *rand.Rand
	bulks    [][]byte
	buf      bytes.Buffer
}

func newWriter(kind Kind, base *url.URL, token string, accounts []string, bulks [][]byte) *writer {
	w := &writer{kind: kind, accounts: accounts, bulks: bulks, random: newRandom()}
	common := "Host: " + base.Host + "\r\nAuthorization: Bearer " + token + "\r\n"
	switch kind {
	case Reads:
		w.head = []byte(" HTTP/1.1\r\n" + common + "\r\n")
	case Bulk:
		w.head = []byte(post("/v1/transfers/bulk", common))
	case Transfers, Hot:
		w.head = []byte(post("/v1/transfers", common))
	}
	return w
}

func post(path, common string) string {
	return "POST " + path + " HTTP/1.1\r\n" + common + "Content-Type: application/json\r\nIdempotency-Key: "
}

// next is one more request; it is good until the one after it. A correlation id is sent if it is not empty.
func (w *writer) next(correlation string) []byte {
	w.buf.Reset()
	switch w.kind {
	case Reads:
		w.buf.WriteString("GET /v1/accounts/")
		w.buf.WriteString(w.accounts[w.random.IntN(len(w.accounts))])
		w.buf.Write(w.head)
	case Bulk:
		w.command(correlation, w.bulks[w.random.IntN(len(w.bulks))])
	case Transfers, Hot:
		from, to := pick(w.random, w.accounts, w.kind)
		w.command(correlation, transfer(from, to))
	}
	return w.buf.Bytes()
}

func (w *writer) command(correlation string, body []byte) {
	w.buf.Write(w.head)
	w.buf.Write(w.key())
	if correlation != "" {
		w.buf.WriteString("\r\nX-Correlation-Id: ")
		w.buf.WriteString(correlation)
	}
	w.buf.WriteString("\r\nContent-Length: ")
	w.buf.WriteString(strconv.Itoa(len(body)))
	w.buf.WriteString("\r\n\r\n")
	w.buf.Write(body)
}

// key is a random UUID of version 4, as clients send them.
func (w *writer) key() []byte {
	var id [16]byte
	for i := range 2 {
		v := w.random.Uint64()
		for j := range 8 {
			id[8*i+j] = byte(v >> (8 * j))
		}
	}
	return uuid(id)
}

func uuid(id [16]byte) []byte {
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	h := hex.AppendEncode(make([]byte, 0, 36), id[:4])
	for _, part := range [][]byte{id[4:6], id[6:8], id[8:10], id[10:]} {
		h = hex.AppendEncode(append(h, '-'), part)
	}
	return h
}

// pick chooses two different accounts. Where one of them is hot it is the first, on either side.
func pick(random *rand.Rand, accounts []string, kind Kind) (from, to string) {
	a := 0
	if kind != Hot {
		a = random.IntN(len(accounts))
	}
	b := random.IntN(len(accounts) - 1)
	if b >= a {
		b++
	}
	if kind == Hot && random.IntN(2) == 0 {
		a, b = b, a
	}
	return accounts[a], accounts[b]
}

func transfer(from, to string) []byte {
	const form = `{"from_account_id":%q,"to_account_id":%q,"amount":{"amount":"1","currency":"EUR"}}`
	return fmt.Appendf(nil, form, from, to)
}

// bulks are bodies of bulks between accounts at random.
func bulks(accounts []string) [][]byte {
	random := newRandom()
	out := make([][]byte, bulkBodies)
	for i := range out {
		items := make([][]byte, bulkItems)
		for j := range items {
			items[j] = transfer(pick(random, accounts, Transfers))
		}
		out[i] = fmt.Appendf(nil, `{"items":[%s]}`, bytes.Join(items, []byte(",")))
	}
	return out
}

// newRandom is a source of its own, which repeats nothing.
func newRandom() *rand.Rand {
	var seed [32]byte
	_, _ = crand.Read(seed[:])             // never fails, it says
	return rand.New(rand.NewChaCha8(seed)) //nolint:gosec // seeded as well as can be
}

// accepts is the status of an answer that did what was asked.
func (k Kind) accepts() int {
	if k == Bulk || k == Reads {
		return http.StatusOK
	}
	return http.StatusCreated
}
