// Package websocket carries live updates to clients: over WebSockets in Centrifugo's protocol, and to
// whoever follows a channel within the process (the event streams of ports).
//
// The library's usual broker keeps its own streams. Ours has none: the offset of a publication is the
// version of the account or transaction that it tells of, the history is the log, the epoch is the log's
// incarnation. So a duplicate is dropped, a gap is noticed, and whoever reconnects, to any
// process, gets exactly the versions that it misses.
package websocket

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/centrifugal/centrifuge"
	"github.com/prometheus/client_golang/prometheus"

	"bankforge/app"
	"bankforge/handlers/push"
)

// Authenticator knows tokens.
type Authenticator interface {
	// Authenticate says whose token it is: a bearer token, or a ticket, which it uses up. A token that is good for
	// nothing is refused with a *bank.Error; any other error means that it could not be found out.
	Authenticate(ctx context.Context, token string) (app.Principal, error)
}

// Access knows who may watch what.
type Access interface {
	// MaySubscribe says no to channels that do not exist just as to those of others. An error means
	// that it could not be found out.
	MaySubscribe(ctx context.Context, p app.Principal, channel string) (bool, error)
}

// Config is what a Hub needs. Limits that are zero take the default in their comment.
type Config struct {
	Authenticator Authenticator
	Access        Access
	History       History
	Log           *slog.Logger

	Origins        []string      // of pages that may connect beside those from the same host: "https://bank.example"
	MaxConnections int           // sockets and followers together: 10,000
	MaxChannels    int           // of one socket: 100
	MaxMessage     int           // bytes of one frame from a client: 65,536
	MaxQueue       int           // bytes that wait for one client before it is too slow: 4 MiB
	MaxMissed      int           // publications that one recovery brings; beyond it the client reloads: 1,000
	Ping           time.Duration // between pings: 25 s
	Pong           time.Duration // for the answer, less than Ping: 10 s
	WriteTimeout   time.Duration // for one frame: 5 s
	ConnectTimeout time.Duration // from opening the socket to the connect command: 10 s
}

func (c Config) withDefaults() Config {
	or := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	orTime := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	or(&c.MaxConnections, 10_000)
	or(&c.MaxChannels, 100)
	or(&c.MaxMessage, 64<<10)
	or(&c.MaxQueue, 4<<20)
	or(&c.MaxMissed, 1_000)
	orTime(&c.Ping, 25*time.Second)
	orTime(&c.Pong, 10*time.Second)
	orTime(&c.WriteTimeout, 5*time.Second)
	orTime(&c.ConnectTimeout, 10*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Hub is where all clients of this process watch. It is safe for concurrent use.
type Hub struct {
	conf   Config
	node   *centrifuge.Node
	broker *broker
	socket *centrifuge.WebsocketHandler

	seed  maphash.Seed
	gates [256]sync.RWMutex // see gate

	open    atomic.Int64 // sockets and followers
	hinted  atomic.Int64 // when somebody last came to a channel without a history; 0: long ago, and all have gone
	closing chan struct{}
	once    sync.Once

	mu        sync.RWMutex
	sockets   map[net.Conn]struct{}
	followers map[string]map[*follower]struct{}
}

// New starts a hub. Shutdown ends it.
func New(c Config) (*Hub, error) {
	c = c.withDefaults()
	if c.Pong >= c.Ping {
		return nil, fmt.Errorf("live: %s to answer a ping is not less than %s between pings", c.Pong, c.Ping)
	}
	h := &Hub{
		conf: c, seed: maphash.MakeSeed(), closing: make(chan struct{}),
		sockets: map[net.Conn]struct{}{}, followers: map[string]map[*follower]struct{}{},
	}
	node, err := centrifuge.New(centrifuge.Config{
		Name:                        fmt.Sprintf("bankforge-%d", os.Getpid()),
		LogLevel:                    centrifuge.LogLevelWarn,
		LogHandler:                  h.logged,
		ClientStaleCloseDelay:       c.ConnectTimeout,
		ClientQueueMaxSize:          c.MaxQueue,
		ClientChannelLimit:          c.MaxChannels,
		ChannelMaxLength:            128,
		RecoveryMaxPublicationLimit: c.MaxMissed,
		Metrics:                     centrifuge.MetricsConfig{RegistererGatherer: prometheus.NewRegistry()},
	})
	if err != nil {
		return nil, fmt.Errorf("live: %w", err)
	}
	h.node, h.broker = node, &broker{history: c.History, limit: c.MaxMissed, patience: historyPatience}
	node.SetBroker(h.broker)
	node.OnConnecting(h.connecting)
	node.OnConnect(h.connected)
	h.socket = centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		CheckOrigin:      h.originAllowed,
		MessageSizeLimit: c.MaxMessage,
		WriteTimeout:     c.WriteTimeout,
		PingPongConfig:   centrifuge.PingPongConfig{PingInterval: c.Ping, PongTimeout: c.Pong},
	})
	if err := node.Run(); err != nil {
		return nil, fmt.Errorf("live: %w", err)
	}
	return h, nil
}

