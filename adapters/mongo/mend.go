package mongo

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"golang.org/x/sync/errgroup"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/history"
	"bankforge/router"
)

// Mends write what one key has in a view anew.
func (v *View) Mends() router.Mends {
	return router.Mends{
		MongoEntries: func(ctx context.Context, key string) (router.Mending, bool, error) {
			return begin(ctx, v, bank.ParseID[bank.Account], key)
		},
		MongoTransactions: func(ctx context.Context, key string) (router.Mending, bool, error) {
			return begin(ctx, v, bank.ParseID[bank.Transaction], key)
		},
	}
}

// mendedMost is how many documents a key may have: what is known of each of them is kept in memory.
const mendedMost = 400_000

// mending compares what stands there of one key with what the log says.
type mending struct {
	told
	in     map[string]*mongo.Collection
	key    string
	handle handlers.Func
	there  map[string]map[string]stood // by collection and id: what is left of what stood there
}

// stood is a document as it was found. Its id is of any type: somebody else may have written it.
type stood struct {
	is sum
	id bson.RawValue
}

// sum is what a document says.
type sum [sha256.Size]byte

func begin[ID fmt.Stringer](
	ctx context.Context, v *View, parse func(string) (ID, error), key string,
) (router.Mending, bool, error) {
	if !isID(parse, key) { // only poison has another one
		return nil, false, nil
	}
	m := &mending{told: told{ofHolds: map[bank.HoldID]bank.Version{}}, key: key}
	m.in, m.there = map[string]*mongo.Collection{}, map[string]map[string]stood{}
	f, ok := router.FenceOf(ctx)
	if !ok {
		return nil, true, errNoFence
	}
	m.handle = history.Transactions(&m.told)
	if f.Stream.Handler == router.MongoHistoryHandler {
		m.handle = history.Entries(&m.told)
	}
	for _, collection := range keptBy(f.Stream.Handler) {
		in, _, err := v.collection(ctx, collection)
		if err != nil {
			return nil, true, err
		}
		m.in[collection] = in
		if m.there[collection], err = stands(ctx, in, keyField(collection), key); err != nil {
			return nil, true, errorOf("read what there is of a key", err)
		}
	}
	return m, true, nil
}

func isID[ID fmt.Stringer](parse func(string) (ID, error), key string) bool {
	id, err := parse(key)
	return err == nil && id.String() == key
}

// keyField is the field by which the documents of a key are found.
func keyField(collection string) string {
	if collection == transactions {
		return "transaction"
	}
	return "account"
}

// stands is what there is of a key.
func stands(ctx context.Context, in *mongo.Collection, field, key string) (map[string]stood, error) {
	cursor, err := in.Find(ctx, bson.D{{Key: field, Value: key}})
	if err != nil {
		return nil, err
	}
	defer cursor.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it was only read
	out := map[string]stood{}
	for cursor.Next(ctx) {
		d := slices.Clone(cursor.Current)
		found := stood{id: d.Lookup("_id")}
		if found.is, err = sumOf(d); err != nil {
			return nil, err
		}
		id, ours := found.id.StringValueOK()
		if !ours {
			id = "/" + found.id.String()
		}
		out[id] = found
		if len(out) > mendedMost {
			return nil, fmt.Errorf("%w: the key has more than %d documents in %s; write the whole view anew",
				router.ErrNoRebuild, mendedMost, in.Name())
		}
	}
	return out, cursor.Err()
}

// sumOf is the same for the same fields with the same values, in whichever order a server keeps them.
func sumOf(document bson.Raw) (s sum, err error) {
	var fields bson.D
	if err := bson.Unmarshal(document, &fields); err != nil {
		return s, err
	}
	slices.SortFunc(fields, func(a, b bson.E) int { return cmp.Compare(a.Key, b.Key) })
	text, err := bson.Marshal(fields)
	return sha256.Sum256(text), err
}

// Take implements router.Mending.
func (m *mending) Take(ctx context.Context, facts []handlers.Fact) error {
	m.documents = map[string]map[string]any{}
	if err := eachVersion(ctx, facts, m.handle); err != nil {
		return err
	}
	for collection, all := range m.documents {
		var missing []any
		wrong := map[string]any{}
		for _, id := range slices.Sorted(maps.Keys(all)) {
			text, err := bson.Marshal(all[id])
			if err != nil {
				return err
			}
			want, err := sumOf(text)
			if err != nil {
				return err
			}
			have, known := m.there[collection][id]
			delete(m.there[collection], id)
			switch {
			case !known:
				missing = append(missing, all[id])
			case have.is != want:
				wrong[id] = all[id]
			}
		}
		if err := put(ctx, m.in[collection], missing, wrong); err != nil {
			return errorOf("mend what there is of a key", err)
		}
	}
	return nil
}

