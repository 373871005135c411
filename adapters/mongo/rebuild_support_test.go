package mongo_test

import (
	"errors"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"bankforge/adapters/mongo"
	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/router"
	"bankforge/router/rebuild"
)

// configs are the views of the branch.
func (b *branch) configs() []rebuild.Config {
	c := rebuild.Config{Source: b.log, Partitions: 1, View: mongo.NewView(b.db)}
	entries, transactions := c, c
	entries.Handler, entries.Topic = router.MongoHistoryHandler, bank.AccountsTopic
	transactions.Handler, transactions.Topic = router.MongoTransactionsHandler, bank.TransactionsTopic
	return []rebuild.Config{entries, transactions}
}

func (b *branch) rebuilt() (found []app.Difference) {
	b.Helper()
	for _, c := range b.configs() {
		r, err := rebuild.Run(b.Context(), c, b.kept)
		if err != nil || r.Omitted > 0 {
			b.Fatal(r, err)
		}
		found = append(found, r.Differences...)
	}
	return found
}

func (b *branch) check() []app.Difference {
	b.Helper()
	found, err := rebuild.NewCheck(b.kept, b.configs()...).Compare(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	return found
}

// used is the collection that is in use; name is how it begins.
func (b *branch) used(name string) string {
	b.Helper()
	handler := router.MongoHistoryHandler
	if name == "transaction" {
		handler = router.MongoTransactionsHandler
	}
	var d struct{ Build string }
	err := b.raw.Collection("mark").FindOne(b.Context(), bson.M{"_id": handler}).Decode(&d)
	if err != nil || d.Build == "" {
		return name + "-first"
	}
	return name + "-first~" + d.Build
}

func (b *branch) collections() []string {
	b.Helper()
	names, err := b.raw.ListCollectionNames(b.Context(), bson.M{})
	if err != nil {
		b.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// onlyInUse fails the test if anything is left of a build that is not in use.
func (b *branch) onlyInUse() {
	b.Helper()
	want := []string{b.used("entry"), b.used("hold"), "mark", b.used("transaction")}
	if got := b.collections(); !slices.Equal(got, want) {
		b.Errorf("there is %v, and in use is %v", got, want)
	}
	n, err := b.raw.Collection("mark").CountDocuments(b.Context(), bson.M{"topic": bson.M{"$exists": true}})
	if n != 2 || err != nil {
		b.Errorf("%d marks: %v", n, err)
	}
}

// spoil makes a damage of each kind, and says what it is about.
func (b *branch) spoil() (subjects []string) {
	b.Helper()
	ctx := b.Context()
	var entry, gone, transaction, hold bson.M
	newest := func(name string, skip bson.M, into *bson.M) {
		if err := b.raw.Collection(b.used(name)).FindOne(ctx, skip).Decode(into); err != nil {
			b.Fatal(err)
		}
	}
	newest("entry", bson.M{}, &entry)
	newest("entry", bson.M{"account": bson.M{"$ne": entry["account"]}}, &gone)
	newest("transaction", bson.M{"version": int64(1), "status": int32(bank.Posted)}, &transaction)
	newest("hold", bson.M{"later": true}, &hold)
	nobody := bank.MakeID[bank.Account]([16]byte{1}).String()
	entries := b.raw.Collection(b.used("entry"))
	_, err1 := entries.DeleteOne(ctx, bson.M{"_id": gone["_id"]})
	_, err2 := entries.UpdateOne(ctx, bson.M{"_id": entry["_id"]}, bson.M{"$set": bson.M{"at": int64(7)}})
	entry["_id"], entry["account"] = nobody+"/0000000000000001", nobody
	_, err3 := entries.InsertOne(ctx, entry)
	_, err4 := b.raw.Collection(b.used("transaction")).DeleteOne(ctx, bson.M{"_id": transaction["_id"]})
	_, err5 := b.raw.Collection(b.used("hold")).UpdateOne(ctx, bson.M{"_id": hold["_id"]},
		bson.M{"$set": bson.M{"status": int32(9)}})
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		b.Fatal(err)
	}
	was, _, _ := strings.Cut(entryID(b), "/")
	out := []string{was, gone["account"].(string), nobody, transaction["transaction"].(string), hold["hold"].(string)}
	slices.Sort(out)
	return out
}

// entryID is the entry that spoil has set to another time.
func entryID(b *branch) string {
	var d bson.M
	err := b.raw.Collection(b.used("entry")).FindOne(b.Context(), bson.M{"at": int64(7)}).Decode(&d)
	if err != nil {
		b.Fatal(err)
	}
	return d["_id"].(string)
}

func subjects(found []app.Difference) (out []string) {
	for _, d := range found {
		if !slices.Contains(out, d.Subject) {
			out = append(out, d.Subject)
		}
	}
	slices.Sort(out)
	return out
}
