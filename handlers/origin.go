package handlers

import (
	"context"
	"strconv"
)

// Origin says of what is going on where it comes from. It goes onto everything that a handler logs, publishes
// or commands.
type Origin struct {
	CorrelationID string
	CausationID   string // the id of the message being handled
	TraceParent   string // W3C trace context
}

type originKey struct{}

// WithOrigin puts o into the context.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// OriginOf is what WithOrigin put there. It is set while one fact is handled by itself; of
// facts that are handled together each says its own.
func OriginOf(ctx context.Context) Origin {
	o, _ := ctx.Value(originKey{}).(Origin)
	return o
}

// ID names the fact for ever: it is the id of its message, and what it causes names it as the cause.
func (f *Fact) ID() string { return string(f.AppendID(make([]byte, 0, 64))) }

// AppendID appends the ID.
func (f *Fact) AppendID(to []byte) []byte {
	to = strconv.AppendUint(append(append(to, f.Incarnation...), '-'), uint64(f.Seq), 10)
	return strconv.AppendInt(append(to, '-'), int64(f.N), 10)
}

// Origin is where the consequences of the fact come from.
func (f *Fact) Origin() Origin {
	return Origin{CorrelationID: f.CorrelationID, CausationID: f.ID(), TraceParent: f.TraceParent}
}
