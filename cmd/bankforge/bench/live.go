package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sync/errgroup"
)

// watchers are clients of live updates, each with one account, that note when they hear of which command.
type watchers struct {
	sent   []atomic.Int64 // when command number n was sent, in nanoseconds since began; 0: it was not
	began  time.Time
	frames atomic.Int64
	fault  atomic.Pointer[error]
	mu     sync.Mutex
	times  Histogram
	wake   chan struct{} // a frame has come; nobody has to look
	stop   context.CancelFunc
	gone   errgroup.Group
}

const (
	mark      = "bench-" // correlation ids of commands that are timed begin so
	frameSize = 1 << 20  // bytes of a WebSocket message at most
	quiet     = 10 * time.Second
)

var correlationOf = []byte(`"correlation_id":"` + mark)

// watch connects a client for each account. They are gone when the function close of watchers has been called.
func watch(ctx context.Context, b *server, accounts []string, commands int) (*watchers, error) {
	ctx, stop := context.WithCancel(ctx)
	w := &watchers{sent: make([]atomic.Int64, commands), began: time.Now(), wake: make(chan struct{}, 1), stop: stop}
	var dialling errgroup.Group
	dialling.SetLimit(openers)
	for _, account := range accounts {
		dialling.Go(func() error {
			socket, err := subscribe(ctx, b, account)
			if err != nil {
				return fmt.Errorf("live: %w", err)
			}
			w.gone.Go(func() error { w.listen(ctx, socket); return nil })
			return nil
		})
	}
	if err := dialling.Wait(); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// subscribe speaks the protocol up to where publications begin.
func subscribe(ctx context.Context, b *server, account string) (*websocket.Conn, error) {
	to, err := url.Parse(b.url)
	if err != nil {
		return nil, err
	}
	socket, _, err := websocket.Dial(ctx, "ws://"+to.Host+"/v1/live", nil) //nolint:bodyclose // the library has closed it
	if err != nil {
		return nil, err
	}
	socket.SetReadLimit(frameSize)
	for _, say := range []string{
		fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, b.reader),
		fmt.Sprintf(`{"id":2,"subscribe":{"channel":"account:%s"}}`, account),
	} {
		if err := socket.Write(ctx, websocket.MessageText, []byte(say)); err != nil {
			return nil, err
		}
		_, heard, err := socket.Read(ctx)
		if err != nil {
			return nil, err
		}
		var reply struct {
			ID    int             `json:"id"`
			Error json.RawMessage `json:"error"`
		}
		if err := json.Unmarshal(bytes.TrimSpace(heard), &reply); err != nil || reply.ID == 0 || reply.Error != nil {
			return nil, errors.Join(fmt.Errorf("%s was answered %s", say[:len(`{"id":1,"connect`)], heard), socket.CloseNow())
		}
	}
	return socket, nil
}

// listen takes frames until the socket ends.
func (w *watchers) listen(ctx context.Context, socket *websocket.Conn) {
	defer socket.CloseNow() //nolint:errcheck // nothing depends on it any more
	for {
		_, frame, err := socket.Read(ctx)
		at := time.Since(w.began)
		if err != nil {
			if ctx.Err() == nil {
				w.fault.CompareAndSwap(nil, &err)
			}
			return
		}
		if bytes.Equal(bytes.TrimSpace(frame), []byte("{}")) {
			if err := socket.Write(ctx, websocket.MessageText, []byte("{}")); err != nil {
				w.fault.CompareAndSwap(nil, &err)
				return
			}
		}
		w.note(frame, at)
	}
}

