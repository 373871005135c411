// Package forward carries commands from a process that does not own the ledger to the one that does: one hop, as they
// came, with the caller's own token, which the owner checks.
package forward

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
)

// Owners knows who owns the ledger.
type Owners interface {
	// Owner is where the owner is reached; here: it is this process. An empty address: nobody owns the ledger now. over is
	// closed when another one is the owner.
	Owner() (address string, here bool, over <-chan struct{})
}

// Headers between processes; callers never see them.
const (
	Hop = "Bankforge-Hop" // on what was forwarded: it goes no further
	Seq = "Bankforge-Seq" // on its answer: the last event that the caller has been told of
)

// Limits.
const (
	dialTimeout = 2 * time.Second
	patience    = 30 * time.Second // until the whole answer is there
	idleTimeout = 60 * time.Second // below the owner's own, so that it is seldom the owner who hangs up
	maxIdle     = 512              // connections
	maxConns    = 1024             // connections; more commands wait for one
	maxReply    = 16 << 20         // bytes
	maxHeader   = 64 << 10         // bytes of a reply's header
)

// Forward sends commands to the owner of the ledger. It is safe for concurrent use.
type Forward struct {
	Owners

	transport http.Transport
}

// New makes a Forward. roots sign the certificates of other processes; nil: those that the system trusts.
func New(o Owners, roots *x509.CertPool) *Forward {
	dialer := net.Dialer{Timeout: dialTimeout}
	return &Forward{Owners: o, transport: http.Transport{
		DialContext:         dialer.DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: dialTimeout, DisableCompression: true,
		MaxIdleConns: maxIdle, MaxIdleConnsPerHost: maxIdle, MaxConnsPerHost: maxConns, IdleConnTimeout: idleTimeout,
		MaxResponseHeaderBytes: maxHeader,
	}}
}

// Close ends idle connections.
func (f *Forward) Close() { f.transport.CloseIdleConnections() }

// Command is what is forwarded.
type Command struct {
	Method string
	URI    string // path and query, as the caller wrote them
	Header http.Header
	Body   []byte
	Dry    bool // it changes nothing, whatever becomes of it
}

// Reply is what the owner has answered, whole.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
	Seq    bank.Seq // the last event that it tells of; 0: none
}

// carried are the headers of a request that mean something to the owner.
var carried = []string{
	"Accept", "Authorization", "Content-Encoding", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match",
	"Prefer", "Traceparent", "Tracestate", "X-Correlation-Id",
}

// own are the headers of a reply that are about the connection, or between processes.
var own = []string{"Connection", "Content-Length", "Date", "Keep-Alive", "Transfer-Encoding", Seq}

// Send sends a command to the owner, and returns the answer. A refusal is an answer. An error is a *bank.Error:
// CodeUnavailable when the command has not reached anybody, and CodeOutcomeUnknown when it was sent and the answer is
// lost: the command may have been done. When the owner is another one, it waits no longer for the old one.
func (f *Forward) Send(ctx context.Context, c Command) (Reply, error) {
	address, here, over := f.Owner()
	if here || address == "" {
		return Reply{}, Nobody() // also when it has just become this one
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-over:
			cancel()
		case <-done:
		}
	}()
	var connected, sent atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      func(httptrace.GotConnInfo) { connected.Store(true) },
		WroteHeaders: func() { sent.Store(true) },
	})
	r, err := http.NewRequestWithContext(traced, c.Method, address+c.URI, bytes.NewReader(c.Body))
	if err != nil {
		return Reply{}, lost(false, err)
	}
	for _, name := range carried {
		if values := c.Header.Values(name); len(values) > 0 {
			r.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	r.Header.Set(Hop, "1")
	r.Header.Set("User-Agent", "bankforge")
	reply, err := f.ask(r)
	if err != nil {
		// Who loses patience while it is being written cannot know what of it was.
		return Reply{}, lost(!c.Dry && (sent.Load() || connected.Load() && ctx.Err() != nil), err)
	}
	return reply, nil
}

func (f *Forward) ask(r *http.Request) (reply Reply, err error) {
	answer, err := f.transport.RoundTrip(r)
	if err != nil {
		return reply, err
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	reply = Reply{Status: answer.StatusCode, Header: answer.Header}
	if reply.Body, err = io.ReadAll(io.LimitReader(answer.Body, maxReply+1)); err != nil {
		return reply, err
	}
	if len(reply.Body) > maxReply {
		return reply, fmt.Errorf("the owner's answer has more than %d bytes", maxReply)
	}
	if seq := answer.Header.Get(Seq); seq != "" {
		n, err := strconv.ParseUint(seq, 10, 64)
		if err != nil {
			return reply, fmt.Errorf("the owner's answer: %w", err)
		}
		reply.Seq = bank.Seq(n)
	}
	for _, name := range own {
		answer.Header.Del(name)
	}
	return reply, nil
}

// lost says what is known of a command without an answer.
func lost(sent bool, cause error) error {
	e := bank.Refuse(app.CodeUnavailable, "", "The owner of the ledger cannot be reached; nothing was done.")
	if sent {
		e = bank.Refuse(app.CodeOutcomeUnknown, "", "The owner of the ledger has got the command, and its answer was lost. "+
			"Ask again with the same key.")
	}
	e.Cause = cause
	return e
}

// Nobody is the refusal of a command while nobody owns the ledger.
func Nobody() error {
	return bank.Refuse(app.CodeUnavailable, "", "Nobody owns the ledger at the moment; nothing was done.")
}
