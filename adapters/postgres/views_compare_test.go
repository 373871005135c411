package postgres

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// memory is a log in memory.
type memory struct {
	events      []app.Recorded
	incarnation string
}

func someLog(commands int) *memory {
	return &memory{apptest.RandomHistory(rand.New(rand.NewPCG(5, 7)).IntN, commands), "first"}
}

func (l *memory) Read(_ context.Context, after bank.Seq, limit int) ([]app.Recorded, error) {
	return l.events[after:min(int(after)+limit, len(l.events))], nil
}

func (l *memory) Head(context.Context) (app.Head, error) {
	return app.Head{Incarnation: l.incarnation, Seq: bank.Seq(len(l.events))}, nil
}

// inFour is how a broker with four partitions spreads keys.
func inFour(topic bank.Topic, key string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(string(topic) + key))
	return int(h.Sum32() % 4)
}

// feed gives each handler what is behind its checkpoints up to the event, but for the key, which is parked.
func (l *memory) feed(ctx context.Context, db *DB, of Partitions, until bank.Seq, park string) error {
	s := NewHandlerStore(db.Derived())
	for _, h := range kept(db.Views()) {
		parts := map[int][]handlers.Fact{}
		for _, told := range apptest.Tell(h.Topic, l.events[:until]) {
			f := handlers.Fact{Change: told.Change, Incarnation: l.incarnation, IdempotencyKey: told.Meta.IdempotencyKey}
			p := 0
			if of != nil {
				p = of(h.Topic, f.Key())
			}
			parts[p] = append(parts[p], f)
		}
		for p, facts := range parts {
			stream := h.Stream
			stream.Partition = p
			if err := l.give(ctx, s, stream, h.handle, facts, park, until); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *memory) give(
	ctx context.Context, s *HandlerStore, of router.Stream, handle handlers.Func, facts []handlers.Fact, park string,
	until bank.Seq,
) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		at, err := s.Checkpoint(ctx, of)
		if err != nil {
			return err
		}
		if !at.Position.Before(handlers.End(until)) { // as the handlers do: what a rebuild has taken in is not told again
			return nil
		}
		var taken []handlers.Fact
		for _, f := range facts {
			switch {
			case !at.Position.Before(f.Position()):
			case f.Key() == park:
				_, err := s.Park(ctx, router.Parked{
					Stream: of, Key: park, Incarnation: l.incarnation, Position: f.Position(), Status: router.Failed,
				}, nil)
				if err != nil {
					return err
				}
			default:
				taken = append(taken, f)
			}
		}
		if err := handle(ctx, taken); err != nil {
			return err
		}
		return s.Advance(ctx, of, router.Checkpoint{Incarnation: l.incarnation, Position: handlers.End(until)})
	})
}

