// Package mongo keeps history in MongoDB: a document for each entry, and one for each version of a transaction or
// hold, of which the newest one is read. Documents are only ever inserted, under ids that say what they are, so what
// comes twice is there once. Beside them stand the marks that say how far they are; what MongoDB loses is built again
// from the log. It uses only what MongoDB and the servers that speak its protocol have in common.
package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"

	"bankforge/handlers"
	"bankforge/router"
)

// DB is the database of one bank. It is safe for concurrent use.
type DB struct {
	client *mongo.Client
	db     *mongo.Database

	mu      sync.Mutex
	indexed map[string]bool // collections whose indexes are known to be there
}

// A server that is away is found out soon, and so is one that does not answer.
const (
	selectTimeout  = 500 * time.Millisecond
	connectTimeout = time.Second
	readTimeout    = 2 * time.Second
)

// Open uses the server at a URL of the form mongodb://user:password@host:port/database. It does not wait for the
// server: whether it answers is what Ping finds out.
func Open(url string) (*DB, error) {
	c, err := connstring.ParseAndValidate(url)
	if err != nil {
		return nil, fmt.Errorf("mongo: %w", err)
	}
	if c.Database == "" {
		return nil, errors.New("mongo: the URL names no database")
	}
	client, err := mongo.Connect(options.Client().ApplyURI(url).
		SetServerSelectionTimeout(selectTimeout).SetConnectTimeout(connectTimeout).SetHeartbeatInterval(time.Second))
	if err != nil {
		return nil, fmt.Errorf("mongo: %w", err)
	}
	return &DB{client: client, db: client.Database(c.Database), indexed: map[string]bool{}}, nil
}

// Ping reports whether the server answers.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.client.Ping(ctx, nil); err != nil {
		return fmt.Errorf("mongo: %w", err)
	}
	return nil
}

// Close closes all connections.
func (db *DB) Close(ctx context.Context) error { return db.client.Disconnect(ctx) }

// The collections, each of one incarnation of the log and one build.
const (
	entries      = "entry"
	holds        = "hold"
	transactions = "transaction"
	marks        = "mark" // of all incarnations and builds
)

// keptBy are the collections that a handler writes to.
func keptBy(handler string) []string {
	if handler == router.MongoHistoryHandler {
		return []string{entries, holds}
	}
	return []string{transactions}
}

// space is what a handler has in its collections: of one incarnation of the log, and one of the builds of it.
type space struct{ incarnation, build string }

func spaceOf(m router.Mark) space { return space{m.Incarnation, m.Build} }

// beforeBuild stands in the name of a collection before the build; the first one has none.
const beforeBuild = "~"

func (db *DB) of(collection string, in space) *mongo.Collection {
	name := collection + "-" + in.incarnation
	if in.build != "" {
		name += beforeBuild + in.build
	}
	return db.db.Collection(name)
}

// split is the inverse of the names that of makes; ok is false for other names.
func split(name string) (collection string, in space, ok bool) {
	collection, rest, ok := strings.Cut(name, "-")
	in.incarnation = rest
	if i := strings.LastIndex(rest, beforeBuild); i >= 0 {
		in = space{rest[:i], rest[i+len(beforeBuild):]}
	}
	_, ours := indexes[collection]
	return collection, in, ok && ours
}

// indexes are what is looked for. A list is ordered by time and id, and the newest version is told by the id.
var indexes = map[string][]bson.D{
	entries: {{{Key: "account", Value: 1}, {Key: "version", Value: 1}}},
	holds: {
		{{Key: "hold", Value: 1}, {Key: "version", Value: 1}},
		{{Key: "created", Value: 1}, {Key: "hold", Value: 1}},
		{{Key: "account", Value: 1}, {Key: "created", Value: 1}},
		{{Key: "customer", Value: 1}, {Key: "created", Value: 1}},
	},
	transactions: {
		{{Key: "transaction", Value: 1}, {Key: "version", Value: 1}},
		{{Key: "at", Value: 1}, {Key: "transaction", Value: 1}},
		{{Key: "tags", Value: 1}, {Key: "at", Value: 1}},
	},
}

// prepare makes the indexes that a handler needs.
func (db *DB) prepare(ctx context.Context, handler string, in space) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, collection := range keptBy(handler) {
		c := db.of(collection, in)
		if db.indexed[c.Name()] {
			continue
		}
		if err := ensure(ctx, c, indexes[collection]); err != nil {
			return err
		}
		db.indexed[c.Name()] = true
	}
	return nil
}

// ensure makes the indexes that are missing, one by one: FerretDB cannot be asked for several of which some are there.
func ensure(ctx context.Context, in *mongo.Collection, all []bson.D) error {
	there, err := in.Indexes().ListSpecifications(ctx)
	if err != nil {
		return err
	}
	for _, keys := range all {
		names := make([]string, len(keys))
		for i := range keys {
			names[i] = keys[i].Key
		}
		name := strings.Join(names, "-")
		if slices.ContainsFunc(there, func(s mongo.IndexSpecification) bool { return s.Name == name }) {
			continue
		}
		_, err := in.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: keys, Options: options.Index().SetName(name)})
		if err != nil {
			return err
		}
	}
	return nil
}

// forget says that the indexes that a handler needs may be gone.
func (db *DB) forget(handler string, in space) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, collection := range keptBy(handler) {
		delete(db.indexed, db.of(collection, in).Name())
	}
}

// errorOf says in err what is to become of it: what is away or has failed itself is waited for.
func errorOf(what string, err error) error {
	var server mongo.ServerError
	var marshal mongo.MarshalError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, router.ErrMoved), errors.Is(err, context.Canceled), errors.As(err, &marshal):
	case errors.As(err, &server) && !server.HasErrorLabel("NetworkError") &&
		!slices.ContainsFunc(awayCodes, server.HasErrorCode):
	default:
		err = handlers.As(handlers.Unavailable, err)
	}
	return fmt.Errorf("mongo: %s: %w", what, err)
}

// awayCodes are of errors that say nothing about what was sent: the server is not the leader, is ending, or has failed.
var awayCodes = []int{
	1, 6, 7, 50, 64, 89, 91, 112, 134, 189, 262, 9001, 10107, 11600, 11601, 11602, 13388, 13435, 13436,
}
