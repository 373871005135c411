package websocket

import (
	"context"
	"fmt"
	"strings"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/push"
	"bankforge/router"
)

// Place is where the stream of a channel stands.
type Place struct {
	Epoch  string
	Offset uint64 // of the newest publication; 0: none yet
}

// History is what has been published on the channels that have one. It sees whatever the log has committed.
type History interface {
	Top(ctx context.Context, channel string) (Place, error)
	// Since returns the publications with offset > after, ascending and dense from after + 1, at most limit.
	Since(ctx context.Context, channel string, after uint64, limit int) ([]push.Publication, error)
}

// Log is what LogHistory reads.
type Log interface {
	Head(ctx context.Context) (app.Head, error)
	Latest(ctx context.Context, subjects []string) (map[string]app.Row, error)
	Versions(ctx context.Context, subject string, after bank.Version, limit int) ([]app.Row, error)
}

// Decode reads a row of the log.
type Decode func(app.Row) (app.Recorded, error)

// LogHistory makes the log the history of the channels of accounts and transactions.
type LogHistory struct {
	log    Log
	decode Decode
}

// NewLogHistory reads log.
func NewLogHistory(log Log, decode Decode) *LogHistory { return &LogHistory{log, decode} }

// Top is the newest version of the channel's subject.
func (h *LogHistory) Top(ctx context.Context, channel string) (Place, error) {
	subject := subjectOf(channel)
	head, err := h.log.Head(ctx)
	if err != nil {
		return Place{}, err
	}
	rows, err := h.log.Latest(ctx, []string{subject})
	if err != nil {
		return Place{}, err
	}
	row, ok := rows[subject]
	if !ok {
		return Place{Epoch: head.Incarnation}, nil
	}
	f, err := h.fact(row, subject)
	if err != nil {
		return Place{}, err
	}
	return Place{Epoch: head.Incarnation, Offset: uint64(f.Version())}, nil
}

// Since makes publications of the subject's versions, as push made them when they happened.
func (h *LogHistory) Since(ctx context.Context, channel string, after uint64, limit int) ([]push.Publication, error) {
	subject := subjectOf(channel)
	rows, err := h.log.Versions(ctx, subject, bank.Version(after), limit)
	if err != nil {
		return nil, err
	}
	out := make([]push.Publication, len(rows))
	for i, row := range rows {
		f, err := h.fact(row, subject)
		if err != nil {
			return nil, err
		}
		if want := after + 1 + uint64(i); uint64(f.Version()) != want {
			return nil, fmt.Errorf("the log has version %d of %s where %d belongs", f.Version(), subject, want)
		}
		out[i] = push.Encode(&f)
	}
	return out, nil
}

func (h *LogHistory) fact(row app.Row, subject string) (handlers.Fact, error) {
	r, err := h.decode(row)
	if err != nil {
		return handlers.Fact{}, err
	}
	for _, c := range r.Changes() {
		if c.Key() == subject {
			return router.FactOf(c, &r.Meta, ""), nil // whoever recovers has been told the epoch
		}
	}
	return handlers.Fact{}, fmt.Errorf("event %d says nothing of %s", row.Seq, subject)
}

func subjectOf(channel string) string {
	_, subject, _ := strings.Cut(channel, ":")
	return subject
}

// hasHistory reports whether a client of the channel has a place in a stream, and can recover.
func hasHistory(channel string) bool {
	return strings.HasPrefix(channel, push.AccountPrefix) || strings.HasPrefix(channel, push.TransactionPrefix)
}
