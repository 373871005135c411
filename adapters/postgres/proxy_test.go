package postgres

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"bankforge/app/apptest/servers"
)

// cut says at which moment the proxy breaks a connection.
type cut int

const (
	beforeRequest cut = iota // the server never hears of it
	withinRequest            // the server gets half of it
	beforeReply              // the server has answered, and the client never hears it
)

// proxy stands between a client and the server, and cuts connections where it is told to.
type proxy struct {
	listener net.Listener
	server   string
	all      sync.WaitGroup

	mu    sync.Mutex
	armed func(request []byte) bool // nil: nothing is cut
	at    cut
	cuts  int
	open  map[net.Conn]bool
}

// throughProxy opens db anew with a proxy in between.
func throughProxy(t *testing.T, db *DB) (*DB, *proxy) {
	t.Helper()
	u, err := url.Parse(servers.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{server: u.Host, open: map[net.Conn]bool{}}
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	p.all.Go(p.accept)
	t.Cleanup(p.close)
	u.Host = p.listener.Addr().String()
	q := u.Query()
	q.Set("sslmode", "disable") // it reads along
	u.RawQuery = q.Encode()
	prefix := db.ledger.name[:len(db.ledger.name)-len(ledgerSchema)]
	behind, err := Open(t.Context(), u.String(), Options{Prefix: prefix, Existing: true, only: ledgerSchema})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(behind.Close)
	return behind, p
}

// arm has the next request for which it is true cut.
func (p *proxy) arm(at cut, request func([]byte) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed, p.at = request, at
}

func (p *proxy) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

// triggers says whether the request is to be cut; only one is.
func (p *proxy) triggers(request []byte) (cut, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.armed == nil || !p.armed(request) {
		return 0, false
	}
	p.armed = nil
	p.cuts++
	return p.at, true
}

// appending is the message that has an append executed.
func appending(request []byte) bool {
	return binding(request) && bytes.Contains(request, []byte("\x00append\x00"))
}

// binding is the first message of any execution.
func binding(request []byte) bool { return len(request) > 0 && request[0] == 'B' }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.keep(client, server)
		c := &connection{proxy: p, client: client, server: server, deaf: make(chan struct{})}
		p.all.Go(c.requests)
		p.all.Go(c.replies)
	}
}

func (p *proxy) keep(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.open[c] = true
	}
}

func (p *proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for c := range p.open {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.all.Wait()
}

type connection struct {
	*proxy
	client, server net.Conn
	deaf           chan struct{} // closed: what the server says next is not passed on
}

func (c *connection) requests() {
	defer c.server.Close()
	buf := make([]byte, 1<<20)
	for {
		n, err := c.client.Read(buf)
		if at, hit := c.triggers(buf[:n]); hit {
			switch at {
			case beforeRequest:
				_ = c.client.Close()
				return
			case withinRequest:
				_, _ = c.server.Write(buf[:n/2])
				_ = c.client.Close()
				return
			case beforeReply:
				close(c.deaf)
			}
		}
		if _, failed := c.server.Write(buf[:n]); err != nil || failed != nil {
			return
		}
	}
}

func (c *connection) replies() {
	defer c.client.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := c.server.Read(buf)
		select {
		case <-c.deaf:
			return // and so it was carried out, and the client hears nothing
		default:
		}
		if _, failed := c.client.Write(buf[:n]); failed != nil || errors.Is(err, io.EOF) || err != nil {
			return
		}
	}
}
