package postgres

import (
	"context"
	"errors"
	"net"

	"github.com/jackc/pgx/v5/pgconn"

	"bankforge/handlers"
)

// Classify says what is to become of errors of PostgreSQL: what lost a race is tried again; a server that is not there,
// is full, or does not let us in is waited for.
func Classify(err error) (c handlers.Class, ok bool) {
	var refused *pgconn.PgError
	switch {
	case err == nil:
		return handlers.Unknown, false
	case errors.As(err, &refused):
		return classOf(refused)
	case connectionLost(err):
		return handlers.Unavailable, true
	default:
		return handlers.Unknown, false
	}
}

func classOf(e *pgconn.PgError) (c handlers.Class, ok bool) {
	switch {
	case hasCode(e, "40", "55P03", "57014", "25P03", "25P04"):
		// transaction_rollback (serialization, deadlocks), lock_not_available, query_canceled, timeouts of sessions
		return handlers.Transient, true
	case hasCode(e, "08", "53", "57", "58", "28", "3D", "25006", "XX001", "XX002"), e.SeverityUnlocalized != "ERROR":
		// connections, resources, operators, system errors, passwords, the database, a standby that only reads, damage
		return handlers.Unavailable, true
	default:
		return handlers.Unknown, false
	}
}

// connectionLost is about errors that the server has not written itself. What ended because its context did, says nothing
// of the server.
func connectionLost(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err)
}
