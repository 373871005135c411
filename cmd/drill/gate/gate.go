// Package gate stands between a bank and its database, and has a connection break, or stand still, exactly where a
// commit passes.
package gate

import (
	"bytes"
	"context"
	"net"
	"sync"
)

// Moment is when a connection breaks.
type Moment int

// The moments.
const (
	Before Moment = iota // the database never hears of the commit
	Within               // it gets half of it
	After                // it has committed, and the bank never hears of it
	Moments
)

// String names it.
func (m Moment) String() string {
	return [...]string{"before", "within", "after"}[m]
}

// Gate passes connections on to a database.
type Gate struct {
	listener net.Listener
	server   string
	all      sync.WaitGroup

	mu    sync.Mutex
	order *order // for the next commit
	open  map[net.Conn]bool
}

// order is what becomes of a commit.
type order struct {
	at   Moment
	come chan struct{} // closed when it is there
	hold chan struct{} // nil: the connection breaks; else the commit waits until it is closed
}

// Open listens at a free port.
func Open(ctx context.Context, server string) (*Gate, error) {
	var conf net.ListenConfig
	l, err := conf.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &Gate{listener: l, server: server, open: map[net.Conn]bool{}}
	g.all.Go(g.accept)
	return g, nil
}

// Addr is where it listens.
func (g *Gate) Addr() string { return g.listener.Addr().String() }

// Cut has the connection of the next commit break at a moment. The channel is closed when it has come.
func (g *Gate) Cut(at Moment) <-chan struct{} {
	return g.give(&order{at: at, come: make(chan struct{})})
}

// Hold has the next commit wait on its way, until release is called, as a network may let a packet wait. The channel is
// closed when it has come.
func (g *Gate) Hold() (held <-chan struct{}, release func()) {
	o := &order{come: make(chan struct{}), hold: make(chan struct{})}
	return g.give(o), sync.OnceFunc(func() { close(o.hold) })
}

func (g *Gate) give(o *order) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.order = o
	return o.come
}

// Forget takes the last order back, if it has not been carried out.
func (g *Gate) Forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.order = nil
}

// take says what is to become of a request.
func (g *Gate) take(request []byte) *order {
	if !commits(request) {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.order
	if g.order = nil; o != nil {
		close(o.come)
	}
	return o
}

// commits recognises the message that has the prepared statement "append" executed: all of a commit is one of those.
func commits(request []byte) bool {
	begin := request[:min(len(request), 64)]
	return len(begin) > 0 && begin[0] == 'B' && bytes.Contains(begin, []byte("\x00append\x00"))
}

func (g *Gate) accept() {
	for {
		client, err := g.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", g.server) //nolint:noctx // Close ends it
		if err != nil {
			_ = client.Close() // as the server does
			continue
		}
		if !g.keep(client, server) {
			return
		}
		c := &connection{g, client, server, make(chan struct{})}
		g.all.Go(c.requests)
		g.all.Go(c.replies)
	}
}

// keep has Close end connections; false: it has been called.
func (g *Gate) keep(conns ...net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range conns {
		if g.open == nil {
			_ = c.Close()
			continue
		}
		g.open[c] = true
	}
	return g.open != nil
}

func (g *Gate) ended(c net.Conn) {
	_ = c.Close() // it may have ended by itself
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.open, c)
}

// Close breaks all connections. What is held must have been released.
func (g *Gate) Close() error {
	err := g.listener.Close()
	g.mu.Lock()
	open := g.open
	g.open = nil
	g.mu.Unlock()
	for c := range open {
		_ = c.Close()
	}
	g.all.Wait()
	return err
}

type connection struct {
	*Gate

	client, server net.Conn
	deaf           chan struct{} // closed: what the server says next is not passed on
}

func (c *connection) requests() {
	defer c.ended(c.server)
	buf := make([]byte, 1<<20)
	for {
		n, err := c.client.Read(buf)
		o := c.take(buf[:n])
		switch {
		case o == nil:
		case o.hold != nil:
			<-o.hold
		case o.at == Before:
			_ = c.client.Close()
			return
		case o.at == Within:
			_, _ = c.server.Write(buf[:n/2])
			_ = c.client.Close()
			return
		default:
			close(c.deaf)
		}
		if _, failed := c.server.Write(buf[:n]); err != nil || failed != nil {
			return
		}
	}
}

func (c *connection) replies() {
	defer c.ended(c.client)
	buf := make([]byte, 1<<16)
	for {
		n, err := c.server.Read(buf)
		select {
		case <-c.deaf:
			return // and so it was carried out, and the bank hears nothing
		default:
		}
		if _, failed := c.client.Write(buf[:n]); err != nil || failed != nil {
			return
		}
	}
}
