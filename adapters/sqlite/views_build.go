package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/history"
	"bankforge/handlers/projection"
	"bankforge/router"
)

// view is what one handler keeps: it can be built anew from the log by the same handler.
type view struct {
	handler string
	topic   bank.Topic
	handle  func(*Views) handlers.Func
	tables  []viewTable
}

// viewTable is a table of a view, what its rows are told apart by, and the column that says what a row is about.
type viewTable struct {
	name    string
	key     []string
	subject string
	data    func() packed // what is packed into its column data; nil: it has none
	notes   string        // the table that tells newer columns of it; "": none
	noted   func() packed
}

// allViews are those of views.db. Every table there that is derived from the log belongs to one of them.
var allViews = []view{
	{
		app.BalancesHandler, bank.AccountsTopic,
		func(v *Views) handlers.Func { return projection.Balances(v) },
		[]viewTable{
			{
				name: "account", key: []string{"id"}, subject: "id",
				notes: "account_note", noted: func() packed { return &accountRow{} },
			},
			{name: "account_details", key: []string{"account"}, subject: "account"},
		},
	},
	{
		app.HistoryHandler, bank.AccountsTopic,
		func(v *Views) handlers.Func { return history.Entries(v) },
		[]viewTable{
			{name: "entry", key: []string{"slot"}, subject: "account", data: func() packed { return &packedEntry{} }},
			{
				name: "entry_end", key: []string{"account"}, subject: "account",
				notes: "entry_end_note", noted: func() packed { return &endRow{} },
			},
			{name: "hold", key: []string{"id"}, subject: "id"},
		},
	},
	{
		app.TransactionsHandler, bank.TransactionsTopic,
		func(v *Views) handlers.Func { return history.Transactions(v) },
		[]viewTable{
			{name: "txn", key: []string{"seq"}, subject: "id", data: func() packed { return &packedTransaction{} }},
			{name: "txn_index", key: []string{"slot"}, subject: "slot"},
		},
	},
}

// ViewNames are the names of the views: those of their handlers.
func ViewNames() []string {
	names := make([]string, len(allViews))
	for i := range allViews {
		names[i] = allViews[i].handler
	}
	return names
}

func (v *view) stream() router.Stream { return router.Stream{Handler: v.handler, Topic: v.topic} }

// place is where a view stands in the log.
type place struct {
	*view
	router.Checkpoint
	parked map[string]handlers.Position // by key, from where on its messages wait
}

// placeOf reads where the view stands in db.
func (v *view) placeOf(ctx context.Context, db *DB) (p place, err error) {
	p = place{view: v}
	if p.Checkpoint, err = NewHandlerStore(db).Checkpoint(ctx, v.stream()); err != nil {
		return p, err
	}
	p.parked, err = NewHandlerStore(db).ParkedFrom(ctx, v.handler)
	return p, err
}

// has reports whether a view that stands at p has taken the message in.
func (p *place) has(f *handlers.Fact) bool {
	at := f.Position()
	if from, parked := p.parked[f.Key()]; parked && !at.Before(from) {
		return false
	}
	return !p.Position.Before(at)
}

// builder builds views in a file of their own.
type builder struct {
	source      router.Source
	incarnation string
	db          *DB
	views       *Views
	remove      func() error
}

