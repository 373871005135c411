package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bankforge/adapters/sqlite"
	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/history"
	"bankforge/handlers/projection"
	"bankforge/router"
)

// log is a log in memory.
type log struct {
	events      []app.Recorded
	incarnation string
	broken      error
}

func newLog(seed uint64, commands int) *log {
	events := apptest.RandomHistory(rand.New(rand.NewPCG(seed, 7)).IntN, commands)
	return &log{events: events, incarnation: "first"}
}

func (l *log) Read(_ context.Context, after bank.Seq, limit int) ([]app.Recorded, error) {
	if l.broken != nil {
		return nil, l.broken
	}
	return l.events[after:min(int(after)+limit, len(l.events))], nil
}

func (l *log) Head(context.Context) (app.Head, error) {
	return app.Head{Incarnation: l.incarnation, Seq: bank.Seq(len(l.events))}, nil
}

// handled is what keeps a view, as in router.Routes.
type handled struct {
	router.Stream
	handle handlers.Func
}

func all(v *sqlite.Views) []handled {
	return []handled{
		{router.Stream{Handler: app.BalancesHandler, Topic: bank.AccountsTopic}, projection.Balances(v)},
		{router.Stream{Handler: app.HistoryHandler, Topic: bank.AccountsTopic}, history.Entries(v)},
		{router.Stream{Handler: app.TransactionsHandler, Topic: bank.TransactionsTopic}, history.Transactions(v)},
	}
}

// deliver gives a handler what is behind its checkpoint up to the position, but for keys that are parked: those
// of park, which are parked now, and earlier ones.
func deliver(t *testing.T, db *sqlite.DB, l *log, h handled, until handlers.Position, park ...string) {
	t.Helper()
	if err := feed(t.Context(), db, l, h, until, park...); err != nil {
		t.Fatal(err)
	}
}

func feed(ctx context.Context, db *sqlite.DB, l *log, h handled, until handlers.Position, park ...string) error {
	s := sqlite.NewHandlerStore(db)
	return s.InTx(ctx, func(ctx context.Context) error {
		at, err := s.Checkpoint(ctx, h.Stream)
		if err != nil {
			return err
		}
		var facts []handlers.Fact
		for _, told := range apptest.Tell(h.Topic, l.events) {
			f := handlers.Fact{Change: told.Change, Incarnation: l.incarnation, IdempotencyKey: told.Meta.IdempotencyKey}
			if !at.Position.Before(f.Position()) || until.Before(f.Position()) {
				continue
			}
			blocked, err := s.Blocked(ctx, h.Handler, []string{f.Key()})
			if err != nil {
				return err
			}
			if len(blocked) == 0 && !slices.Contains(park, f.Key()) {
				facts = append(facts, f)
				continue
			}
			_, err = s.Park(ctx, router.Parked{
				Stream: h.Stream, Key: f.Key(), Incarnation: l.incarnation, Position: f.Position(), Status: router.Waiting,
			}, nil)
			if err != nil {
				return err
			}
		}
		if err := h.handle(ctx, facts); err != nil {
			return err
		}
		return s.Advance(ctx, h.Stream, router.Checkpoint{Incarnation: l.incarnation, Position: until})
	})
}

// kept are views that have everything that is in the log.
func kept(t *testing.T, l *log) (*sqlite.DB, *sqlite.Views) {
	t.Helper()
	db, v := openViews(t)
	for _, h := range all(v) {
		deliver(t, db, l, h, handlers.End(bank.Seq(len(l.events))))
	}
	return db, v
}

