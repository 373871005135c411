package remote

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"bankforge/adapters/postgres"
	"bankforge/cmd/bankforge/stores"
)

// readsKafka is what processes reserve that read from Kafka, or write to it, as long as they run.
const readsKafka = "readers of Kafka"

// stayEvery is how often they reserve it again: PostgreSQL forgets it when it is started again, or when the connection
// is lost.
const stayEvery = 5 * time.Second

// joinReaders lets nobody change the number of partitions while this process runs, and makes sure that it has the right
// one.
func (b Bank) joinReaders(ctx context.Context, s *stores.Stores, db *postgres.DB, log *slog.Logger) error {
	leave, err := b.join(ctx, db)
	if err != nil {
		return fmt.Errorf("--partitions: the number is being changed, or PostgreSQL does not answer: %w", err)
	}
	end := b.stay(ctx, db, leave, stayEvery, log)
	closing(s, func(context.Context) error {
		end()
		return nil
	})
	return b.agrees(ctx, db)
}

func (b Bank) join(ctx context.Context, db *postgres.DB) (leave func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	return postgres.NewHandlerStore(db.Derived()).Reserve(ctx, readsKafka, true)
}

// agrees refuses another number of partitions than the recorded one.
func (b Bank) agrees(ctx context.Context, db *postgres.DB) error {
	was, err := postgres.NewRelayStore(db).Cursor(ctx)
	if err != nil {
		return err
	}
	return b.recorded(was)
}

// stay reserves again and again, each time before it lets go of what it has, until end is called. What it does is only
// logged when it fails: who changed the number meanwhile was told to stop all processes.
func (b Bank) stay(
	ctx context.Context, db *postgres.DB, leave func(), every time.Duration, log *slog.Logger,
) (end func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var staying sync.WaitGroup
	staying.Go(func() {
		defer func() { leave() }()
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			next, err := b.join(ctx, db)
			if err == nil {
				leave()
				leave = next
				err = b.agrees(ctx, db)
			}
			if err != nil && ctx.Err() == nil {
				log.ErrorContext(ctx, "it is not sure that the number of partitions stays", "error", err)
			}
		}
	})
	return func() {
		cancel()
		staying.Wait()
	}
}