// newBuilder makes an empty file in a directory of its own within dir.
func newBuilder(ctx context.Context, source router.Source, dir string) (b *builder, err error) {
	head, err := source.Head(ctx)
	if err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp(dir, "views-*.new")
	if err != nil {
		return nil, err
	}
	b = &builder{source: source, incarnation: head.Incarnation, remove: func() error { return os.RemoveAll(scratch) }}
	if b.db, err = Open(ctx, filepath.Join(scratch, "views.db"), ViewsFile); err != nil {
		return nil, errors.Join(err, b.remove())
	}
	// Nobody lists what is only built: without the indexes it takes half the time.
	err = b.db.InTx(ctx, func(ctx context.Context) error {
		for i := range allViews {
			if _, err := allViews[i].dropIndexes(ctx, b.db); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		b.views, err = NewViews(ctx, b.db)
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// dropIndexes drops the indexes of the view, and returns the statements that make them again.
func (v *view) dropIndexes(ctx context.Context, db *DB) (again []string, err error) {
	tx, err := db.tx(ctx)
	if err != nil {
		return nil, err
	}
	var drop []string
	for _, t := range v.tables {
		rows, err := tx.QueryContext(ctx, `SELECT name, sql FROM main.sqlite_schema
			WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL`, t.name)
		if err != nil {
			return nil, err
		}
		err = eachRow(rows, func(scan func(...any) error) error {
			var name, create string
			err := scan(&name, &create)
			drop, again = append(drop, "DROP INDEX main."+name), append(again, create)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return again, execAll(ctx, tx, drop)
}

func execAll(ctx context.Context, tx *sql.Tx, statements []string) error {
	for _, s := range statements {
		if _, err := tx.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// close forgets what was built.
func (b *builder) close() error { return errors.Join(b.db.Close(), b.remove()) }

// buildPage is how many events go into one transaction at most: those of a segment, so that each page of it is written
// once.
const buildPage = 1 << segmentBits

// run gives the views what wanted says of the events behind after, up to until.
func (b *builder) run(
	ctx context.Context, of []place, after, until bank.Seq, wanted func(*place, *handlers.Fact) bool,
) error {
	for after < until {
		events, err := b.source.Read(ctx, after, int(min(buildPage-after%buildPage, until-after)))
		if err != nil {
			return err
		}
		if len(events) == 0 {
			return fmt.Errorf("the log ends at event %d, before event %d", after, until)
		}
		if err := b.take(ctx, of, events, wanted); err != nil {
			return fmt.Errorf("events %d to %d: %w", after+1, events[len(events)-1].Seq, err)
		}
		after = events[len(events)-1].Seq
	}
	return nil
}

func (b *builder) take(
	ctx context.Context, of []place, events []app.Recorded, wanted func(*place, *handlers.Fact) bool,
) error {
	all := map[bank.Topic][]handlers.Fact{}
	for i := range events {
		e := &events[i]
		for _, c := range e.Changes() {
			all[c.Topic()] = append(all[c.Topic()], router.FactOf(c, &e.Meta, b.incarnation))
		}
	}
	return b.db.InTx(ctx, func(ctx context.Context) error {
		for i := range of {
			p := &of[i]
			facts := make([]handlers.Fact, 0, len(all[p.topic]))
			for _, f := range all[p.topic] {
				if wanted(p, &f) {
					facts = append(facts, f)
				}
			}
			if err := p.handle(b.views)(handlers.WithMore(ctx), facts); err != nil {
				return fmt.Errorf("view %s: %w", p.handler, err)
			}
		}
		return nil
	})
}

// standing builds what views that stand at these places must be.
func (b *builder) standing(ctx context.Context, at []place) error {
	var until bank.Seq
	for i := range at {
		until = max(until, at[i].Position.Seq)
	}
	return b.run(ctx, at, 0, until, (*place).has)
}

// finish goes on from these places to the end of the log, also with what is parked there.
func (b *builder) finish(ctx context.Context, at []place, end bank.Seq) error {
	from := end
	for i := range at {
		from = min(from, at[i].Position.Whole())
		for _, p := range at[i].parked {
			from = min(from, p.Seq-1)
		}
	}
	return b.run(ctx, at, from, end, func(p *place, f *handlers.Fact) bool { return !p.has(f) })
}

// places are where the views with these names stand in db.
func places(ctx context.Context, db *DB, names []string) ([]place, error) {
	out := make([]place, 0, len(names))
	for _, name := range names {
		i := slices.IndexFunc(allViews, func(v view) bool { return v.handler == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no view %q; there are %s", name, strings.Join(ViewNames(), ", "))
		}
		p, err := allViews[i].placeOf(ctx, db)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}
