package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

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

// viewTable is a table of a view, and what its rows are told apart by; the first of them says what a row is about.
type viewTable struct {
	name string
	key  []string
}

// allViews are those of the schema. Every table there that is derived from the log belongs to one of them.
var allViews = []view{
	{
		app.BalancesHandler, bank.AccountsTopic,
		func(v *Views) handlers.Func { return projection.Balances(v) },
		[]viewTable{{"account", []string{"id"}}, {"account_details", []string{"account"}}},
	},
	{
		app.HistoryHandler, bank.AccountsTopic,
		func(v *Views) handlers.Func { return history.Entries(v) },
		[]viewTable{{"entry", []string{"account", "version"}}, {"hold", []string{"id"}}},
	},
	{
		app.TransactionsHandler, bank.TransactionsTopic,
		func(v *Views) handlers.Func { return history.Transactions(v) },
		[]viewTable{{"txn", []string{"id"}}},
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

// Partitions says which partition of a topic has a key. The log as its own broker has one, 0.
type Partitions func(topic bank.Topic, key string) int

// place is where a view stands in the log.
type place struct {
	*view
	of     Partitions
	at     map[int]router.Checkpoint    // by partition
	parked map[string]handlers.Position // by key, from where on its messages wait
}

// places are where the views with these names stand in a schema.
func places(ctx context.Context, q querier, schema string, names []string, of Partitions) ([]place, error) {
	out := make([]place, 0, len(names))
	for _, name := range names {
		i := slices.IndexFunc(allViews, func(v view) bool { return v.handler == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no view %q; there are %s", name, strings.Join(ViewNames(), ", "))
		}
		p := place{view: &allViews[i], of: of, at: map[int]router.Checkpoint{}}
		if err := p.read(ctx, q, schema); err != nil {
			return nil, fmt.Errorf("where view %s stands: %w", name, err)
		}
		out = append(out, p)
	}
	return out, nil
}

func (p *place) read(ctx context.Context, q querier, schema string) error {
	err := each(ctx, q, func(scan func(...any) error) error {
		var partition int
		var c router.Checkpoint
		var offset int64
		err := scan(&partition, &c.Incarnation, &offset)
		c.Position = handlers.PositionAt(offset)
		if c.Incarnation != "" {
			p.at[partition] = c
		}
		if partition != 0 && p.of == nil {
			return errors.New("it is kept by a broker with partitions, and nothing says which key is in which")
		}
		return err
	}, `SELECT partition, incarnation, position FROM `+schema+`.checkpoint WHERE handler = $1 AND topic = $2`,
		p.handler, string(p.topic))
	if err != nil {
		return err
	}
	p.parked, err = waiting(ctx, q, schema, p.handler)
	return err
}

// has reports whether a view that stands at p has taken the message in.
func (p *place) has(f *handlers.Fact) bool {
	at, key, partition := f.Position(), f.Key(), 0
	if p.of != nil {
		partition = p.of(p.topic, key)
	}
	if from, parked := p.parked[key]; parked && !at.Before(from) {
		return false
	}
	return !p.at[partition].Position.Before(at)
}

// last is the last event that the view has something of.
func (p *place) last() (seq bank.Seq) {
	for _, c := range p.at {
		seq = max(seq, c.Position.Seq)
	}
	return seq
}

// since is an event up to which a view that stands at p has all that it has at now, too.
func (p *place) since(now *place) bank.Seq {
	since := now.last()
	for partition := range now.at {
		since = min(since, p.at[partition].Position.Whole())
	}
	for _, from := range p.parked {
		since = min(since, max(from.Seq, 1)-1)
	}
	return since
}

// builder builds views in a schema of their own, beside those that are in use.
type builder struct {
	source      router.Source
	incarnation string
	beside      *Schema // what is in use
	s           *Schema
	views       *Views
}

// newBuilder makes an empty schema. What is only compared needs neither indexes nor to survive a crash.
func newBuilder(ctx context.Context, beside *Schema, source router.Source, throwaway bool) (b *builder, err error) {
	head, err := source.Head(ctx)
	if err != nil {
		return nil, err
	}
	c := beside.pool.Config().Copy()
	name := beside.name + "_" + strings.ToLower(rand.Text()[:10])
	c.ConnConfig.RuntimeParams["search_path"] = name
	c.MaxConns = 2
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, err
	}
	b = &builder{source: source, incarnation: head.Incarnation, beside: beside}
	b.s = &Schema{name: name, kind: viewsSchema, pool: pool}
	b.views = &Views{b.s}
	err = b.s.migrate(ctx, false)
	if err == nil && throwaway {
		err = b.lighten(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, b.close(context.WithoutCancel(ctx)))
	}
	return b, nil
}

// lighten takes off what costs time.
func (b *builder) lighten(ctx context.Context) error {
	var drop []string
	err := each(ctx, b.s.pool, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		drop = append(drop, `DROP INDEX `+pgx.Identifier{name}.Sanitize())
		return err
	}, `SELECT i.relname FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid
		WHERE i.relnamespace = $1::regnamespace AND NOT x.indisunique`, b.s.name)
	if err != nil {
		return err
	}
	for i := range allViews {
		for _, t := range allViews[i].tables {
			drop = append(drop, `ALTER TABLE `+t.name+` SET UNLOGGED`)
		}
	}
	for _, statement := range drop {
		if _, err := b.s.pool.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// close forgets what was built.
func (b *builder) close(ctx context.Context) error {
	_, err := b.s.pool.Exec(ctx, `DROP SCHEMA IF EXISTS `+b.s.name+` CASCADE`)
	b.s.pool.Close()
	return err
}

// buildPage is how many events go into one transaction.
const buildPage = 2000

// run gives the views what wanted says of the events behind after, up to until; in the transaction that ctx carries, or
// else in one for each page.
func (b *builder) run(
	ctx context.Context, of []place, after, until bank.Seq, wanted func(p int, f *handlers.Fact) bool,
) error {
	for after < until {
		events, err := b.source.Read(ctx, after, int(min(buildPage, until-after)))
		if err != nil {
			return err
		}
		if len(events) == 0 {
			return fmt.Errorf("the log ends at event %d, before event %d", after, until)
		}
		take := func(ctx context.Context) error { return b.take(ctx, of, events, wanted) }
		if _, noTx := b.s.tx(ctx); noTx != nil {
			err = b.s.InTx(ctx, take)
		} else {
			err = take(ctx)
		}
		if err != nil {
			return fmt.Errorf("events %d to %d: %w", after+1, events[len(events)-1].Seq, err)
		}
		after = events[len(events)-1].Seq
	}
	return nil
}

func (b *builder) take(
	ctx context.Context, of []place, events []app.Recorded, wanted func(p int, f *handlers.Fact) bool,
) error {
	all := map[bank.Topic][]handlers.Fact{}
	for i := range events {
		e := &events[i]
		for _, c := range e.Changes() {
			all[c.Topic()] = append(all[c.Topic()], router.FactOf(c, &e.Meta, b.incarnation))
		}
	}
	for i := range of {
		p := &of[i]
		facts := make([]handlers.Fact, 0, len(all[p.topic]))
		for _, f := range all[p.topic] {
			if wanted(i, &f) {
				facts = append(facts, f)
			}
		}
		if err := p.handle(b.views)(ctx, facts); err != nil {
			return fmt.Errorf("view %s: %w", p.handler, err)
		}
	}
	return nil
}

// standing builds what views that stand at these places must be.
func (b *builder) standing(ctx context.Context, at []place) error {
	var until bank.Seq
	for i := range at {
		until = max(until, at[i].last())
	}
	return b.run(ctx, at, 0, until, func(p int, f *handlers.Fact) bool { return at[p].has(f) })
}

// follow goes on from where the views were to where they are now.
func (b *builder) follow(ctx context.Context, was, now []place) error {
	from, until := ^bank.Seq(0), bank.Seq(0)
	for i := range now {
		until = max(until, now[i].last())
		from = min(from, was[i].since(&now[i]))
	}
	return b.run(ctx, now, from, until, func(p int, f *handlers.Fact) bool { return now[p].has(f) && !was[p].has(f) })
}
