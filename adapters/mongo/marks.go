package mongo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// markDocument is the mark of one stream, in one build of the view.
type markDocument struct {
	ID          string `bson:"_id"`
	Handler     string `bson:"handler"`
	Topic       string `bson:"topic"`
	Partition   int64  `bson:"partition"`
	Incarnation string `bson:"incarnation"`
	Position    int64  `bson:"position"`
	Target      int64  `bson:"target"`
	Build       string `bson:"build,omitempty"`

	Since bson.ObjectID `bson:"since,omitempty"` // another one for each time that a mark was not there
}

// useDocument stands among the marks, under the name of the handler, and says which build all read and write. Where
// there is none, it is the first.
type useDocument struct {
	ID      string `bson:"_id"`
	Handler string `bson:"handler"`
	Build   string `bson:"build"`
	Next    string `bson:"next"` // the only build that may take its place
}

func (d *markDocument) mark() router.Mark {
	return router.Mark{
		Checkpoint: router.Checkpoint{Incarnation: d.Incarnation, Position: handlers.PositionAt(d.Position)},
		Target:     handlers.PositionAt(d.Target), Build: d.Build,
	}
}

func markOf(s router.Stream, m router.Mark) markDocument {
	id := fmt.Sprintf("%s/%s/%d", s.Handler, s.Topic, s.Partition)
	if m.Build != "" {
		id += "/" + m.Build
	}
	return markDocument{
		ID: id, Handler: s.Handler, Topic: string(s.Topic), Partition: int64(s.Partition), Incarnation: m.Incarnation,
		Position: m.Position.Offset(), Target: m.Target.Offset(), Build: m.Build,
	}
}

// current is the build in use.
func (db *DB) current(ctx context.Context, handler string) (build string, err error) {
	var d useDocument
	err = db.byID(ctx, handler, &d)
	return d.Build, err
}

// byID reads one of the marks' documents; one that is not there is left as it is.
func (db *DB) byID(ctx context.Context, id string, into any) error {
	err := db.db.Collection(marks).FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Decode(into)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil
	}
	return err
}

// Mark implements router.Marks. Where there is no mark, another build may have taken the place meanwhile.
func (v *View) Mark(ctx context.Context, s router.Stream) (router.Mark, error) {
	build, err := v.db.current(ctx, s.Handler)
	for err == nil {
		var d markDocument
		if err = v.db.byID(ctx, markOf(s, router.Mark{Build: build}).ID, &d); err != nil {
			break
		}
		if d.ID != "" {
			return d.mark(), nil
		}
		was := build
		if build, err = v.db.current(ctx, s.Handler); err == nil && build == was {
			return router.Mark{Build: build}, nil
		}
	}
	return router.Mark{}, errorOf("read a mark", err)
}

// Move implements router.Marks. With the first mark of another incarnation, what the earlier ones have left is dropped.
func (v *View) Move(ctx context.Context, s router.Stream, seen, next router.Mark) error {
	if seen.Incarnation != next.Incarnation {
		v.db.forget(s.Handler, spaceOf(next)) // it may have been lost with the mark
		if err := v.db.prepare(ctx, s.Handler, spaceOf(next)); err != nil {
			return errorOf("make indexes", err)
		}
	}
	if err := v.db.move(ctx, s, seen, next); err != nil {
		return errorOf("move a mark", err)
	}
	build, err := v.db.current(ctx, s.Handler)
	if err == nil && build != seen.Build {
		err = router.ErrMoved
	}
	if err != nil {
		return errorOf("move a mark", err)
	}
	v.ends.moved(s, seen, next)
	if seen.Incarnation != "" && seen.Incarnation != next.Incarnation {
		return errorOf("drop another incarnation", v.db.drop(ctx, func(_ string, in space) bool {
			return in.incarnation != next.Incarnation
		}))
	}
	return nil
}

