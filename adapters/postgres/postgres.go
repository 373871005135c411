// Package postgres keeps a bank that several processes share in three schemas of one database: ledger (the log),
// state (what cannot be rebuilt) and views (what can).
package postgres

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Options say how a database is used. The zero Options are for a bank that has it for itself.
type Options struct {
	// Prefix stands before the names of the schemas, so that several banks, or tests, share a database. It has lower-case
	// letters, digits and underscores, and at most 40 of them.
	Prefix string
	// MaxConns is how many connections the readers of each schema take at most; 0: 8. The writers of the log have four
	// more, and the decider has two.
	MaxConns int
	// Existing refuses a database without the tables, or with tables of another version, instead of making them.
	Existing bool
	// ConnectWithin is how long a new connection may take; 0: 5 s.
	ConnectWithin time.Duration

	only string // of the schemas, when others are not needed: tests make many
}

// DB is an open database. It is safe for concurrent use.
type DB struct {
	ledger, state, views *Schema
	writers, decider     *pgxpool.Pool // of the ledger, so that no number of readers holds them up
}

const (
	ledgerSchema = "ledger"
	stateSchema  = "state"
	viewsSchema  = "views"
)

// settings are of every connection: they do not depend on what somebody has set for the database or the role.
func settings() map[string]string {
	return map[string]string{
		"default_transaction_isolation": "read committed",
		"client_encoding":               "UTF8",
		"DateStyle":                     "ISO",
		// Plans that look expensive are compiled, which takes longer than what they do.
		"jit": "off",
		// A process that is stopped in the middle of a transaction must not hold its locks for ever.
		"idle_in_transaction_session_timeout": "60s",
	}
}

// byIndex are settings for tables of which every question is answered by an index: without statistics, as in a new
// bank, PostgreSQL takes one that reads everything, and plans each question anew.
func byIndex() map[string]string {
	s := settings()
	for _, other := range []string{"enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin"} {
		s[other] = "off"
	}
	s["plan_cache_mode"] = "force_generic_plan"
	return s
}

// rebuildable are settings for what is derived: a crash of the server may lose the last moment of it, checkpoints
// included, and it is read from the log again. The log is never written with them.
func rebuildable() map[string]string {
	s := settings()
	// Lists are read in the order of an index, however few rows the server expects: it knows little of new tables.
	s["enable_seqscan"], s["enable_bitmapscan"], s["enable_sort"] = "off", "off", "off"
	s["synchronous_commit"] = "off"
	return s
}

// durable are settings for what cannot be rebuilt, beside the log.
func durable() map[string]string {
	s := settings()
	s["enable_seqscan"] = "off"
	return s
}

var goodPrefix = regexp.MustCompile(`^[a-z0-9_]{0,40}$`)

// Open opens the database at url, makes what is missing and brings its tables up to date. It refuses a server that
// could lose what it has acknowledged.
func Open(ctx context.Context, url string, o Options) (_ *DB, err error) {
	if !goodPrefix.MatchString(o.Prefix) {
		return nil, fmt.Errorf("the prefix %q is not of lower-case letters, digits and underscores, 40 at most", o.Prefix)
	}
	if o.MaxConns <= 0 {
		o.MaxConns = 8
	}
	if o.ConnectWithin <= 0 {
		o.ConnectWithin = 5 * time.Second
	}
	d := &DB{}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	for _, s := range []struct {
		to   **Schema
		name string
		with map[string]string
	}{
		{&d.ledger, ledgerSchema, byIndex()}, {&d.state, stateSchema, durable()}, {&d.views, viewsSchema, rebuildable()},
	} {
		pool, err := o.pool(ctx, url, o.Prefix+s.name, s.with, o.MaxConns)
		if err != nil {
			return nil, err
		}
		*s.to = &Schema{name: o.Prefix + s.name, kind: s.name, pool: pool}
	}
	if d.writers, err = o.pool(ctx, url, d.ledger.name, byIndex(), 4); err != nil {
		return nil, err
	}
	if d.decider, err = o.pool(ctx, url, d.ledger.name, byIndex(), 2); err != nil {
		return nil, err
	}
	if err := d.ready(ctx, o); err != nil {
		return nil, fmt.Errorf("open PostgreSQL at %s: %w", address(d.writers), err)
	}
	return d, nil
}

