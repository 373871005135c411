package sqlite

import (
	"errors"

	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"bankforge/handlers"
)

// Classify says what is to become of errors of SQLite: what was interrupted is tried again, and a full or broken disk
// is waited for. So is a locked file: each try has waited already, and whoever has it says nothing about the message.
func Classify(err error) (c handlers.Class, ok bool) {
	var e *driver.Error
	if !errors.As(err, &e) {
		return handlers.Unknown, false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_INTERRUPT:
		return handlers.Transient, true
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED,
		sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY,
		sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH:
		return handlers.Unavailable, true
	default:
		return handlers.Unknown, false
	}
}