// note finds the commands that a frame tells of: a frame can hold several lines.
func (w *watchers) note(frame []byte, at time.Duration) {
	for {
		_, rest, found := bytes.Cut(frame, correlationOf)
		if !found {
			return
		}
		frame = rest
		number, _, _ := bytes.Cut(rest, []byte(`"`))
		n, err := strconv.Atoi(string(number))
		if err != nil || n < 0 || n >= len(w.sent) || w.sent[n].Load() == 0 {
			err := fmt.Errorf("a frame tells of a command that was not sent: %s", number)
			w.fault.CompareAndSwap(nil, &err)
			return
		}
		w.mu.Lock()
		w.times.Add(at - time.Duration(w.sent[n].Load()))
		w.mu.Unlock()
		w.frames.Add(1)
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// mark remembers when a command is sent, and gives it its correlation id. Those past the end are not timed.
func (w *watchers) mark(n uint64, at time.Time) string {
	if n >= uint64(len(w.sent)) {
		return ""
	}
	w.sent[n].Store(int64(at.Sub(w.began)))
	return mark + strconv.FormatUint(n, 10)
}

// await returns when so many frames have come, or when none came for a while; and the error that any client had.
func (w *watchers) await(ctx context.Context, frames int64) error {
	silence := time.NewTimer(quiet)
	defer silence.Stop()
	for w.frames.Load() < frames && w.fault.Load() == nil {
		select {
		case <-w.wake:
			silence.Reset(quiet)
		case <-silence.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := w.fault.Load(); err != nil {
		return fmt.Errorf("live: %w", *err)
	}
	return nil
}

// commands is how many were marked.
func (w *watchers) commands() (count int64) {
	for i := range w.sent {
		if w.sent[i].Load() != 0 {
			count++
		}
	}
	return count
}

func (w *watchers) close() {
	w.stop()
	_ = w.gone.Wait() // listeners report by fault
}

// live: from a command to the frame that tells of it, alone and with 1,000 clients at half load.
func (s *Suite) live(ctx context.Context) (_ values, err error) {
	b, accounts, err := s.fresh(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end(&err)
	alone, err := s.liveAlone(ctx, b, accounts)
	if err != nil {
		return nil, err
	}
	pace, err := s.pace(ctx, b, accounts)
	if err != nil {
		return nil, err
	}
	watched := accounts[:min(s.size.clients, len(accounts))]
	w, err := watch(ctx, b, watched, int(pace*s.size.reads.Seconds())+halfConnections)
	if err != nil {
		return nil, err
	}
	defer w.close()
	load := Load{Accounts: watched, Rate: pace, Duration: s.size.reads, Mark: w.mark}
	share, err := s.atHalf(ctx, "live", b, load, func(context.Context) error { return nil })
	if err != nil {
		return nil, err
	}
	want := 2 * w.commands() // one for each side
	if err := w.await(ctx, want); err != nil {
		return nil, err
	}
	half := ms(w.times.Quantile(0.99))
	return values{
		"alone": alone,
		"half-load": {half, fmt.Sprintf("%d clients, %s transfers/s, p50 %.2f ms", len(watched), show(pace, ""),
			ms(w.times.Quantile(0.5)))},
		"load": {share, ""},
		"lost": {float64(want - w.frames.Load()), fmt.Sprintf("%d came", w.frames.Load())},
	}, nil
}

// liveAlone sends one command at a time, each when the frame of the one before has come.
func (s *Suite) liveAlone(ctx context.Context, b *server, accounts []string) (value, error) {
	w, err := watch(ctx, b, accounts[:1], s.size.alone)
	if err != nil {
		return value{}, err
	}
	defer w.close()
	base, err := parseURL(b.url)
	if err != nil {
		return value{}, err
	}
	c, err := dial(ctx, base)
	if err != nil {
		return value{}, err
	}
	defer c.Close() //nolint:errcheck // all that was asked has been answered
	writer := newWriter(Hot, base, b.token, accounts[:2], nil)
	for n := range s.size.alone {
		r, err := c.ask(writer.next(w.mark(uint64(n), time.Now())))
		if err != nil {
			return value{}, err
		}
		if r.status != Hot.accepts() {
			return value{}, fmt.Errorf("live: %d: %s", r.status, strings.TrimSpace(c.body.String()))
		}
		if err := w.await(ctx, int64(n)+1); err != nil {
			return value{}, err
		}
		if w.frames.Load() != int64(n)+1 {
			return value{}, fmt.Errorf("live: the frame of command %d did not come", n)
		}
	}
	return value{ms(w.times.Quantile(0.5)), fmt.Sprintf("p99 %.2f ms", ms(w.times.Quantile(0.99)))}, nil
}
