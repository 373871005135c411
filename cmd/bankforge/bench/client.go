package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
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
