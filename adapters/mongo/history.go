package mongo

import (
	"context"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"bankforge/adapters/failover"
	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/router"
)

// History answers from MongoDB. What it has read counts only if all marks say, afterwards, that the view is complete
// and that it is the one that was read: so a view that is lost is never taken for an empty one. It is safe for
// concurrent use.
type History struct {
	db         *DB
	store      app.History
	partitions int
	accounts   side // entries and holds
	changes    side // transactions
}

// side is one of the two views.
type side struct {
	handler, slow string
	topic         bank.Topic
	view          *failover.View

	mu   sync.Mutex
	last standing // when it was read last
}

// NewHistory reads what the handlers router.MongoHistoryHandler and router.MongoTransactionsHandler keep in db, each
// in so many partitions (1 where the log is the broker). store also has both views, and answers while MongoDB is away;
// nil: there is none, and whoever reads gets an error (503 unavailable). With a store, progress knows how far the
// handlers are that keep its views. fellBack is told why a read was not answered by MongoDB, and may be nil.
func NewHistory(
	db *DB, partitions int, store app.History, progress app.Progress, fellBack func(reason string),
) *History {
	if store == nil {
		progress = nil
	}
	view := func(fast, slow string) *failover.View {
		return failover.New(failover.Config{
			Fast: fast, Slow: slow, Progress: progress, Timeout: readTimeout, FellBack: fellBack,
		})
	}
	h := &History{db: db, store: store, partitions: partitions}
	h.accounts.handler, h.accounts.slow, h.accounts.topic =
		router.MongoHistoryHandler, app.HistoryHandler, bank.AccountsTopic
	h.changes.handler, h.changes.slow, h.changes.topic =
		router.MongoTransactionsHandler, app.TransactionsHandler, bank.TransactionsTopic
	for _, s := range []*side{&h.accounts, &h.changes} {
		s.view = view(s.handler, s.slow)
	}
	return h
}

// Handler is the handler that keeps what is read now: the one of MongoDB, or the store's. It is what
// router.Renamed asks.
func (h *History) Handler(handler string) string {
	for _, s := range []*side{&h.accounts, &h.changes} {
		switch {
		case handler != s.slow:
		case h.store == nil:
			return s.handler
		default:
			return s.view.Handler()
		}
	}
	return handler
}

// ask reads from MongoDB, or else from the store.
func ask[T any](
	ctx context.Context, h *History, s *side, fast func(ctx context.Context, in space) (T, error),
	slow func(context.Context, app.History) (T, error),
) (T, error) {
	var other func(context.Context) (T, error)
	if h.store != nil {
		other = func(ctx context.Context) (T, error) { return slow(ctx, h.store) }
	}
	return failover.Read(ctx, s.view, func(ctx context.Context) (T, error) { return whole(ctx, h, s, fast) }, other)
}

// whole reads, and makes sure that the view was complete all the while, not only afterwards: it stands as it did when
// it was last found to be complete.
func whole[T any](
	ctx context.Context, h *History, s *side, read func(ctx context.Context, in space) (T, error),
) (none T, err error) {
	for range 3 {
		was := s.known()
		var out T
		if was.in.incarnation != "" {
			if out, err = read(ctx, was.in); err != nil {
				return none, err
			}
		}
		now, err := h.db.whole(ctx, s.handler, s.topic, h.partitions)
		switch {
		case err != nil:
			return none, err
		case now.in.incarnation == "":
			return none, failover.ErrIncomplete
		case now == was:
			return out, nil
		}
		s.know(now)
	}
	return none, failover.ErrIncomplete
}

func (s *side) known() standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

func (s *side) know(is standing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = is
}

type found[T any] struct {
	it T
	ok bool
}

// one reads the newest version of one thing.
func one[D any, P version[D], T any](
	ctx context.Context, h *History, s *side, collection, field, id string, row func(P) (T, error),
	slow func(context.Context, app.History) (T, bool, error),
) (T, bool, error) {
	f, err := ask(ctx, h, s, func(ctx context.Context, in space) (f found[T], err error) {
		d, ok, err := newest[D](ctx, h.db.of(collection, in), field, id)
		if err != nil || !ok {
			return f, err
		}
		f.it, err = row(&d)
		f.ok = err == nil
		return f, err
	}, func(ctx context.Context, store app.History) (f found[T], err error) {
		f.it, f.ok, err = slow(ctx, store)
		return f, err
	})
	return f.it, f.ok, err
}