func (db *DB) move(ctx context.Context, s router.Stream, seen, next router.Mark) error {
	now := markOf(s, next)
	if seen.Incarnation == "" {
		return db.first(ctx, s.Handler, now)
	}
	was := markOf(s, seen)
	done, err := db.db.Collection(marks).UpdateOne(ctx,
		bson.D{
			{Key: "_id", Value: was.ID}, {Key: "incarnation", Value: was.Incarnation},
			{Key: "position", Value: was.Position}, {Key: "target", Value: was.Target},
		},
		bson.D{{Key: "$set", Value: bson.D{
			{Key: "incarnation", Value: now.Incarnation}, {Key: "position", Value: now.Position},
			{Key: "target", Value: now.Target},
		}}})
	if err == nil && done.MatchedCount == 0 {
		return router.ErrMoved
	}
	return err
}

// first makes a mark where there is none. One of a build that is not in use any more is not left behind.
func (db *DB) first(ctx context.Context, handler string, d markDocument) error {
	d.Since = bson.NewObjectID()
	_, err := db.db.Collection(marks).InsertOne(ctx, d)
	if mongo.IsDuplicateKeyError(err) {
		return router.ErrMoved
	}
	if err != nil {
		return err
	}
	build, err := db.current(ctx, handler)
	if err == nil && build != d.Build {
		_, err = db.db.Collection(marks).DeleteOne(ctx, bson.D{{Key: "_id", Value: d.ID}})
		err = cmp.Or(err, router.ErrMoved)
	}
	return err
}

// Forget implements rebuild.View. What says which build is in use stays: handlers begin again in that one. One that has
// begun before all was gone begins once more.
func (v *View) Forget(ctx context.Context, handler string) error {
	all := func(string) bool { return true }
	err := v.db.discard(ctx, handler, all)
	if err == nil {
		err = v.db.unmark(ctx, handler, all)
	}
	return errorOf("forget the view", err)
}

// drop removes the collections that are named. Nobody reads them any more.
func (db *DB) drop(ctx context.Context, named func(collection string, in space) bool) error {
	names, err := db.db.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		return err
	}
	for _, name := range names {
		if collection, in, ok := split(name); !ok || !named(collection, in) {
			continue
		}
		if err := db.db.Collection(name).Drop(ctx); err != nil {
			return err
		}
	}
	return nil
}

// standing is a view that is complete, and since when: the marks there are, and what they were built up to. As long as
// it is the same, the view has been complete all the time.
type standing struct {
	in    space
	since string
}

// whole is the build of a view that is complete in all of its partitions; none if it is not.
func (db *DB) whole(
	ctx context.Context, handler string, topic bank.Topic, partitions int,
) (is standing, err error) {
	for range 2 { // what is read while another build takes the place may be of neither
		if is, err = db.wholeNow(ctx, handler, topic, partitions); err != nil || is.in.incarnation != "" {
			break
		}
	}
	return is, err
}

func (db *DB) wholeNow(
	ctx context.Context, handler string, topic bank.Topic, partitions int,
) (is standing, err error) {
	found, err := db.db.Collection(marks).Find(ctx, bson.D{{Key: "handler", Value: handler}})
	if err != nil {
		return is, err
	}
	var all []markDocument
	if err := found.All(ctx, &all); err != nil {
		return is, err
	}
	for i := range all {
		if all[i].ID == handler {
			is.in.build = all[i].Build
		}
	}
	var since []string
	for i := range all {
		d := &all[i]
		if d.Topic != string(topic) || d.Build != is.in.build {
			continue
		}
		if since == nil {
			is.in.incarnation = d.Incarnation
		}
		if m := d.mark(); !m.Complete() || spaceOf(m) != is.in {
			return standing{}, nil
		}
		since = append(since, fmt.Sprint(d.ID, " ", d.Since.Hex(), " ", d.Target))
	}
	if len(since) != partitions {
		return standing{}, nil
	}
	slices.Sort(since)
	is.since = strings.Join(since, "\n")
	return is, nil
}