// put adds documents, and replaces others. One of which nobody thought that it was there, as its field for the key is
// wrong, is replaced, too.
func put(ctx context.Context, in *mongo.Collection, missing []any, wrong map[string]any) error {
	for chunk := range slices.Chunk(missing, insertedAtOnce) {
		_, err := in.InsertMany(ctx, chunk, options.InsertMany().SetOrdered(false))
		if err == nil {
			continue
		}
		if !onlyDuplicates(err) {
			return err
		}
		var bulk mongo.BulkWriteException
		errors.As(err, &bulk)
		for _, e := range bulk.WriteErrors {
			wrong[idIn(chunk[e.Index])] = chunk[e.Index]
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inserting)
	for id, document := range wrong { // one by one: a command that changes many hangs some servers
		group.Go(func() error {
			_, err := in.ReplaceOne(ctx, bson.D{{Key: "_id", Value: id}}, document, options.Replace().SetUpsert(true))
			return err
		})
	}
	return group.Wait()
}

func idIn(document any) string {
	switch d := document.(type) {
	case entryDocument:
		return d.ID
	case holdDocument:
		return d.ID
	case transactionDocument:
		return d.ID
	}
	return ""
}

// End implements router.Mending.
func (m *mending) End(ctx context.Context, last bank.Version, find router.Find) error {
	for collection, left := range m.there {
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(inserting)
		for id, d := range left {
			group.Go(func() error {
				if is, err := m.belongs(ctx, collection, id, last, find); err != nil || is {
					return err
				}
				_, err := m.in[collection].DeleteOne(ctx, bson.D{{Key: "_id", Value: d.id}})
				return errorOf("take away what is not in the log", err)
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// belongs reports whether a document that was not handed out may be of a handler that goes on.
func (m *mending) belongs(
	ctx context.Context, collection, id string, last bank.Version, find router.Find,
) (bool, error) {
	subject, v := partsOf(bson.M{"_id": id})
	if v == 0 || collection != holds && (subject != m.key || v <= last) {
		return false, nil
	}
	e, ok, err := find(ctx, subject, v)
	if err != nil || !ok {
		return false, err
	}
	return slices.ContainsFunc(e.Changes(), func(c bank.Change) bool {
		switch {
		case c.Key() != m.key:
			return false
		case collection == holds:
			return c.Leg != nil && c.Hold != nil && c.Hold.ID.String() == subject && c.Hold.Version == v
		case collection == entries:
			return c.Leg != nil && c.Leg.Amount != 0 && c.Leg.After.Version == v
		}
		return c.Leg == nil && c.Transaction != nil && c.Transaction.Version == v
	}), nil
}

// told is where the handlers write what belongs to one key. It remembers how far that has come, and nothing else.
type told struct {
	last      history.Last
	ofHolds   map[bank.HoldID]bank.Version
	ofChange  bank.Version
	command   string                    // idempotency key of the one that made the transaction
	documents map[string]map[string]any // by collection and id
}

var (
	_ history.EntryStore       = (*told)(nil)
	_ history.TransactionStore = (*told)(nil)
)

func (t *told) add(collection, id string, document any) {
	if t.documents[collection] == nil {
		t.documents[collection] = map[string]any{}
	}
	t.documents[collection][id] = document
}

// LastEntries implements history.EntryStore.
func (t *told) LastEntries(_ context.Context, accounts []bank.AccountID) (map[bank.AccountID]history.Last, error) {
	out := map[bank.AccountID]history.Last{}
	for _, id := range accounts { // there is only one
		out[id] = t.last
	}
	return out, nil
}

// AddEntries implements history.EntryStore.
func (t *told) AddEntries(_ context.Context, rows []history.Entry) error {
	for i := range rows {
		d, err := entryOf(&rows[i])
		if err != nil {
			return err
		}
		t.add(entries, d.ID, d)
		t.last = history.Last{Version: rows[i].Version, Balance: rows[i].BalanceAfter}
	}
	return nil
}

// HoldVersions implements history.EntryStore.
func (t *told) HoldVersions(_ context.Context, ids []bank.HoldID) (map[bank.HoldID]bank.Version, error) {
	out := map[bank.HoldID]bank.Version{}
	for _, id := range ids {
		if v, ok := t.ofHolds[id]; ok {
			out[id] = v
		}
	}
	return out, nil
}

// SaveHolds implements history.EntryStore.
func (t *told) SaveHolds(_ context.Context, rows []bank.Hold) error {
	for i := range rows {
		d, err := holdOf(&rows[i])
		if err != nil {
			return err
		}
		t.add(holds, d.ID, d)
		t.ofHolds[rows[i].ID] = rows[i].Version
	}
	return nil
}

// TransactionVersions implements history.TransactionStore.
func (t *told) TransactionVersions(
	_ context.Context, ids []bank.TransactionID,
) (map[bank.TransactionID]bank.Version, error) {
	out := map[bank.TransactionID]bank.Version{}
	for _, id := range ids { // there is only one
		out[id] = t.ofChange
	}
	return out, nil
}

// SaveTransactions implements history.TransactionStore.
func (t *told) SaveTransactions(_ context.Context, rows []history.Transaction) error {
	for i := range rows {
		if rows[i].New {
			t.command = rows[i].IdempotencyKey
		}
		d, err := transactionOf(&rows[i], t.command)
		if err != nil {
			return err
		}
		t.add(transactions, d.ID, d)
		t.ofChange = rows[i].Version
	}
	return nil
}
