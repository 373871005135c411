package postgres

import (
	"context"
	"errors"
	"strings"
	"testing"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

func rebuilding(l router.Source, names ...string) Rebuilding {
	return Rebuilding{Source: l, Views: names, Of: inFour, Partitions: 4}
}

// standsAt checks that every view stands at the event in all partitions, and that nothing is parked.
func standsAt(t *testing.T, db *DB, l *memory, partitions int, at bank.Seq) {
	t.Helper()
	s := NewHandlerStore(db.Derived())
	for _, h := range kept(db.Views()) {
		for i := range partitions + 3 {
			stream := h.Stream
			stream.Partition = i
			c, err := s.Checkpoint(t.Context(), stream)
			want := router.Checkpoint{Incarnation: l.incarnation, Position: handlers.End(at)}
			if i >= partitions {
				want = router.Checkpoint{}
			}
			if err != nil || c != want {
				t.Errorf("%s stands at %+v in partition %d, %v; want %+v", h.Handler, c, i, err, want)
			}
		}
	}
	var waiting int
	err := db.views.pool.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM parked_sequence) +
		(SELECT count(*) FROM parked_message WHERE ended_at IS NULL)`).Scan(&waiting)
	if err != nil || waiting != 0 {
		t.Errorf("%d are parked still, %v", waiting, err)
	}
}

// Views that are damaged, behind, and lack what is parked become what the log says, and what was wrong is told.
func TestRebuildMakesViewsWhatTheLogSays(t *testing.T) {
	t.Parallel()
	db, l := openDB(t), someLog(200)
	n := bank.Seq(len(l.events))
	park := l.events[n/2].Legs[0].Account.String()
	if err := l.feed(t.Context(), db, inFour, n*2/3, park); err != nil {
		t.Fatal(err)
	}
	for _, damage := range []string{
		`UPDATE account SET balance = balance + 1 WHERE id = (SELECT min(id) FROM account WHERE id <> $1)`,
		`DELETE FROM entry WHERE account = (SELECT min(account) FROM entry WHERE account <> $1)`,
	} {
		if _, err := db.views.pool.Exec(t.Context(), damage, park); err != nil {
			t.Fatal(err)
		}
	}
	r, err := RebuildViews(t.Context(), db, rebuilding(l, "balances"))
	if err != nil || len(r.Differences) != 1 || !strings.Contains(r.Differences[0].What, "balance is") || r.Parked != 1 ||
		r.Through != n {
		t.Fatalf("one view: %+v, %v", r, err)
	}
	if r, err = RebuildViews(t.Context(), db, rebuilding(l, ViewNames()...)); err != nil || len(r.Differences) == 0 {
		t.Fatalf("all views: %+v, %v", r, err)
	}
	for _, d := range r.Differences {
		if !strings.HasPrefix(d.What, "entry") {
			t.Errorf("a difference that there is not any more: %v", d)
		}
	}
	if found := compared(t, db, l, inFour); len(found) > 0 {
		t.Error(found)
	}
	standsAt(t, db, l, 4, n)
}

// Handlers go on while their views are built anew, and lose nothing.
func TestRebuildBesideHandlers(t *testing.T) {
	t.Parallel()
	db, l := openDB(t), someLog(400)
	done := make(chan error, 1)
	go func() {
		for until := 0; until < len(l.events); until += 5 {
			if err := l.feed(t.Context(), db, inFour, bank.Seq(until), ""); err != nil {
				done <- err
				return
			}
		}
		done <- l.feed(t.Context(), db, inFour, bank.Seq(len(l.events)), "")
	}()
	for range 3 {
		// A log that ends where handlers have not been yet: behind the switch they skip what is there already.
		r, err := RebuildViews(t.Context(), db, rebuilding(l, ViewNames()...))
		if err != nil || len(r.Differences) > 0 {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if found := compared(t, db, l, inFour); len(found) > 0 {
		t.Error(found)
	}
	standsAt(t, db, l, 4, bank.Seq(len(l.events)))
}

// With another number of partitions, where a view stood says nothing; afterwards it stands in all of the new ones.
func TestRebuildForOtherPartitions(t *testing.T) {
	t.Parallel()
	db, l := openDB(t), someLog(200)
	n := bank.Seq(len(l.events))
	if err := l.feed(t.Context(), db, inFour, n/2, ""); err != nil {
		t.Fatal(err)
	}
	how := Rebuilding{Source: l, Views: ViewNames(), Of: func(bank.Topic, string) int { return 0 }, Partitions: 2}
	r, err := RebuildViews(t.Context(), db, how)
	if err != nil || len(r.Differences) != 3 || !strings.Contains(r.Differences[0].What, "partitions") {
		t.Fatalf("%+v, %v", r, err)
	}
	standsAt(t, db, l, 2, n)
	if found := compared(t, db, l, how.Of); len(found) > 0 {
		t.Error(found)
	}
}

// breaking is a log that cannot be read to its end.
type breaking struct {
	*memory
	at bank.Seq
}

var errBroken = errors.New("broken")

func (b breaking) Read(ctx context.Context, after bank.Seq, limit int) ([]app.Recorded, error) {
	if after+bank.Seq(limit) > b.at {
		return nil, errBroken
	}
	return b.memory.Read(ctx, after, limit)
}

func TestRebuildThatFailsLeavesTheOldViews(t *testing.T) {
	t.Parallel()
	db, l := openDB(t), someLog(200)
	n := bank.Seq(len(l.events))
	if err := l.feed(t.Context(), db, inFour, n/2, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := RebuildViews(t.Context(), db, rebuilding(breaking{l, n - 1}, ViewNames()...)); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	if _, err := RebuildViews(t.Context(), db, rebuilding(l, "nonsense")); err == nil {
		t.Fatal("a view that is not there is built")
	}
	if found := compared(t, db, l, inFour); len(found) > 0 {
		t.Error(found)
	}
	standsAt(t, db, l, 4, n/2)
}
