package mongo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"bankforge/app/bank"
	"bankforge/router/rebuild"
)

// Compare implements rebuild.Build: both are read in the order of their ids, side by side.
func (b *beside) Compare(ctx context.Context, d *rebuild.Differences) (map[string]bank.Version, error) {
	used, err := b.used(ctx)
	further := map[string]bank.Version{}
	for _, collection := range keptBy(b.handler()) {
		if err != nil {
			break
		}
		c := comparison{d: d, collection: collection, ahead: func(doc bson.M) {
			b.ahead[collection] = append(b.ahead[collection], doc)
			further[keyOf(collection, doc)] = ^bank.Version(0)
		}}
		err = c.run(ctx, b.db.of(collection, used), b.db.of(collection, spaceOf(b.mark)))
	}
	return further, errorOf("compare", err)
}

// used is what is in use of the build's incarnation.
func (b *beside) used(ctx context.Context) (space, error) {
	build, err := b.db.current(ctx, b.handler())
	return space{b.mark.Incarnation, build}, err
}

// keyOf is by what the facts are ordered that made a document.
func keyOf(collection string, doc bson.M) string {
	if collection == transactions {
		return fmt.Sprint(doc["transaction"])
	}
	return fmt.Sprint(doc["account"])
}

// Again implements rebuild.Build. The build has every version of everything by now.
func (b *beside) Again(ctx context.Context, d *rebuild.Differences) error {
	for collection, all := range b.ahead {
		in := b.db.of(collection, spaceOf(b.mark))
		for _, got := range all {
			var want bson.M
			err := in.FindOne(ctx, bson.D{{Key: "_id", Value: got["_id"]}}).Decode(&want)
			switch {
			case errors.Is(err, mongo.ErrNoDocuments):
				id, version := partsOf(got)
				d.Add(id, fmt.Sprintf("%s, version %d is not in the log", collection, version))
			case err != nil:
				return errorOf("compare", err)
			default:
				differ(d, collection, got, want)
			}
		}
	}
	clear(b.ahead)
	return nil
}

// comparison is of one collection. Of entries, each must be there. Of holds and transactions the newest version must,
// or a later one; earlier ones are not read any more, and need not be.
type comparison struct {
	d          *rebuild.Differences
	collection string
	ahead      func(bson.M)
	missing    bson.M // the newest one so far of those that have the same id
}

func (c *comparison) run(ctx context.Context, used, built *mongo.Collection) (err error) {
	var sides [2]cursorSide
	for i, in := range []*mongo.Collection{used, built} {
		if sides[i].cursor, err = inOrder(ctx, in); err != nil {
			return err
		}
		defer sides[i].cursor.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it was only read
		if err := sides[i].next(ctx); err != nil {
			return err
		}
	}
	got, want := &sides[0], &sides[1]
	for got.doc != nil || want.doc != nil {
		order := strings.Compare(got.id, want.id)
		switch {
		case want.doc == nil || got.doc != nil && order < 0:
			c.there(got.doc)
			c.ahead(got.doc)
			err = got.next(ctx)
		case got.doc == nil || order > 0:
			c.lacks(want.doc)
			err = want.next(ctx)
		default:
			c.there(got.doc)
			differ(c.d, c.collection, got.doc, want.doc)
			if err = got.next(ctx); err == nil {
				err = want.next(ctx)
			}
		}
		if err != nil {
			return err
		}
	}
	c.there(nil)
	return nil
}

// inOrder reads all documents of a collection by their ids.
func inOrder(ctx context.Context, in *mongo.Collection) (*mongo.Cursor, error) {
	return in.Find(ctx, bson.D{}, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
}

// cursorSide is one of the two that are compared.
type cursorSide struct {
	cursor *mongo.Cursor
	id     string
	doc    bson.M // nil: that was all
}

func (s *cursorSide) next(ctx context.Context) error {
	s.doc, s.id = nil, ""
	if !s.cursor.Next(ctx) {
		return s.cursor.Err()
	}
	err := s.cursor.Decode(&s.doc)
	s.id = fmt.Sprint(s.doc["_id"])
	return err
}

// lacks notes that a document is not there.
func (c *comparison) lacks(doc bson.M) {
	c.there(doc)
	c.missing = doc
	if c.collection == entries {
		c.there(nil)
	}
}

// there is called with what is there, in the order of the ids: it says whether what was missing before it matters.
func (c *comparison) there(doc bson.M) {
	if c.missing == nil {
		return
	}
	id, version := partsOf(c.missing)
	c.missing = nil
	if doc != nil {
		if same, _ := partsOf(doc); same == id {
			return
		}
	}
	c.d.Add(id, fmt.Sprintf("%s, version %d is missing", c.collection, version))
}

// partsOf are what a document is a version of, and which one.
func partsOf(doc bson.M) (id string, version bank.Version) {
	id, text, _ := strings.Cut(fmt.Sprint(doc["_id"]), "/")
	n, _ := strconv.ParseUint(text, 16, 64)
	return id, bank.Version(n)
}

// differ tells in what a document is not what it should be.
func differ(d *rebuild.Differences, collection string, got, want bson.M) {
	id, version := partsOf(want)
	is, should := cells(got), cells(want)
	names := slices.Sorted(maps.Keys(should))
	for name := range is {
		if _, ok := should[name]; !ok {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if is[name] != should[name] {
			d.Add(id, fmt.Sprintf("%s, version %d: %s is %s instead of %s",
				collection, version, name, orNothing(is[name]), orNothing(should[name])))
		}
	}
}

func orNothing(text string) string {
	if text == "" {
		return "nothing"
	}
	return text
}

// cells are the fields of a document, and in the place of its data, what that says.
func cells(doc bson.M) map[string]string {
	out := make(map[string]string, len(doc))
	for name, value := range doc {
		var data map[string]json.RawMessage
		text, ok := value.(string)
		if name != "data" || !ok || json.Unmarshal([]byte(text), &data) != nil {
			out[name] = fmt.Sprint(value)
			continue
		}
		for part, v := range data {
			out["data."+part] = string(v)
		}
	}
	return out
}