// Watched reports whether anybody here watches the channel.
func (h *Hub) Watched(channel string) bool {
	if h.node.Hub().NumSubscribers(channel) > 0 {
		return true
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.followers[channel]) > 0
}

// lately is how long somebody who has come to a channel is reckoned to be on the way there.
const lately = time.Minute

// Watching returns the channels without a history that sockets here watch and whose names begin so.
func (h *Hub) Watching(prefix string) (out []string) {
	last := h.hinted.Load()
	if last == 0 {
		return nil // without looking through the channels of accounts
	}
	for _, channel := range h.node.Hub().Channels() {
		if strings.HasPrefix(channel, prefix) && !hasHistory(channel) {
			out = append(out, channel)
		}
	}
	if len(out) == 0 && time.Since(time.Unix(0, last)) > lately {
		h.hinted.CompareAndSwap(last, 0)
	}
	return out
}

// Publish hands p to everybody here who watches its channel. Publications of one channel must come in the order of
// their offsets; the same one may come again, or late. Offset 0 is a hint, which has no place in a history.
func (h *Hub) Publish(p push.Publication) {
	gate := h.gate(p.Channel)
	gate.Lock()
	err := h.broker.hand(p)
	gate.Unlock()
	if err != nil {
		h.conf.Log.Error("live publication failed", "channel", p.Channel, "offset", p.Offset, "error", err)
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	for f := range h.followers[p.Channel] {
		f.offer(p)
	}
}

// gate keeps publishing to a channel apart from subscribing to it: publications hold it alone, subscribers
// share it while they read the history and take their place in the stream. Without it the library collects
// what is published meanwhile, and sends it along with what was recovered, also when push is behind the log and
// that is older than what the client already has: its balance would go back in time, or, when the two do not
// touch, the client would be thrown out for a gap that is none.
func (h *Hub) gate(channel string) *sync.RWMutex {
	return &h.gates[maphash.String(h.seed, channel)%uint64(len(h.gates))]
}

// Revoke ends every connection of the subject for good: its rights have been taken away.
func (h *Hub) Revoke(subject string) error {
	h.mu.RLock()
	for _, fs := range h.followers {
		for f := range fs {
			if f.subject == subject {
				f.end(errRevoked)
			}
		}
	}
	h.mu.RUnlock()
	return h.node.Disconnect(subject, centrifuge.WithCustomDisconnect(revoked()))
}

// Clients is how many sockets have connected and how many followers there are.
func (h *Hub) Clients() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	n := h.node.Hub().NumClients()
	for _, fs := range h.followers {
		n += len(fs)
	}
	return n
}

// Subscriptions is how many channels all sockets watch, counted once for each socket.
func (h *Hub) Subscriptions() int { return h.node.Hub().NumSubscriptions() }

// Shutdown tells every client to come back later, and waits until they have gone or ctx ends. Then it hangs up.
func (h *Hub) Shutdown(ctx context.Context) error {
	h.once.Do(func() { close(h.closing) })
	err := h.node.Shutdown(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.sockets {
		_ = c.Close() // hung up: nobody is left to tell
	}
	return err
}

// logged passes on what the library logs. Its fields may hold what clients sent, so only some are taken.
func (h *Hub) logged(e centrifuge.LogEntry) {
	level := slog.LevelWarn
	if e.Level >= centrifuge.LogLevelError {
		level = slog.LevelError
	}
	h.conf.Log.Log(context.Background(), level, "live connections", "what", e.Message,
		"client", e.Fields["client"], "channel", e.Fields["channel"], "error", e.Fields["error"])
}
