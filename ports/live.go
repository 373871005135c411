package ports

import (
	"context"
	"net/http"
	"time"

	"bankforge/app"
)

// LiveHub is where live updates come from.
type LiveHub interface {
	// Serve opens a socket. An error means that it has not, and that nothing has been answered.
	Serve(w http.ResponseWriter, r *http.Request) error
	// Follow calls send with each publication of the channel whose offset is above after (nil: above the newest), in
	// order, without gaps or duplicates; and with nil once it has begun, and whenever nothing has happened for
	// beat. It returns when ctx ends, when send fails, when the subject loses its rights, and when the hub shuts down.
	Follow(ctx context.Context, subject, channel string, after *uint64, beat time.Duration,
		send func(offset uint64, data []byte) error) error
}

// LiveAccess knows who may watch what.
type LiveAccess interface {
	// MaySubscribe says no to channels that do not exist just as to those of others.
	MaySubscribe(ctx context.Context, p app.Principal, channel string) (bool, error)
}

// Live is what the doors of live updates need.
type Live struct {
	Hub     LiveHub
	Access  LiveAccess
	Tickets *Tickets
}

// LiveTicket answers POST /v1/live/tickets.
type LiveTicket struct {
	Ticket    string `json:"ticket" doc:"Connect with it as token, once."`
	ExpiresAt string `json:"expires_at" format:"date-time"`
}
