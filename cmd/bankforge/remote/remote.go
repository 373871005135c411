// Package remote keeps a bank on servers, which many processes share.
package remote

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"bankforge/adapters/postgres"
	"bankforge/adapters/postgres/broker"
	"bankforge/adapters/snapshots"
	"bankforge/app"
	"bankforge/cmd/bankforge/stores"
	"bankforge/handlers/history"
	"bankforge/handlers/projection"
	"bankforge/ports"
	"bankforge/router"
)

// Bank is one on servers.
type Bank struct {
	Postgres string // URL
	Prefix   string // of the names of its schemas
	Conns    int    // to PostgreSQL, for the readers of each schema
	Data     string // directory of what this process has for itself: snapshots, and the master key by default
	KeyFile  string // the master key; "": in Data
	Kafka    Kafka
}

// pingPatience is how long /readyz waits for PostgreSQL.
const pingPatience = time.Second

// open connects. existing: the tables must be there.
func (b Bank) open(ctx context.Context, existing bool) (*postgres.DB, error) {
	if err := os.MkdirAll(b.Data, 0o700); err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	db, err := postgres.Open(ctx, b.Postgres, postgres.Options{Prefix: b.Prefix, MaxConns: b.Conns, Existing: existing})
	if err != nil {
		return nil, fmt.Errorf("--postgres: %w", err)
	}
	return db, nil
}

// Open opens the bank, and makes what is missing.
func (b Bank) Open(ctx context.Context, p stores.Process) (s *stores.Stores, err error) {
	db, err := b.open(ctx, false)
	if err != nil {
		return nil, err
	}
	defer func() {
		switch {
		case err == nil:
		case s != nil:
			err = errors.Join(err, s.Close())
		default:
			db.Close()
		}
	}()
	secrets, err := b.secrets(ctx, db)
	if err != nil {
		return nil, err
	}
	log, views := db.Log(postgres.LogConfig{Lease: p.Lease, Address: p.Address}), db.Views()
	kept := filepath.Join(b.Data, "snapshots", fileName(p.Address))
	if err := os.MkdirAll(kept, 0o700); err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	parked := postgres.NewHandlerStore(db.Derived())
	s = &stores.Stores{
		Log: log, Deciding: log.ForDecider(), Lookup: log, Following: log, Lease: log,
		Snapshots: snapshots.New(kept, p.Log),
		Balances:  views, History: views, Progress: p.Progress, Writes: stores.Writes{
			Reactions: router.Reactions{
				Balances: projection.Balances(views), Entries: history.Entries(views), Transactions: history.Transactions(views),
			},
			Stores: router.Stores{Views: parked, Forget: views.Forgets()}, Operations: parked,
		},
		Customers: db.Customers(), MasterKey: secrets.customers, TokenKey: secrets.tokens,
		Classify: []router.Classifier{postgres.Classify},
		Names: stores.Names{
			Where: "--postgres", Log: "PostgreSQL", Views: "the views", Anew: "bankforge rebuild all makes them anew",
		},
		Begin: func(ctx context.Context, head app.Head) error { return begin(ctx, db, head) },
		Ready: func() error { return ping(db) },
		Close: func() error { db.Close(); return nil },
	}
	if len(b.Kafka.Brokers) == 0 {
		s.Follow = broker.New(db.Ledger()).Follow
		return s, nil
	}
	return s, b.attachKafka(ctx, s, db, p)
}

// fileName is an address as a name in a directory: processes that share one keep their snapshots apart.
func fileName(address string) string {
	return "of-" + strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '-':
			return r
		}
		return '_'
	}, strings.TrimPrefix(strings.TrimPrefix(address, "https://"), "http://"))
}

// begin notes which log the state belongs to, and refuses another one.
func begin(ctx context.Context, db *postgres.DB, head app.Head) error {
	of, err := db.State().Settle(ctx, "incarnation", head.Incarnation)
	if err == nil && of != head.Incarnation {
		err = fmt.Errorf("--postgres: the state belongs to incarnation %s of the log, but the log is %s: put back the two "+
			"schemas that belong together", of, head.Incarnation)
	}
	return err
}

