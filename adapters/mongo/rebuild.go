package mongo

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/rebuild"
)

var _ rebuild.View = (*View)(nil)

// beside is a build that is not in use.
type beside struct {
	*View
	mark    router.Mark
	streams []router.Stream
	handle  handlers.Func
	ahead   map[string][]bson.M // by collection, what the view in use had and the build did not
}

// Begin implements rebuild.View. It is for one handler.
func (v *View) Begin(ctx context.Context, streams []router.Stream, m router.Mark) (rebuild.Build, error) {
	b := &beside{View: NewView(v.db), mark: m, streams: streams, ahead: map[string][]bson.M{}}
	b.View.beside = strings.ToLower(rand.Text()[:10])
	b.mark.Build = b.View.beside
	b.handle = b.Transactions()
	if b.handler() == router.MongoHistoryHandler {
		b.handle = b.Entries()
	}
	documents := make([]any, len(streams))
	for i, s := range streams {
		documents[i] = markOf(s, b.mark)
	}
	err := v.db.prepare(ctx, b.handler(), spaceOf(b.mark))
	if err == nil {
		_, err = v.db.db.Collection(marks).InsertMany(ctx, documents)
	}
	if err != nil {
		return nil, errorOf("begin a build", errors.Join(err, b.Drop(context.WithoutCancel(ctx))))
	}
	return b, nil
}

func (b *beside) handler() string { return b.streams[0].Handler }

// Handle implements rebuild.Build. A handler writes only the last of the versions that come together; but what is in
// use may have had them come in other ways, so here each comes by itself.
func (b *beside) Handle(ctx context.Context, facts []handlers.Fact) error {
	f, ok := router.FenceOf(ctx)
	if !ok {
		return errNoFence
	}
	f.Mark = b.mark
	return eachVersion(router.WithFence(ctx, f), facts, b.handle)
}

// eachVersion hands out facts so that of nothing two versions come together.
func eachVersion(ctx context.Context, facts []handlers.Fact, handle handlers.Func) error {
	seen, from := map[string]bool{}, 0
	for i := range facts {
		id := versioned(&facts[i])
		if seen[id] {
			if err := handle(ctx, facts[from:i]); err != nil {
				return err
			}
			clear(seen)
			from = i
		}
		if id != "" {
			seen[id] = true
		}
	}
	return handle(ctx, facts[from:])
}

// versioned is what the fact tells a version of, of which only the newest is read; "": of nothing.
func versioned(f *handlers.Fact) string {
	switch {
	case f.Leg == nil:
		return f.Transaction.ID.String()
	case f.Hold != nil && f.Hold.Account == f.Leg.Account:
		return f.Hold.ID.String()
	}
	return ""
}

// Switch implements rebuild.Build. All marks must be there still: where the build was lost, they were, too.
func (b *beside) Switch(ctx context.Context, m router.Mark) error {
	m.Build = b.View.beside
	for _, s := range b.streams {
		if err := b.db.move(ctx, s, b.mark, m); err != nil {
			return errorOf("put a build in use", err)
		}
	}
	return errorOf("put a build in use", b.db.use(ctx, b.handler(), b.View.beside))
}

// use puts a build in use, in two steps: once another one is to be the next, a command that was under way does nothing.
func (db *DB) use(ctx context.Context, handler, build string) error {
	in := db.db.Collection(marks)
	first := useDocument{ID: handler, Handler: handler, Next: build}
	if _, err := in.InsertOne(ctx, first); err != nil {
		if !mongo.IsDuplicateKeyError(err) {
			return err
		}
		_, err = in.UpdateOne(ctx, bson.D{{Key: "_id", Value: handler}}, set("next", build))
		if err != nil {
			return err
		}
	}
	done, err := in.UpdateOne(ctx,
		bson.D{{Key: "_id", Value: handler}, {Key: "next", Value: build}}, set("build", build))
	if err == nil && done.MatchedCount == 0 {
		return router.ErrMoved
	}
	return err
}

func set(field, value string) bson.D {
	return bson.D{{Key: "$set", Value: bson.D{{Key: field, Value: value}}}}
}

// Drop implements rebuild.Build. Once it cannot be put in use any more, it is not, or it is and stays.
func (b *beside) Drop(ctx context.Context) error {
	_, err := b.db.db.Collection(marks).UpdateOne(ctx,
		bson.D{{Key: "_id", Value: b.handler()}, {Key: "next", Value: b.View.beside}}, set("next", ""))
	if err != nil {
		return errorOf("drop a build", err)
	}
	build, err := b.db.current(ctx, b.handler())
	if err == nil && build != b.View.beside {
		err = b.db.discard(ctx, b.handler(), func(build string) bool { return build == b.View.beside })
	}
	return errorOf("drop a build", err)
}

// Sweep implements rebuild.View.
func (v *View) Sweep(ctx context.Context, handler string) error {
	used, err := v.db.current(ctx, handler)
	if err == nil {
		err = v.db.discard(ctx, handler, func(build string) bool { return build != used })
	}
	return errorOf("drop what is not in use", err)
}

// discard removes builds of a handler, their marks first.
func (db *DB) discard(ctx context.Context, handler string, named func(build string) bool) error {
	if err := db.unmark(ctx, handler, named); err != nil {
		return err
	}
	return db.drop(ctx, func(collection string, in space) bool { return keeps(handler, collection) && named(in.build) })
}

// unmark removes the marks of builds.
func (db *DB) unmark(ctx context.Context, handler string, named func(build string) bool) error {
	in := db.db.Collection(marks)
	found, err := in.Find(ctx, bson.D{{Key: "handler", Value: handler}})
	if err != nil {
		return err
	}
	var all []markDocument
	if err := found.All(ctx, &all); err != nil {
		return err
	}
	for i := range all {
		if all[i].ID == handler || !named(all[i].Build) {
			continue
		}
		if _, err := in.DeleteOne(ctx, bson.D{{Key: "_id", Value: all[i].ID}}); err != nil {
			return err
		}
	}
	return nil
}

func keeps(handler, collection string) bool {
	return slices.Contains(keptBy(handler), collection)
}
