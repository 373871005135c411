package mongo

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"bankforge/app"
)

// version is a pointer to a document that is one version of something.
type version[D any] interface {
	*D
	place() place
}

// list is a page of things of which the newest version is what the filter says. There is one document for each version:
// those that the filter selects are read in order, and of them those count that no later version has replaced.
type list[D any, P version[D]] struct {
	in       *mongo.Collection
	page     app.Page
	time, id string // the fields that the list is ordered by
	filter   bson.D
	more     bson.A // tags but for the first one
}

// tagged selects documents with a tag. The empty text selects all.
func (l *list[D, P]) tagged(kind, text string) {
	is := bson.E{Key: "tags", Value: kind + text}
	switch {
	case text == "":
	case len(l.filter) == 0:
		l.filter = append(l.filter, is)
	default:
		l.more = append(l.more, bson.D{is})
	}
}

// equal selects documents in which a field has a value. The empty one selects all.
func (l *list[D, P]) equal(field, value string) {
	if value != "" {
		l.filter = append(l.filter, bson.E{Key: field, Value: value})
	}
}

func (l *list[D, P]) is(field string, value int32) {
	if value != 0 {
		l.filter = append(l.filter, bson.E{Key: field, Value: value})
	}
}

// rows reads the page.
func rows[D any, P version[D], T any](ctx context.Context, l *list[D, P], row func(P) (T, error)) (out []T, err error) {
	var behind *place
	for {
		documents, err := l.read(ctx, behind)
		if err != nil || len(documents) == 0 {
			return out, err
		}
		newest, err := l.newest(ctx, documents)
		if err != nil {
			return nil, err
		}
		for i := range documents {
			p := P(&documents[i])
			if at := p.place(); at.version != newest[at.id] {
				continue
			}
			r, err := row(p)
			if err != nil {
				return nil, err
			}
			if out = append(out, r); len(out) == l.page.Limit {
				return out, nil
			}
		}
		if len(documents) < l.atOnce() {
			return out, nil
		}
		last := P(&documents[len(documents)-1]).place()
		behind = &last
	}
}

// atOnce is how many documents are read at once: a page, and some that may have been replaced.
func (l *list[D, P]) atOnce() int { return min(l.page.Limit, 1000) + 8 }

// read returns the documents that follow: behind the page's place, or behind the version that was read last.
func (l *list[D, P]) read(ctx context.Context, behind *place) (out []D, err error) {
	direction, beyond := -1, "$lt"
	if l.page.Ascending {
		direction, beyond = 1, "$gt"
	}
	filter := append(bson.D{}, l.filter...)
	if len(l.more) > 0 {
		filter = append(filter, bson.E{Key: "$and", Value: l.more})
	}
	if r := between(l.page.From, l.page.To); r != nil {
		filter = append(filter, bson.E{Key: l.time, Value: r})
	}
	is := func(field string, value any) bson.E { return bson.E{Key: field, Value: value} }
	past := func(field string, value any) bson.E {
		return bson.E{Key: field, Value: bson.D{{Key: beyond, Value: value}}}
	}
	switch {
	case behind != nil:
		filter = append(filter, bson.E{Key: "$or", Value: bson.A{
			bson.D{past(l.time, behind.at)},
			bson.D{is(l.time, behind.at), past(l.id, behind.id)},
			bson.D{is(l.time, behind.at), is(l.id, behind.id), past("version", behind.version)},
		}})
	case l.page.AfterTime != 0 || l.page.AfterID != "":
		filter = append(filter, bson.E{Key: "$or", Value: bson.A{
			bson.D{past(l.time, int64(l.page.AfterTime))},
			bson.D{is(l.time, int64(l.page.AfterTime)), past(l.id, l.page.AfterID)},
		}})
	}
	cursor, err := l.in.Find(ctx, filter, options.Find().SetLimit(int64(l.atOnce())).SetSort(bson.D{
		{Key: l.time, Value: direction}, {Key: l.id, Value: direction}, {Key: "version", Value: direction},
	}))
	if err == nil {
		err = cursor.All(ctx, &out)
	}
	return out, err
}

// newest are the newest versions of what the documents are versions of. Most things never have a second one; so only
// later ones are looked for, which also servers find soon that have no index for lists of ids.
func (l *list[D, P]) newest(ctx context.Context, documents []D) (map[string]int64, error) {
	ids := make(bson.A, 0, len(documents))
	out := make(map[string]int64, len(documents))
	for i := range documents {
		p := P(&documents[i]).place()
		ids, out[p.id] = append(ids, p.id), max(out[p.id], p.version)
	}
	cursor, err := l.in.Find(ctx,
		bson.D{{Key: l.id, Value: bson.D{{Key: "$in", Value: ids}}}, {Key: "later", Value: true}},
		options.Find().SetProjection(bson.D{{Key: "_id", Value: 0}, {Key: l.id, Value: 1}, {Key: "version", Value: 1}}))
	if err != nil {
		return nil, err
	}
	var all []bson.M
	if err := cursor.All(ctx, &all); err != nil {
		return nil, err
	}
	for _, d := range all {
		id, _ := d[l.id].(string)
		v, _ := d["version"].(int64)
		out[id] = max(out[id], v)
	}
	return out, nil
}
