package main

import (
	"context"
	"net/url"
	"strings"

	goredis "github.com/redis/go-redis/v9"
	"github.com/rogpeppe/go-internal/testscript"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// loseCommand does what nothing of the bank does: it removes a row from a view outside, and says nothing.
func loseCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "lose redis | mongo ID")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var lost int64
	if args[0] == "redis" {
		lost = loseRedis(ctx, ts, args[1])
	} else {
		lost = loseMongo(ctx, ts, args[1])
	}
	if lost == 0 {
		ts.Fatalf("there is nothing of %s in %s", args[1], args[0])
	}
}

func loseRedis(ctx context.Context, ts *testscript.TestScript, id string) int64 {
	o, err := goredis.ParseURL(ts.Getenv("BANKFORGE_REDIS"))
	ts.Check(err)
	db := goredis.NewClient(o)
	defer db.Close()
	keys, err := db.Keys(ctx, ts.Getenv("BANKFORGE_PREFIX")+"*account:"+id).Result()
	ts.Check(err)
	if len(keys) == 0 {
		return 0
	}
	n, err := db.Del(ctx, keys...).Result()
	ts.Check(err)
	return n
}

func loseMongo(ctx context.Context, ts *testscript.TestScript, id string) (lost int64) {
	u, err := url.Parse(ts.Getenv("BANKFORGE_MONGO"))
	ts.Check(err)
	client, err := mongo.Connect(options.Client().ApplyURI(u.String()))
	ts.Check(err)
	defer client.Disconnect(ctx) //nolint:errcheck // the script is over with it
	db := client.Database(strings.TrimPrefix(u.Path, "/"))
	names, err := db.ListCollectionNames(ctx, bson.M{})
	ts.Check(err)
	for _, name := range names {
		if strings.HasPrefix(name, "transaction-") {
			done, err := db.Collection(name).DeleteMany(ctx, bson.M{"transaction": id})
			ts.Check(err)
			lost += done.DeletedCount
		}
	}
	return lost
}
