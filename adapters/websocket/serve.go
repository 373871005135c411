package websocket

import (
	"bufio"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"bankforge/app"
	"bankforge/app/bank"
)

// Serve takes a request to open a socket, and answers it. An error, which is a *bank.Error, means that it was
// not taken, and that the caller has to answer.
func (h *Hub) Serve(w http.ResponseWriter, r *http.Request) error {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return bank.Refuse("invalid_request", "", "This is the door for WebSockets: ask with Upgrade: websocket.")
	}
	if !h.originAllowed(r) {
		return bank.Refuse("forbidden", "", "Pages from this origin may not open live connections.")
	}
	if !h.enter() {
		return errFull()
	}
	taken := &counted{ResponseWriter: w, hub: h}
	h.socket.ServeHTTP(taken, plain(r))
	if !taken.hijacked {
		h.leave()
	}
	return nil
}

// enter counts a connection in; false: there are as many as may be, or the hub is closing.
func (h *Hub) enter() bool {
	select {
	case <-h.closing:
		return false
	default:
	}
	if h.open.Add(1) > int64(h.conf.MaxConnections) {
		h.open.Add(-1)
		return false
	}
	return true
}

func (h *Hub) leave() { h.open.Add(-1) }

func errFull() error {
	return bank.Refuse(app.CodeOverloaded, "", "There are as many live connections as this server takes.")
}

// plain leaves only the JSON form of the protocol: the library would change to others at the client's wish.
func plain(r *http.Request) *http.Request {
	p := r.Clone(r.Context())
	p.URL.RawQuery = ""
	p.Header.Del("Sec-Websocket-Protocol")
	if strings.Contains(strings.Join(r.Header.Values("Sec-Websocket-Protocol"), ","), jsonProtocol) {
		p.Header.Set("Sec-Websocket-Protocol", jsonProtocol)
	}
	return p
}

const jsonProtocol = "centrifuge-json"

// originAllowed lets pages in that come from the same host or from one of the configured origins. What is
// not a browser sends no origin.
func (h *Hub) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	if slices.Contains(h.conf.Origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// counted sees the socket leave the HTTP server, so that the hub knows how many there are, and can hang up.
type counted struct {
	http.ResponseWriter
	hub      *Hub
	hijacked bool
}

// Hijack hands over the connection.
func (c *counted) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(c.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	c.hijacked = true
	s := &socket{Conn: conn, hub: c.hub}
	c.hub.mu.Lock()
	c.hub.sockets[conn] = struct{}{}
	c.hub.mu.Unlock()
	return s, rw, nil
}

// socket counts itself out when it is closed.
type socket struct {
	net.Conn
	hub  *Hub
	once sync.Once
}

// Close hangs up.
func (s *socket) Close() error {
	s.once.Do(func() {
		s.hub.mu.Lock()
		delete(s.hub.sockets, s.Conn)
		s.hub.mu.Unlock()
		s.hub.leave()
	})
	return s.Conn.Close()
}