// Transaction implements app.History.
func (h *History) Transaction(ctx context.Context, id bank.TransactionID) (bank.Transaction, bool, error) {
	return one(ctx, h, &h.changes, transactions, "transaction", id.String(), (*transactionDocument).transaction,
		func(ctx context.Context, store app.History) (bank.Transaction, bool, error) {
			return store.Transaction(ctx, id)
		})
}

// Hold implements app.History.
func (h *History) Hold(ctx context.Context, id bank.HoldID) (bank.Hold, bool, error) {
	return one(ctx, h, &h.accounts, holds, "hold", id.String(), (*holdDocument).hold,
		func(ctx context.Context, store app.History) (bank.Hold, bool, error) { return store.Hold(ctx, id) })
}

// Transactions implements app.History.
func (h *History) Transactions(ctx context.Context, f app.TransactionFilter) ([]bank.Transaction, error) {
	return ask(ctx, h, &h.changes, func(ctx context.Context, in space) ([]bank.Transaction, error) {
		l := list[transactionDocument, *transactionDocument]{
			in: h.db.of(transactions, in), page: f.Page, time: "at", id: "transaction",
		}
		l.tagged(ofAccount, f.Account.String())
		l.tagged(ofCustomer, f.Customer.String())
		l.tagged(ofReference, f.Reference)
		l.tagged(ofHold, f.Hold.String())
		l.tagged(ofCorrelation, f.CorrelationID)
		l.tagged(ofKey, f.IdempotencyKey)
		l.is("kind", int32(f.Kind))
		l.is("status", int32(f.Status))
		return rows(ctx, &l, (*transactionDocument).transaction)
	}, func(ctx context.Context, store app.History) ([]bank.Transaction, error) {
		return store.Transactions(ctx, f)
	})
}

// Holds implements app.History.
func (h *History) Holds(ctx context.Context, f app.HoldFilter) ([]bank.Hold, error) {
	return ask(ctx, h, &h.accounts, func(ctx context.Context, in space) ([]bank.Hold, error) {
		l := list[holdDocument, *holdDocument]{
			in: h.db.of(holds, in), page: f.Page, time: "created", id: "hold",
		}
		l.equal("account", f.Account.String())
		l.equal("customer", f.Customer.String())
		l.is("status", int32(f.Status))
		return rows(ctx, &l, (*holdDocument).hold)
	}, func(ctx context.Context, store app.History) ([]bank.Hold, error) { return store.Holds(ctx, f) })
}

// Entries implements app.History.
func (h *History) Entries(ctx context.Context, f app.EntryFilter) ([]app.EntryRow, error) {
	return ask(ctx, h, &h.accounts, func(ctx context.Context, in space) ([]app.EntryRow, error) {
		return entriesIn(ctx, h.db.of(entries, in), f)
	}, func(ctx context.Context, store app.History) ([]app.EntryRow, error) { return store.Entries(ctx, f) })
}

func entriesIn(ctx context.Context, in *mongo.Collection, f app.EntryFilter) ([]app.EntryRow, error) {
	direction, beyond := -1, "$lt"
	if f.Ascending {
		direction, beyond = 1, "$gt"
	}
	filter := bson.D{{Key: "account", Value: f.Account.String()}}
	if f.AfterVersion != 0 {
		filter = append(filter, bson.E{Key: "version", Value: bson.D{{Key: beyond, Value: int64(f.AfterVersion)}}})
	}
	if r := between(f.From, f.To); r != nil {
		filter = append(filter, bson.E{Key: "at", Value: r})
	}
	cursor, err := in.Find(ctx, filter, options.Find().
		SetSort(bson.D{{Key: "version", Value: direction}}).SetLimit(int64(f.Limit)))
	if err != nil {
		return nil, err
	}
	var documents []entryDocument
	if err := cursor.All(ctx, &documents); err != nil {
		return nil, err
	}
	out := make([]app.EntryRow, len(documents))
	for i := range documents {
		if out[i], err = documents[i].row(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// between is from ≤ time < to; nil: any time.
func between(from, to bank.Time) (r bson.D) {
	if from != 0 {
		r = append(r, bson.E{Key: "$gte", Value: int64(from)})
	}
	if to != 0 {
		r = append(r, bson.E{Key: "$lt", Value: int64(to)})
	}
	return r
}
