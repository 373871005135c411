package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"bankforge/app"
	"bankforge/cmd/bankforge/embedded"
	"bankforge/cmd/bankforge/remote"
	"bankforge/cmd/bankforge/stores"
	"bankforge/ports"
)

// Where says what a bank is kept in. All processes and commands of one bank are told the same.
type Where struct {
	Data     string   `help:"Directory of what is kept in files." default:"./data" placeholder:"DIR"`
	Store    string   `help:"Where the log is: ${enum}." enum:"sqlite,postgres" default:"sqlite"`
	Postgres string   `help:"PostgreSQL, for --store postgres." placeholder:"URL"`
	Broker   string   `help:"What carries messages: ${enum} (log: the log itself)." enum:"log,kafka" default:"log"`
	Kafka    []string `help:"Brokers of Kafka, for --broker kafka." placeholder:"HOST:PORT,…"`
	Balances string   `help:"Where balances are read: ${enum}." enum:"store,redis" default:"store"`
	Redis    string   `help:"Redis, for --balances redis." placeholder:"URL"`
	History  string   `help:"Where history is read: ${enum}." enum:"store,mongo" default:"store"`
	Mongo    string   `help:"MongoDB with the name of a database, for --history mongo." placeholder:"URL"`

	Prefix        string `help:"Before the names of schemas, topics, groups and keys: several banks on the same servers."`
	Partitions    int    `help:"Partitions of each topic; they stay as they are when the bank begins." default:"16"`
	PostgresConns int    `help:"Connections to PostgreSQL for the readers of each schema." default:"8"`
	MasterKeyFile string `help:"32 random bytes that the keys of a shared bank are wrapped with." placeholder:"FILE"`
}

// Limits of partitions: Kafka has more, but each costs memory and connections.
const (
	maxPartitions = 1024
	maxConns      = 1000
)

// validate checks what kong cannot, before anything is opened.
func (w *Where) validate() error {
	for _, part := range []struct {
		chosen bool
		what   string
		needs  string
		given  bool
	}{
		{w.Store == "postgres", "--store postgres", "--postgres", w.Postgres != ""},
		{w.Broker == "kafka", "--broker kafka", "--kafka", len(w.Kafka) > 0},
		{w.Broker == "kafka", "--broker kafka", "--store postgres", w.Store == "postgres"},
		{w.Balances == "redis", "--balances redis", "--redis", w.Redis != ""},
		{w.History == "mongo", "--history mongo", "--mongo", w.Mongo != ""},
	} {
		if part.chosen && !part.given {
			return fmt.Errorf("%s needs %s", part.what, part.needs)
		}
	}
	if w.PostgresConns < 1 || w.PostgresConns > maxConns {
		return fmt.Errorf("--postgres-conns %d is not from 1 to %d", w.PostgresConns, maxConns)
	}
	if w.Partitions < 1 || w.Partitions > maxPartitions {
		return fmt.Errorf("--partitions %d is not from 1 to %d", w.Partitions, maxPartitions)
	}
	return nil
}

// keeper is what knows the stores that were chosen.
func (w *Where) keeper() attached {
	outside := remote.Outside{Prefix: w.Prefix, Partitions: 1}
	if w.Balances == "redis" {
		outside.Redis = w.Redis
	}
	if w.History == "mongo" {
		outside.Mongo = w.Mongo
	}
	if w.Store != "postgres" {
		return attached{embedded.Bank{Dir: w.Data}, outside}
	}
	bank := remote.Bank{
		Postgres: w.Postgres, Prefix: w.Prefix, Conns: w.PostgresConns, Data: w.Data, KeyFile: w.MasterKeyFile,
	}
	if w.Broker == "kafka" {
		bank.Kafka = remote.Kafka{Brokers: w.Kafka, Partitions: w.Partitions}
		outside.Partitions = w.Partitions
	}
	return attached{bank, outside}
}

// attached is a bank with views outside of its store.
type attached struct {
	keeper
	outside remote.Outside
}

// Open opens the bank, and the views outside.
func (a attached) Open(ctx context.Context, p stores.Process) (*stores.Stores, error) {
	s, err := a.keeper.Open(ctx, p)
	if err != nil {
		return nil, err
	}
	if err := a.outside.Attach(ctx, s, p); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Rebuild builds views anew, those outside as well.
func (a attached) Rebuild(ctx context.Context, view string) (r stores.Rebuilt, err error) {
	outside := a.outside.Names()
	switch {
	case view == "all":
		if r, err = a.keeper.Rebuild(ctx, view); err != nil {
			return stores.Rebuilt{}, err
		}
	case slices.Contains(outside, view):
		outside = []string{view}
	case slices.Contains(remote.OutsideNames(), view):
		return r, fmt.Errorf("%s is a view outside of the store: see --balances redis and --history mongo", view)
	default:
		return a.keeper.Rebuild(ctx, view)
	}
	if len(outside) == 0 {
		return r, nil
	}
	err = a.keeper.WithHandlers(ctx, func(ctx context.Context, h stores.Handlers) error {
		for _, name := range outside {
			done, err := a.outside.Rebuild(ctx, name, h)
			if err != nil {
				return err
			}
			r = r.And(done)
		}
		return nil
	})
	return r, err
}

// Repartition changes the number of partitions, with all that is counted in it. It is asked for with the topics.
func (a attached) Repartition(ctx context.Context, view string) (r stores.Rebuilt, err error) {
	bank, shared := a.keeper.(remote.Bank)
	if !shared || view != remote.Topics {
		return r, errors.New("--repartition is for the topics of --broker kafka")
	}
	return bank.Repartition(ctx, a.outside)
}

// Verify checks the bank, and the views outside.
func (a attached) Verify(ctx context.Context) (report app.VerifyReport, noViews bool, err error) {
	end := func(context.Context) error { return nil }
	report, noViews, err = a.keeper.Verify(ctx, func(h stores.Handlers) (checks []app.ViewCheck, err error) {
		checks, end, err = a.outside.Checks(h)
		return checks, err
	})
	return report, noViews, errors.Join(err, end(ctx))
}

// keeper opens what a bank is kept in.
type keeper interface {
	// Open opens everything that serving needs, and makes what is missing.
	Open(ctx context.Context, p stores.Process) (*stores.Stores, error)
	// TokenKey is the key that signs tokens; it is made when there is none.
	TokenKey(ctx context.Context) (ports.TokenKey, error)
	// Migrate brings all tables up to date, and says where they are.
	Migrate(ctx context.Context) (where string, err error)
	examiner
}

// examiner works on a bank that may be in use.
type examiner interface {
	// Verify checks everything, also beside running processes; with what outside says, also views that stand elsewhere.
	// noViews: there are none yet.
	Verify(
		ctx context.Context, outside func(stores.Handlers) ([]app.ViewCheck, error),
	) (report app.VerifyReport, noViews bool, err error)
	// Rebuild builds a view anew, or all of them. With an error, it says which ones were done before.
	Rebuild(ctx context.Context, view string) (stores.Rebuilt, error)
	// WithHandlers gives fn where the handlers stand. What is in files must be served by nobody.
	WithHandlers(ctx context.Context, fn func(ctx context.Context, h stores.Handlers) error) error
}

// onlyEmbedded refuses what is done with the files of the data directory where the bank is not in them.
func (w *Where) onlyEmbedded(what string) error {
	if w.Store != "sqlite" {
		return fmt.Errorf("%s is for --store sqlite; PostgreSQL has tools of its own", what)
	}
	return nil
}
