package redis

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"bankforge/adapters/failover"
	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/router"
)

// Balances answers from Redis what a single account is, and from the store all lists, and what Redis cannot tell.
// It is safe for concurrent use.
type Balances struct {
	app.Balances // the store
	db           *DB
	view         *failover.View
}

// NewBalances reads what the handler router.RedisBalancesHandler keeps in db. progress knows how far it and
// app.BalancesHandler are, which keeps the store's view; fellBack is told why a read went to the store, and may be nil.
func NewBalances(db *DB, store app.Balances, progress app.Progress, fellBack func(reason string)) *Balances {
	return &Balances{store, db, failover.New(failover.Config{
		Fast: router.RedisBalancesHandler, Slow: app.BalancesHandler, Progress: progress,
		Timeout: db.within, FellBack: fellBack,
	})}
}

// Handler is the handler that keeps what Account shows now: the one in Redis, or the store's. It is what
// router.Renamed asks.
func (b *Balances) Handler(handler string) string {
	if handler == app.BalancesHandler {
		return b.view.Handler()
	}
	return handler
}

type found struct {
	bank.Account
	ok bool
}

// Account implements app.Balances.
func (b *Balances) Account(ctx context.Context, id bank.AccountID) (bank.Account, bool, error) {
	store := func(ctx context.Context) (f found, err error) {
		f.Account, f.ok, err = b.Balances.Account(ctx, id)
		return f, err
	}
	f, err := failover.Read(ctx, b.view, func(ctx context.Context) (found, error) {
		a, err := b.look(ctx, id)
		if !errors.Is(err, redis.Nil) {
			return found{a, err == nil}, err
		}
		// Most often there is no such account. If there is, Redis has lost it.
		f, err := store(ctx)
		if err == nil && f.ok {
			err = failover.ErrMissing
		}
		return f, err
	}, store)
	return f.Account, f.ok, err
}

// look is redis.Nil when Redis has no such account.
func (b *Balances) look(ctx context.Context, id bank.AccountID) (bank.Account, error) {
	marks := marksPart(router.Stream{Handler: router.RedisBalancesHandler, Topic: bank.AccountsTopic})
	reply, err := look.Run(ctx, b.db.read, []string{b.db.inUse()}, b.db.prefix, accountPart+id.String(), marks).Result()
	if err != nil {
		return bank.Account{}, err
	}
	fields, ok := reply.([]any)
	if !ok || len(fields) != 3 {
		return bank.Account{}, failover.ErrIncomplete
	}
	a, err := readAccount(fields)
	if err != nil {
		return bank.Account{}, fmt.Errorf("read %s: %w", id, err)
	}
	return a, nil
}