func check(t *testing.T, db *sqlite.DB, l *log) []app.Difference {
	t.Helper()
	found, err := sqlite.NewViewsCheck(db, l, t.TempDir()).Compare(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func rebuild(t *testing.T, db *sqlite.DB, l *log, names ...string) sqlite.Rebuilt {
	t.Helper()
	r, err := sqlite.RebuildViews(t.Context(), db, l, t.TempDir(), names)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// exec changes views.db behind everybody's back.
func exec(t *testing.T, db *sqlite.DB, query string, args ...any) {
	t.Helper()
	err := db.InTx(t.Context(), func(ctx context.Context) error { return db.Tamper(ctx, query, args...) })
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func TestCheckFindsNothingWrongInGoodViews(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		l := newLog(seed, 300)
		db, _ := kept(t, l)
		if found := check(t, db, l); len(found) > 0 {
			t.Errorf("seed %d: %v", seed, found)
		}
	}
	db, _ := openViews(t)
	if found := check(t, db, newLog(1, 50)); len(found) > 0 {
		t.Errorf("views that have seen nothing: %v", found)
	}
}

// Views may be behind, each at another place, in the middle of an event too, and with keys that are parked.
func TestCheckKnowsWhereViewsStand(t *testing.T) {
	t.Parallel()
	l := newLog(5, 300)
	db, v := openViews(t)
	n := bank.Seq(len(l.events))
	busy := apptest.Tell(bank.AccountsTopic, l.events)[0].Key() // cash
	for i, h := range all(v) {
		deliver(t, db, l, h, handlers.Position{Seq: n/3 + bank.Seq(i)*10, N: 0})
		deliver(t, db, l, h, handlers.Position{Seq: n/2 + bank.Seq(i)*10, N: 1}, busy)
		deliver(t, db, l, h, handlers.End(n-bank.Seq(i)*10))
	}
	if found := check(t, db, l); len(found) > 0 {
		t.Fatal(found)
	}
	r := rebuild(t, db, l, sqlite.ViewNames()...)
	if len(r.Differences) > 0 || r.Through != n || r.Parked != 2 {
		t.Fatalf("rebuilt %+v", r)
	}
	if found := check(t, db, l); len(found) > 0 {
		t.Fatal(found)
	}
	s := sqlite.NewHandlerStore(db)
	for _, h := range all(v) {
		blocked, err := s.Blocked(t.Context(), h.Handler, []string{busy})
		if err != nil || len(blocked) > 0 {
			t.Errorf("%s: %v is still parked, %v", h.Handler, blocked, err)
		}
		at, err := s.Checkpoint(t.Context(), h.Stream)
		if err != nil || at.Position != handlers.End(n) || at.Incarnation != l.incarnation {
			t.Errorf("%s stands at %+v, %v", h.Handler, at, err)
		}
	}
}

func isGap(err error) bool {
	_, ok := errors.AsType[*handlers.GapError](err)
	return ok
}

// In every table a row has all its cells changed, its key too, and is taken away.
func TestCheckFindsEveryChangedCell(t *testing.T) {
	t.Parallel()
	l := newLog(2, 80)
	db, _ := kept(t, l)
	for table, keys := range map[string][]string{
		"account": {"id"}, "account_details": {"account"}, "hold": {"id"},
		"entry": {"slot"}, "entry_end": {"account"},
		"txn": {"seq"}, "txn_index": {"slot"},
	} {
		columns, err := db.Columns(t.Context(), table)
		if err != nil || len(columns) == 0 {
			t.Fatalf("columns of %s: %v, %v", table, columns, err)
		}
		row := fmt.Sprintf(" WHERE (%[1]s) = (SELECT %[1]s FROM %[2]s ORDER BY %[3]s LIMIT 1)",
			strings.Join(keys, ", "), table, strings.Join(keys, " DESC, ")+" DESC")
		// after changes a table, checks, and mends it.
		after := func(statement string) []app.Difference {
			exec(t, db, "CREATE TABLE saved AS SELECT * FROM "+table)
			exec(t, db, statement)
			found := check(t, db, l)
			exec(t, db, "DELETE FROM "+table)
			exec(t, db, "INSERT INTO "+table+" SELECT * FROM saved")
			exec(t, db, "DROP TABLE saved")
			return found
		}
		var changes []string
		for column, kind := range columns {
			change := column + " = " + map[string]string{
				"INTEGER": column + " + 1", "TEXT": column + " || 'x'", "BLOB": "CAST(" + column + " || 'x' AS BLOB)",
			}[kind]
			if !slices.Contains(keys, column) {
				changes = append(changes, change)
				continue
			}
			found := fmt.Sprint(after("UPDATE " + table + " SET " + change + row))
			if strings.Count(found, "is missing") != 1 || strings.Count(found, "is not in the log") != 1 {
				t.Errorf("%s of %s was changed, found %s", column, table, found)
			}
		}
		if found := after("DELETE FROM " + table + row); len(found) != 1 || !strings.Contains(found[0].What, "is missing") {
			t.Errorf("a row of %s was taken away, found %v", table, found)
		}
		if len(changes) == 0 {
			continue
		}
		found := after("UPDATE " + table + " SET " + strings.Join(changes, ", ") + row)
		for column := range columns {
			is := func(d app.Difference) bool {
				return strings.Contains(d.What, table) && strings.Contains(d.What, ": "+column+" is ")
			}
			if slices.ContainsFunc(found, is) == slices.Contains(keys, column) {
				t.Errorf("all of a row of %s but %s was changed, found for %s %v", table, keys, column, found)
			}
		}
	}
	if found := check(t, db, l); len(found) > 0 {
		t.Fatalf("all is as it was, found %v", found)
	}
}

func TestRebuildMendsOnlyTheNamedView(t *testing.T) {
	t.Parallel()
	l := newLog(3, 300)
	db, v := kept(t, l)
	exec(t, db, "UPDATE account SET balance = balance + 1")
	exec(t, db, "UPDATE entry SET posted_at = posted_at + 1")
	exec(t, db, "DELETE FROM txn")
	r := rebuild(t, db, l, app.BalancesHandler)
	if len(r.Differences) == 0 || !strings.Contains(r.Differences[0].What, "account: balance is ") {
		t.Errorf("what was wrong: %v", r.Differences)
	}
	for _, d := range check(t, db, l) {
		if !strings.Contains(d.What, "entry") && !strings.Contains(d.What, "txn") {
			t.Fatalf("after the rebuild of balances: %v", d)
		}
	}
	r = rebuild(t, db, l, app.HistoryHandler, app.TransactionsHandler)
	if r.Omitted == 0 || len(r.Differences) != 100 {
		t.Errorf("%d told, %d omitted", len(r.Differences), r.Omitted)
	}
	if found := check(t, db, l); len(found) > 0 {
		t.Fatal(found)
	}
	fresh, _ := openViews(t)
	if got, want := db.Indexes(t), fresh.Indexes(t); !slices.Equal(got, want) {
		t.Errorf("the indexes are %v, not %v", got, want)
	}
	more := newLog(3, 330) // the same, and goes on
	for _, h := range all(v) {
		deliver(t, db, more, h, handlers.End(bank.Seq(len(more.events))))
	}
	if found := check(t, db, more); len(found) > 0 {
		t.Fatal(found)
	}
}

func TestRebuildAfterTheLogWasRestored(t *testing.T) {
	t.Parallel()
	l := newLog(3, 300)
	db, _ := kept(t, l)
	for what, restored := range map[string]*log{
		"another incarnation": {events: l.events[:100], incarnation: "second"},
		"a shorter log":       {events: l.events[:100], incarnation: l.incarnation},
	} {
		found := check(t, db, restored)
		if len(found) != len(sqlite.ViewNames()) {
			t.Errorf("%s: found %v", what, found)
		}
	}
	restored := &log{events: l.events[:100], incarnation: "second"}
	if r := rebuild(t, db, restored, sqlite.ViewNames()...); r.Through != 100 || len(r.Differences) == 0 {
		t.Errorf("rebuilt %+v", r)
	}
	if found := check(t, db, restored); len(found) > 0 {
		t.Fatal(found)
	}
}

func TestRebuildThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	l := newLog(3, 300)
	db, _ := kept(t, l)
	broken := &log{events: l.events, incarnation: l.incarnation, broken: errors.New("boom")}
	scratch := t.TempDir()
	_, err := sqlite.RebuildViews(t.Context(), db, broken, scratch, sqlite.ViewNames())
	if !errors.Is(err, broken.broken) {
		t.Fatalf("the error is %v", err)
	}
	gap := &log{events: slices.Clone(l.events), incarnation: l.incarnation}
	gap.events[len(gap.events)/2].Legs = nil
	_, err = sqlite.RebuildViews(t.Context(), db, gap, scratch, sqlite.ViewNames())
	if !isGap(err) {
		t.Fatalf("the error is %v", err)
	}
	if _, err := sqlite.RebuildViews(t.Context(), db, l, scratch, []string{"nothing"}); err == nil {
		t.Fatal("a view that does not exist was rebuilt")
	}
	if left, err := filepath.Glob(filepath.Join(scratch, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if found := check(t, db, l); len(found) > 0 {
		t.Fatal(found)
	}
}

// A view moves while it is checked; what is compared is one moment.
func TestCheckBesideAWriter(t *testing.T) {
	t.Parallel()
	l := newLog(4, 150)
	db, v := openViews(t)
	done, checked := make(chan error, 1), make(chan struct{})
	n := bank.Seq(len(l.events))
	go func() {
		var err error
		for seq := bank.Seq(1); seq <= n; seq++ {
			for _, h := range all(v) {
				err = errors.Join(err, feed(t.Context(), db, l, h, handlers.End(seq)))
			}
			if seq%(n/4) != 0 {
				continue
			}
			select { // not before the next check ends, so that there are some
			case <-checked:
			case <-t.Context().Done():
			}
		}
		done <- err
	}()
	for {
		if found := check(t, db, l); len(found) > 0 {
			t.Fatal(found)
		}
		select {
		case checked <- struct{}{}:
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
	}
}

func TestDeletedViewsComeBack(t *testing.T) {
	t.Parallel()
	l := newLog(6, 300)
	db, _ := kept(t, l)
	again, v := openViews(t) // views.db was deleted: the handlers begin at checkpoint zero
	for step := bank.Seq(1); step <= bank.Seq(len(l.events)); step += 37 {
		for _, h := range all(v) {
			deliver(t, again, l, h, handlers.End(step))
		}
	}
	for _, h := range all(v) {
		deliver(t, again, l, h, handlers.End(bank.Seq(len(l.events))))
	}
	for _, db := range []*sqlite.DB{db, again} {
		if found := check(t, db, l); len(found) > 0 {
			t.Error(found)
		}
	}
}
