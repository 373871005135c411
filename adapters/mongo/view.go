package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"golang.org/x/sync/errgroup"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/history"
	"bankforge/router"
)

// View is history as its handlers write it, and the marks beside it. It is safe for concurrent use.
type View struct {
	db     *DB
	ends   ends
	beside string // the build that is written, beside the one in use; "": the one in use
}

var (
	_ router.Marks             = (*View)(nil)
	_ history.EntryStore       = (*View)(nil)
	_ history.TransactionStore = (*View)(nil)
)

// NewView gives access to the views in db.
func NewView(db *DB) *View {
	return &View{db: db, ends: ends{of: map[router.Stream]*partitionEnds{}}}
}

// Entries is history.Entries on this view. Where it finds a gap, it looks once more without what it remembers: a replay
// in another process may have filled it. Nor does it leave out what it only remembers to have: it may have been taken
// away.
func (v *View) Entries() handlers.Func {
	handle := history.Entries(v)
	return func(ctx context.Context, facts []handlers.Fact) error {
		f, ok := router.FenceOf(ctx)
		if ok {
			v.ends.doubt(f.Stream, facts)
		}
		err := handle(ctx, facts)
		var gap *handlers.GapError
		if ok && errors.As(err, &gap) {
			v.ends.forget(f.Stream)
			err = handle(ctx, facts)
		}
		return err
	}
}

// Transactions is history.Transactions on this view.
func (v *View) Transactions() handlers.Func { return history.Transactions(v) }

// errNoFence means that a handler's store was used by somebody else.
var errNoFence = errors.New("mongo: history is only written by a route with marks")

// collection is where the handler that ctx belongs to writes.
func (v *View) collection(ctx context.Context, name string) (*mongo.Collection, router.Fence, error) {
	f, ok := router.FenceOf(ctx)
	if !ok {
		return nil, f, errNoFence
	}
	if err := v.db.prepare(ctx, f.Stream.Handler, spaceOf(f.Mark)); err != nil {
		return nil, f, errorOf("make indexes", err)
	}
	return v.db.of(name, spaceOf(f.Mark)), f, nil
}

// LastEntries implements history.EntryStore.
func (v *View) LastEntries(
	ctx context.Context, accounts []bank.AccountID,
) (map[bank.AccountID]history.Last, error) {
	in, f, err := v.collection(ctx, entries)
	if err != nil {
		return nil, err
	}
	known, unknown := v.ends.get(f, accounts)
	newest, err := newestOf[entryDocument](ctx, in, "account", unknown)
	if err != nil {
		return nil, errorOf("read the last entries of accounts", err)
	}
	for id, d := range newest {
		if known[id], err = d.last(); err != nil {
			return nil, fmt.Errorf("last entry of %s: %w", id, err)
		}
	}
	v.ends.keep(f, known)
	return known, nil
}

// AddEntries implements history.EntryStore.
func (v *View) AddEntries(ctx context.Context, rows []history.Entry) error {
	in, f, err := v.collection(ctx, entries)
	if err != nil {
		return err
	}
	documents := make([]any, len(rows))
	last := make(map[bank.AccountID]history.Last, len(rows))
	for i := range rows {
		e := &rows[i]
		if documents[i], err = entryOf(e); err != nil {
			return err
		}
		last[e.Account] = history.Last{Version: e.Version, Balance: e.BalanceAfter}
	}
	if err := insert(ctx, in, documents); err != nil {
		return errorOf("add entries", err)
	}
	v.ends.keep(f, last)
	return nil
}

// HoldVersions implements history.EntryStore.
func (v *View) HoldVersions(ctx context.Context, ids []bank.HoldID) (map[bank.HoldID]bank.Version, error) {
	in, _, err := v.collection(ctx, holds)
	if err != nil {
		return nil, err
	}
	newest, err := newestOf[holdDocument](ctx, in, "hold", ids)
	out := make(map[bank.HoldID]bank.Version, len(newest))
	for id, d := range newest {
		out[id] = bank.Version(d.Version)
	}
	return out, errorOf("read versions of holds", err)
}

