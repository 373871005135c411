package mongo

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// markDocument is the mark of one stream.
type markDocument struct {
	ID          string `bson:"_id"`
	Handler     string `bson:"handler"`
	Topic       string `bson:"topic"`
	Partition   int64  `bson:"partition"`
	Incarnation string `bson:"incarnation"`
	Position    int64  `bson:"position"`
	Target      int64  `bson:"target"`
}

func (d *markDocument) mark() router.Mark {
	return router.Mark{
		Checkpoint: router.Checkpoint{Incarnation: d.Incarnation, Position: handlers.PositionAt(d.Position)},
		Target:     handlers.PositionAt(d.Target),
	}
}

func markOf(s router.Stream, m router.Mark) markDocument {
	return markDocument{
		ID:      fmt.Sprintf("%s/%s/%d", s.Handler, s.Topic, s.Partition),
		Handler: s.Handler, Topic: string(s.Topic), Partition: int64(s.Partition), Incarnation: m.Incarnation,
		Position: m.Position.Offset(), Target: m.Target.Offset(),
	}
}

// Mark implements router.Marks.
func (v *View) Mark(ctx context.Context, s router.Stream) (router.Mark, error) {
	var d markDocument
	err := v.db.db.Collection(marks).FindOne(ctx, bson.D{{Key: "_id", Value: markOf(s, router.Mark{}).ID}}).Decode(&d)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return router.Mark{}, nil
	}
	if err != nil {
		return router.Mark{}, errorOf("read a mark", err)
	}
	return d.mark(), nil
}

// Move implements router.Marks. With the first mark of another incarnation, what the earlier ones have left is dropped.
func (v *View) Move(ctx context.Context, s router.Stream, seen, next router.Mark) error {
	if seen.Incarnation != next.Incarnation {
		v.db.forget(next.Incarnation) // it may have been lost with the mark
		if err := v.db.prepare(ctx, next.Incarnation); err != nil {
			return errorOf("make indexes", err)
		}
	}
	if err := v.db.move(ctx, s, seen, next); err != nil {
		return errorOf("move a mark", err)
	}
	v.ends.moved(s, seen, next)
	if seen.Incarnation != "" && seen.Incarnation != next.Incarnation {
		return errorOf("drop another incarnation", v.db.drop(ctx, next.Incarnation))
	}
	return nil
}

func (db *DB) move(ctx context.Context, s router.Stream, seen, next router.Mark) error {
	now := markOf(s, next)
	if seen == (router.Mark{}) {
		_, err := db.db.Collection(marks).InsertOne(ctx, now)
		if mongo.IsDuplicateKeyError(err) {
			return router.ErrMoved
		}
		return err
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

// drop removes what belongs to other incarnations. Nobody reads it any more.
func (db *DB) drop(ctx context.Context, but string) error {
	names, err := db.db.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		return err
	}
	for _, name := range names {
		collection, incarnation, ok := strings.Cut(name, "-")
		if _, ours := indexes[collection]; !ok || !ours || incarnation == but {
			continue
		}
		if err := db.db.Collection(name).Drop(ctx); err != nil {
			return err
		}
	}
	return nil
}

// whole is the incarnation of a view that is complete in all of its partitions; "" if it is not.
func (db *DB) whole(ctx context.Context, handler string, topic bank.Topic, partitions int) (string, error) {
	found, err := db.db.Collection(marks).Find(ctx, bson.D{{Key: "handler", Value: handler}})
	if err != nil {
		return "", err
	}
	var all []markDocument
	if err := found.All(ctx, &all); err != nil {
		return "", err
	}
	var incarnation string
	n := 0
	for i := range all {
		d := &all[i]
		if d.Topic != string(topic) {
			continue
		}
		if n++; n == 1 {
			incarnation = d.Incarnation
		}
		if m := d.mark(); !m.Complete() || m.Incarnation != incarnation {
			return "", nil
		}
	}
	if n != partitions {
		return "", nil
	}
	return incarnation, nil
}
