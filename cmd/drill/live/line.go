package live

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

// line is a connection that can be slow, and be torn.
type line struct {
	net.Conn
	ctx  context.Context //nolint:containedctx // of the one who dialled; Read has none of its own
	slow atomic.Bool
}

func (l *line) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(4 << 10) // what the kernel takes for a slow client is little; best effort
	}
	l.Conn = conn
	return l, nil
}

// Read takes one byte a second, if it is slow.
func (l *line) Read(p []byte) (int, error) {
	if !l.slow.Load() || len(p) == 0 {
		return l.Conn.Read(p)
	}
	select {
	case <-time.After(time.Second):
	case <-l.ctx.Done():
		return 0, l.ctx.Err()
	}
	return l.Conn.Read(p[:1])
}

// tear hangs up in the middle of a frame: of 256 bytes that it announces, it sends three.
func (l *line) tear() error {
	frame := []byte{0x81, 0x80 | 126, 1, 0, 'm', 'a', 's', 'k', 'b', 'y', 'e'}
	if _, err := l.Conn.Write(frame); err != nil {
		return err
	}
	return l.Conn.Close()
}