func ping(db *postgres.DB) error {
	ctx, cancel := context.WithTimeout(context.Background(), pingPatience)
	defer cancel()
	if err := db.Ping(ctx); err != nil {
		return fmt.Errorf("PostgreSQL does not answer: %w", err)
	}
	return nil
}

// TokenKey is the key that signs tokens, which all processes share. It is made when there is none.
func (b Bank) TokenKey(ctx context.Context) (ports.TokenKey, error) {
	db, err := b.open(ctx, false)
	if err != nil {
		return ports.TokenKey{}, err
	}
	defer db.Close()
	secrets, err := b.secrets(ctx, db)
	return secrets.tokens, err
}

// Migrate makes the tables, or brings them up to date.
func (b Bank) Migrate(ctx context.Context) (where string, err error) {
	db, err := b.open(ctx, false)
	if err != nil {
		return "", err
	}
	db.Close()
	return "PostgreSQL", nil
}

// Verify checks the bank, beside the processes that run; with what outside says, also views that stand elsewhere.
// noViews: nothing is in them yet.
func (b Bank) Verify(
	ctx context.Context, outside func(stores.Handlers) ([]app.ViewCheck, error),
) (report app.VerifyReport, noViews bool, err error) {
	db, err := b.open(ctx, true)
	if err != nil {
		return report, false, err
	}
	defer db.Close()
	log := db.Log(postgres.LogConfig{})
	at := handlersIn(db)
	more, err := outside(at)
	if err != nil {
		return report, false, err
	}
	check := postgres.NewViewsCheck(db, at.Source, b.partitions())
	report, err = app.Verify(ctx, log, append([]app.ViewCheck{check}, more...)...)
	return report, false, err
}

// Topics is what Rebuild calls the messages in Kafka.
const Topics = "topics"

// Rebuild builds views anew beside the old ones, compares, and switches; or it fills the topics anew. Processes of the
// bank may run meanwhile.
func (b Bank) Rebuild(ctx context.Context, view string) (r stores.Rebuilt, err error) {
	var names []string
	if view == Topics && len(b.Kafka.Brokers) == 0 {
		return r, errors.New("topics are for --broker kafka")
	}
	if view != Topics {
		if names, err = stores.Choose(view, postgres.ViewNames()); err != nil {
			return r, err
		}
	}
	db, err := b.open(ctx, true)
	if err != nil {
		return r, err
	}
	defer db.Close()
	if view == Topics {
		return b.fillTopics(ctx, db, false)
	}
	done, err := postgres.RebuildViews(ctx, db, handlersIn(db).Source, names, b.partitions())
	if err != nil {
		return r, err
	}
	return stores.Rebuilt{
		Views: names, Through: done.Through, Parked: done.Parked, Differences: done.Differences, Omitted: done.Omitted,
	}, nil
}

func handlersIn(db *postgres.DB) stores.Handlers {
	return stores.Handlers{
		Source: router.FromLog(db.Log(postgres.LogConfig{})), Store: postgres.NewHandlerStore(db.Derived()),
	}
}

// WithHandlers gives fn where the handlers stand. Processes of the bank may run meanwhile.
func (b Bank) WithHandlers(ctx context.Context, fn func(ctx context.Context, h stores.Handlers) error) error {
	db, err := b.open(ctx, true)
	if err != nil {
		return err
	}
	defer db.Close()
	return fn(ctx, handlersIn(db))
}

// Reincarnate begins a new incarnation of a log that was put back from a copy. No process may own the ledger.
func (b Bank) Reincarnate(ctx context.Context, owner string, at time.Time) (before, now app.Head, err error) {
	db, err := b.open(ctx, true)
	if err != nil {
		return before, now, err
	}
	defer db.Close()
	return db.Reincarnate(ctx, owner, at)
}