// address is what may be said of a URL: no password.
func address(p *pgxpool.Pool) string {
	c := p.Config().ConnConfig
	return fmt.Sprintf("%s:%d/%s", c.Host, c.Port, c.Database)
}

func (o *Options) pool(
	ctx context.Context, url, schema string, with map[string]string, conns int,
) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("the URL of PostgreSQL: %w", err)
	}
	with["search_path"] = schema
	with["application_name"] = "bankforge " + schema
	maps.Copy(c.ConnConfig.RuntimeParams, with)
	c.ConnConfig.ConnectTimeout = o.ConnectWithin
	c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	c.MaxConns, c.MinConns = int32(conns), 0
	p, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL: %w", err)
	}
	return p, nil
}

// ready checks the server and makes the tables.
func (d *DB) ready(ctx context.Context, o Options) error {
	if err := d.writers.Ping(ctx); err != nil {
		return err
	}
	if err := checkServer(ctx, d.writers); err != nil {
		return err
	}
	for _, s := range []*Schema{d.ledger, d.state, d.views} {
		if o.only != "" && o.only != s.kind {
			continue
		}
		if err := s.migrate(ctx, o.Existing); err != nil {
			return fmt.Errorf("schema %s: %w", s.name, err)
		}
	}
	return nil
}

// oldest is the first version of PostgreSQL that this was made for.
const oldest = 140000

// checkServer makes sure of what the promises stand on.
func checkServer(ctx context.Context, q querier) error {
	var version, commit, encoding, fsync, pages string
	err := q.QueryRow(ctx, `SELECT current_setting('server_version_num'), current_setting('synchronous_commit'),
		current_setting('server_encoding'), current_setting('fsync'), current_setting('full_page_writes')`).
		Scan(&version, &commit, &encoding, &fsync, &pages)
	if err != nil {
		return err
	}
	return refusal(version, commit, encoding, fsync, pages)
}

// refusal says why a server with these settings is not good enough.
func refusal(version, commit, encoding, fsync, pages string) error {
	n, err := strconv.Atoi(version)
	switch {
	case err != nil:
		return fmt.Errorf("its version is %q", version)
	case n < oldest:
		return fmt.Errorf("it is version %d.%d; %d or later is needed", n/10000, n%10000, oldest/10000)
	case commit != "on" && commit != "remote_apply":
		return fmt.Errorf("its synchronous_commit is %s, so that it could lose what it has acknowledged; set it to on "+
			"(ALTER DATABASE … SET synchronous_commit = on)", commit)
	case fsync != "on" || pages != "on":
		return fmt.Errorf("its fsync is %s and its full_page_writes is %s: a loss of power could destroy it; "+
			"both must be on", fsync, pages)
	case encoding != "UTF8":
		return fmt.Errorf("the database's encoding is %s; it must be UTF8", encoding)
	}
	return nil
}

// Ping asks the server whether it is there.
func (d *DB) Ping(ctx context.Context) error { return d.ledger.pool.Ping(ctx) }

// State is the schema of what cannot be rebuilt.
func (d *DB) State() *Schema { return d.state }

// Derived is the schema of what can be rebuilt: that of the views.
func (d *DB) Derived() *Schema { return d.views }

// Close ends all connections.
func (d *DB) Close() {
	for _, s := range []*Schema{d.ledger, d.state, d.views} {
		if s != nil {
			s.pool.Close()
		}
	}
	for _, p := range []*pgxpool.Pool{d.writers, d.decider} {
		if p != nil {
			p.Close()
		}
	}
}

// Drop removes the schemas with everything in them, and closes the database.
func (d *DB) Drop(ctx context.Context) error {
	defer d.Close()
	_, err := d.writers.Exec(ctx,
		"DROP SCHEMA IF EXISTS "+d.ledger.name+", "+d.state.name+", "+d.views.name+" CASCADE")
	return err
}