// SaveHolds implements history.EntryStore.
func (v *View) SaveHolds(ctx context.Context, rows []bank.Hold) error {
	in, _, err := v.collection(ctx, holds)
	if err != nil {
		return err
	}
	documents := make([]any, len(rows))
	for i := range rows {
		if documents[i], err = holdOf(&rows[i]); err != nil {
			return err
		}
	}
	return errorOf("add versions of holds", insert(ctx, in, documents))
}

// TransactionVersions implements history.TransactionStore.
func (v *View) TransactionVersions(
	ctx context.Context, ids []bank.TransactionID,
) (map[bank.TransactionID]bank.Version, error) {
	in, _, err := v.collection(ctx, transactions)
	if err != nil {
		return nil, err
	}
	newest, err := newestOf[transactionDocument](ctx, in, "transaction", ids)
	out := make(map[bank.TransactionID]bank.Version, len(newest))
	for id, d := range newest {
		out[id] = bank.Version(d.Version)
	}
	return out, errorOf("read versions of transactions", err)
}

// SaveTransactions implements history.TransactionStore. Later versions take the key of the command along.
func (v *View) SaveTransactions(ctx context.Context, rows []history.Transaction) error {
	in, _, err := v.collection(ctx, transactions)
	if err != nil {
		return err
	}
	var later []bank.TransactionID
	for i := range rows {
		if !rows[i].New {
			later = append(later, rows[i].ID)
		}
	}
	earlier, err := newestOf[transactionDocument](ctx, in, "transaction", later)
	if err != nil {
		return errorOf("read keys of transactions", err)
	}
	documents := make([]any, len(rows))
	for i := range rows {
		key := rows[i].IdempotencyKey
		if was, ok := earlier[rows[i].ID]; ok {
			if key, err = was.key(); err != nil {
				return fmt.Errorf("key of %s: %w", rows[i].ID, err)
			}
		}
		if documents[i], err = transactionOf(&rows[i], key); err != nil {
			return err
		}
	}
	return errorOf("add versions of transactions", insert(ctx, in, documents))
}

// insertedAtOnce is how many documents one command inserts, and inserting is how many commands are under way.
const (
	insertedAtOnce = 500
	inserting      = 4
)

// insert adds documents, in any order; those whose ids are there already are what they are.
func insert(ctx context.Context, in *mongo.Collection, documents []any) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inserting)
	for chunk := range slices.Chunk(documents, insertedAtOnce) {
		group.Go(func() error {
			_, err := in.InsertMany(ctx, chunk, options.InsertMany().SetOrdered(false))
			if err != nil && !onlyDuplicates(err) {
				return err
			}
			return nil
		})
	}
	return group.Wait()
}

func onlyDuplicates(err error) bool {
	var bulk mongo.BulkWriteException
	if !errors.As(err, &bulk) || bulk.WriteConcernError != nil || len(bulk.WriteErrors) == 0 {
		return false
	}
	return !slices.ContainsFunc(bulk.WriteErrors, func(e mongo.BulkWriteError) bool { return e.Code != duplicateKey })
}

const duplicateKey = 11000

// askedAtOnce is how many questions for newest versions are under way: each is answered by an index.
const askedAtOnce = 8

type textID interface {
	comparable
	fmt.Stringer
}

// newestOf finds the document with the highest version of each of the ids that there are.
func newestOf[D any, ID textID](
	ctx context.Context, in *mongo.Collection, field string, ids []ID,
) (map[ID]D, error) {
	out := make(map[ID]D, len(ids))
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(askedAtOnce)
	for _, id := range ids {
		group.Go(func() error {
			d, ok, err := newest[D](ctx, in, field, id.String())
			if err != nil || !ok {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			out[id] = d
			return nil
		})
	}
	return out, group.Wait()
}

func newest[D any](ctx context.Context, in *mongo.Collection, field, id string) (d D, ok bool, err error) {
	err = in.FindOne(ctx, bson.D{{Key: field, Value: id}},
		options.FindOne().SetSort(bson.D{{Key: "version", Value: -1}})).Decode(&d)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return d, false, nil
	}
	return d, err == nil, err
}
