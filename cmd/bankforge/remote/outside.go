package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bankforge/adapters/mongo"
	"bankforge/adapters/redis"
	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/cmd/bankforge/stores"
	"bankforge/handlers/projection"
	"bankforge/router"
	"bankforge/router/rebuild"
)

// Outside are views that stand elsewhere than in the store, which goes on keeping its own, to fall back to.
type Outside struct {
	Redis      string // URL; "": balances are read from the store
	Mongo      string // URL; "": history is read from the store
	Prefix     string // of the keys in Redis
	Partitions int    // of each topic; 1 where handlers follow the log itself
}

// startPatience is how long a server may take to answer that it is there.
const startPatience = 5 * time.Second

// Attach has the modules that run in this process keep and read their views outside.
func (o Outside) Attach(ctx context.Context, s *stores.Stores, p stores.Process) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	of := func(handler string) string { return handler }
	if o.Redis != "" && p.Runs("account-query") {
		balances, err := o.attachRedis(ctx, s, p)
		if err != nil {
			return fmt.Errorf("--redis: %w", err)
		}
		of = balances.Handler
	}
	if o.Mongo != "" && p.Runs("transaction-query") {
		kept, err := o.attachMongo(ctx, s, p)
		if err != nil {
			return fmt.Errorf("--mongo: %w", err)
		}
		balances := of
		of = func(handler string) string { return kept.Handler(balances(handler)) }
	}
	s.Progress = router.Renamed{Progress: s.Progress, Of: of}
	return nil
}

func (o Outside) attachRedis(ctx context.Context, s *stores.Stores, p stores.Process) (*redis.Balances, error) {
	db, err := redis.Open(o.Redis, o.Prefix)
	if err != nil {
		return nil, err
	}
	closing(s, func(context.Context) error { return db.Close() })
	if err := db.Ping(ctx); err != nil {
		return nil, err
	}
	view := redis.NewView(db)
	s.Writes.Reactions.RedisBalances, s.Writes.Stores.RedisBalances = projection.Balances(view), view
	s.Writes.Stores.Mend.RedisBalances = view.Mend
	balances := redis.NewBalances(db, s.Balances, s.Progress, reasons(p, "balances"))
	s.Balances = balances
	return balances, nil
}

func (o Outside) attachMongo(ctx context.Context, s *stores.Stores, p stores.Process) (*mongo.History, error) {
	db, err := mongo.Open(o.Mongo)
	if err != nil {
		return nil, err
	}
	closing(s, db.Close)
	if err := db.Ping(ctx); err != nil {
		return nil, err
	}
	view := mongo.NewView(db)
	s.Writes.MongoEntries, s.Writes.MongoTransactions = view.Entries(), view.Transactions()
	s.Writes.MongoHistory = view
	m := view.Mends()
	s.Writes.Stores.Mend.MongoEntries, s.Writes.Stores.Mend.MongoTransactions = m.MongoEntries, m.MongoTransactions
	kept := mongo.NewHistory(db, o.Partitions, s.History, s.Progress, reasons(p, "history"))
	s.History = kept
	return kept, nil
}

func reasons(p stores.Process, view string) func(string) {
	if p.FellBack == nil {
		return nil
	}
	return func(reason string) { p.FellBack(view, reason) }
}

// closing adds to what is closed at the end.
func closing(s *stores.Stores, end func(context.Context) error) {
	before := s.Close
	s.Close = func() error {
		ctx, cancel := context.WithTimeout(context.Background(), startPatience)
		defer cancel()
		return errors.Join(end(ctx), before())
	}
}

// OutsideNames are the views that can stand outside: those of their handlers.
func OutsideNames() []string {
	return []string{router.RedisBalancesHandler, router.MongoHistoryHandler, router.MongoTransactionsHandler}
}

// Names are those that the bank has.
func (o Outside) Names() (names []string) {
	all := OutsideNames()
	if o.Redis != "" {
		names = append(names, all[:1]...)
	}
	if o.Mongo != "" {
		names = append(names, all[1:]...)
	}
	return names
}

// open connects to where a view stands.
func (o Outside) open(name string) (v rebuild.View, end func(context.Context) error, err error) {
	if name == router.RedisBalancesHandler {
		db, err := redis.Open(o.Redis, o.Prefix)
		if err != nil {
			return nil, nil, fmt.Errorf("--redis: %w", err)
		}
		return redis.NewView(db), func(context.Context) error { return db.Close() }, nil
	}
	db, err := mongo.Open(o.Mongo)
	if err != nil {
		return nil, nil, fmt.Errorf("--mongo: %w", err)
	}
	return mongo.NewView(db), func(ctx context.Context) error { return db.Close(context.WithoutCancel(ctx)) }, nil
}

func (o Outside) config(name string, source router.Source, v rebuild.View) rebuild.Config {
	topic := bank.AccountsTopic
	if name == router.MongoTransactionsHandler {
		topic = bank.TransactionsTopic
	}
	return rebuild.Config{Source: source, Handler: name, Topic: topic, Partitions: o.Partitions, View: v}
}

// Checks compare the views that the bank has with the log. end is called when they are done.
func (o Outside) Checks(h stores.Handlers) (checks []app.ViewCheck, end func(context.Context) error, err error) {
	var ends []func(context.Context) error
	end = func(ctx context.Context) (err error) {
		for _, end := range ends {
			err = errors.Join(err, end(ctx))
		}
		return err
	}
	for _, name := range o.Names() {
		v, e, err := o.open(name)
		if err != nil {
			return nil, end, err
		}
		ends = append(ends, e)
		checks = append(checks, rebuild.NewCheck(h.Store, o.config(name, h.Source, v)))
	}
	return checks, end, nil
}

// Rebuild builds a view anew beside the one in use, compares, and switches.
func (o Outside) Rebuild(ctx context.Context, name string, h stores.Handlers) (r stores.Rebuilt, err error) {
	v, end, err := o.open(name)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, end(ctx)) }()
	done, err := rebuild.Run(ctx, o.config(name, h.Source, v), h.Store)
	if err != nil {
		return r, err
	}
	return stores.Rebuilt{
		Views: []string{name}, Through: done.Through, Parked: done.Parked, Differences: done.Differences,
		Omitted: done.Omitted,
	}, nil
}

// forget removes a view, which is then built anew from the log. Nobody may write to it meanwhile.
func (o Outside) forget(ctx context.Context, name string) error {
	v, end, err := o.open(name)
	if err != nil {
		return err
	}
	return errors.Join(v.Forget(ctx, name), end(ctx))
}