func compared(t *testing.T, db *DB, l *memory, of Partitions) []app.Difference {
	t.Helper()
	found, err := NewViewsCheck(db, l, of).Compare(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var left int
	err = db.state.pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_namespace WHERE nspname LIKE $1`,
		strings.ReplaceAll(db.views.name, "_", `\_`)+`\_%`).Scan(&left)
	if err != nil || left != 0 {
		t.Errorf("%d schemas are left of checks, %v", left, err)
	}
	return found
}

func TestCheckFindsNothingWrongInGoodViews(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]Partitions{"one partition": nil, "four": inFour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, l := openOnly(t, viewsSchema), someLog(200)
			if found := compared(t, db, l, of); len(found) > 0 {
				t.Fatalf("without any view: %v", found)
			}
			park := l.events[len(l.events)/2].Legs[0].Account.String()
			for _, until := range []int{len(l.events) / 3, len(l.events) * 2 / 3, len(l.events)} {
				if err := l.feed(t.Context(), db, of, bank.Seq(until), park); err != nil {
					t.Fatal(err)
				}
				if found := compared(t, db, l, of); len(found) > 0 {
					t.Fatalf("up to %d: %v", until, found)
				}
			}
			parked, err := NewViewsCheck(db, l, of).Parked(t.Context())
			want := []app.ParkedKeys{{View: "balances", Keys: 1}, {View: "history", Keys: 1}}
			if err != nil || !slices.Equal(parked, want) {
				t.Errorf("parked are %v, %v; want %v", parked, err, want)
			}
		})
	}
}

func TestCheckFindsEveryChangedCell(t *testing.T) {
	t.Parallel()
	for i := range allViews {
		for _, table := range allViews[i].tables {
			t.Run(table.name, func(t *testing.T) {
				t.Parallel()
				db, l := openOnly(t, viewsSchema), someLog(200)
				if err := l.feed(t.Context(), db, nil, bank.Seq(len(l.events)), ""); err != nil {
					t.Fatal(err)
				}
				change(t, db, table)
				told := fmt.Sprint(compared(t, db, l, nil))
				for column := range types(t, db, table) {
					if want := ": " + column + " is "; !strings.Contains(told, want) {
						t.Errorf("column %s was changed, and nothing says so in %.2000s", column, told)
					}
				}
				if strings.Count(told, "is missing") != 1 {
					t.Errorf("one row is gone: %.2000s", told)
				}
			})
		}
	}
}

// change changes every column of one row but its key, and takes another row away.
func change(t *testing.T, db *DB, table viewTable) {
	t.Helper()
	var set []string
	for column, kind := range types(t, db, table) {
		if kind == "text" {
			set = append(set, column+" = "+column+" || 'x'")
		} else {
			set = append(set, column+" = "+column+" + 1")
		}
	}
	name := table.name
	for _, sql := range []string{ // a row that was changed comes to stand at the end
		`UPDATE ` + name + ` SET ` + strings.Join(set, ", ") + ` WHERE ctid = (SELECT min(ctid) FROM ` + name + `)`,
		`DELETE FROM ` + name + ` WHERE ctid = (SELECT min(ctid) FROM ` + name + `)`,
	} {
		done, err := db.views.pool.Exec(t.Context(), sql)
		if err != nil || done.RowsAffected() != 1 {
			t.Fatalf("%s: %d rows, %v", sql, done.RowsAffected(), err)
		}
	}
}

// types are the columns that are not the key of a table.
func types(t *testing.T, db *DB, table viewTable) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := each(t.Context(), db.views.pool, func(scan func(...any) error) error {
		var name, kind string
		err := scan(&name, &kind)
		if !slices.Contains(table.key, name) {
			out[name] = kind
		}
		return err
	}, `SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0`,
		db.views.name+"."+table.name)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCheckKnowsWhereViewsStand(t *testing.T) {
	t.Parallel()
	db, l := openOnly(t, viewsSchema), someLog(50)
	if err := l.feed(t.Context(), db, nil, bank.Seq(len(l.events)), ""); err != nil {
		t.Fatal(err)
	}
	shorter := &memory{l.events[:len(l.events)-5], l.incarnation}
	if found := fmt.Sprint(compared(t, db, shorter, nil)); !strings.Contains(found, "but the log ends at event") {
		t.Errorf("the log is shorter: %s", found)
	}
	other := &memory{l.events, "second"}
	found := fmt.Sprint(compared(t, db, other, nil))
	if strings.Count(found, "follows incarnation first") != len(allViews) {
		t.Errorf("the log is another: %s", found)
	}
	if _, err := NewViewsCheck(db, l, inFour).Compare(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if err := l.feed(t.Context(), db, inFour, bank.Seq(len(l.events)), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := NewViewsCheck(db, l, nil).Compare(t.Context(), nil); err == nil {
		t.Error("nothing says which key is in which partition, and it does not mind")
	}
}

// Views may be written while they are checked.
func TestCheckBesideAWriter(t *testing.T) {
	t.Parallel()
	db, l := openOnly(t, viewsSchema), someLog(300)
	fed := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		defer close(fed)
		for until := 1; until <= len(l.events) && ctx.Err() == nil; until++ {
			if err := l.feed(t.Context(), db, nil, bank.Seq(until), ""); err != nil {
				fed <- err
				return
			}
		}
	}()
	for range 3 {
		if found := compared(t, db, l, nil); len(found) > 0 {
			t.Errorf("%v", found)
		}
	}
	stop()
	if err := <-fed; err != nil {
		t.Error(err)
	}
}
