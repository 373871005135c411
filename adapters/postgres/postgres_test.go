package postgres

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"

	"bankforge/app/apptest/servers"
)

// openDB makes schemas of its own for a test.
func openDB(tb testing.TB) *DB {
	tb.Helper()
	return openOnly(tb, "")
}

// openOnly makes one of the schemas.
func openOnly(tb testing.TB, schema string) *DB {
	tb.Helper()
	return openAs(tb, Options{Prefix: servers.Name() + "_", MaxConns: 4, only: schema})
}

func openAs(tb testing.TB, o Options) *DB {
	tb.Helper()
	db, err := Open(tb.Context(), servers.Postgres(tb), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Drop(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return db
}

// A server that could lose what it has acknowledged, or that cannot hold it, is refused with what to do.
func TestOpenRefusesAServerThatIsNotAsSafeAsItMustBe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ version, commit, encoding, fsync, pages, want string }{
		"none":               {"150018", "on", "UTF8", "on", "on", ""},
		"synchronous":        {"150018", "remote_apply", "UTF8", "on", "on", ""},
		"not flushed":        {"150018", "off", "UTF8", "on", "on", "synchronous_commit is off"},
		"only on this host":  {"150018", "local", "UTF8", "on", "on", "synchronous_commit is local"},
		"not on the disk":    {"150018", "remote_write", "UTF8", "on", "on", "synchronous_commit is remote_write"},
		"an old one":         {"130004", "on", "UTF8", "on", "on", "version 13.4; 14 or later"},
		"another encoding":   {"150018", "on", "LATIN1", "on", "on", "encoding is LATIN1"},
		"without fsync":      {"150018", "on", "UTF8", "off", "on", "fsync is off"},
		"without full pages": {"150018", "on", "UTF8", "on", "off", "full_page_writes is off"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := refusal(c.version, c.commit, c.encoding, c.fsync, c.pages)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want %q", err, c.want)
			}
		})
	}
}

// What somebody has set for the role counts, as it is that of every connection.
func TestOpenAsksTheServerHowItCommits(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(servers.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("synchronous_commit", "off")
	u.RawQuery = q.Encode()
	db, err := Open(t.Context(), u.String(), Options{Prefix: servers.Name() + "_"})
	if err == nil {
		t.Error("it is open")
		if err := db.Drop(t.Context()); err != nil {
			t.Error(err)
		}
		return
	}
	if !strings.Contains(err.Error(), "synchronous_commit is off") || !strings.Contains(err.Error(), u.Host) {
		t.Errorf("it says: %v", err)
	}
	if password, ok := u.User.Password(); ok && strings.Contains(err.Error(), ":"+password+"@") {
		t.Errorf("it tells the password: %v", err)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	at := servers.Postgres(t)
	for name, c := range map[string]struct {
		url  string
		o    Options
		want string
	}{
		"no URL":        {"postgres://[", Options{}, "URL of PostgreSQL"},
		"nobody there":  {"postgres://nobody@127.0.0.1:1/nothing", Options{}, "127.0.0.1:1/nothing"},
		"a bad prefix":  {at, Options{Prefix: "a; DROP"}, "prefix"},
		"nothing there": {at, Options{Prefix: servers.Name() + "_", Existing: true}, "it is not there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := Open(t.Context(), c.url, c.o)
			if err == nil {
				db.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want %q", err, c.want)
			}
		})
	}
}

// Several processes may start at once on a new database.
func TestManyOpenANewDatabase(t *testing.T) {
	t.Parallel()
	at, o := servers.Postgres(t), Options{Prefix: servers.Name() + "_", MaxConns: 2}
	const processes = 4
	opened, errs := make([]*DB, processes), make([]error, processes)
	var wg sync.WaitGroup
	for i := range processes {
		wg.Go(func() { opened[i], errs[i] = Open(t.Context(), at, o) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	for i, db := range opened {
		if db == nil {
			continue
		}
		if i > 0 {
			db.Close()
		} else if err := db.Drop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// The settings that the promises stand on are those of the connections in use.
func TestTheLogIsWrittenDurably(t *testing.T) {
	t.Parallel()
	db := openDB(t)
	for name, c := range map[string]struct {
		pool querier
		want string
	}{
		"log": {db.writers, "on"}, "state": {db.state.pool, "on"}, "views": {db.views.pool, "off"},
	} {
		var is string
		if err := c.pool.QueryRow(t.Context(), `SHOW synchronous_commit`).Scan(&is); err != nil || is != c.want {
			t.Errorf("%s: %q, %v", name, is, err)
		}
	}
}
