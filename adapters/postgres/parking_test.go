package postgres

import (
	"context"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"bankforge/adapters/lot"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
	"bankforge/router/mirror"
)

func TestHandlerStoreKeepsItsContract(t *testing.T) {
	t.Parallel()
	db := openDB(t)
	for name, schema := range map[string]*Schema{"views": db.Derived(), "state": db.State()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := apptest.HandlerStore(t.Context(), NewHandlerStore(schema)); err != nil {
				t.Fatal(err)
			}
			if err := apptest.Operations(t.Context(), NewHandlerStore(schema)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestHandlerStoreRefusesWritesOutsideATransaction(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), NewHandlerStore(openDB(t).Derived())
	p := router.Parked{Stream: router.Stream{Handler: "h"}, Key: "k"}
	_, park := s.Park(ctx, p, nil)
	_, _, head := s.Head(ctx, "h", "k")
	for name, err := range map[string]error{
		"park": park, "head": head,
		"advance":   s.Advance(ctx, p.Stream, router.Checkpoint{}),
		"attempted": s.Attempted(ctx, p, router.Attempt{}, time.Time{}),
		"resolve":   s.Resolve(ctx, p, router.Ending{As: router.Resolved, At: time.Now()}),
	} {
		if !errors.Is(err, ErrNoTx) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOnlyTheHeadOfASequenceIsResolved(t *testing.T) {
	t.Parallel()
	s := NewHandlerStore(openDB(t).Derived())
	err := s.InTx(t.Context(), func(ctx context.Context) error {
		var second router.Parked
		for i := range 2 {
			second = router.Parked{
				Stream: router.Stream{Handler: "h"}, Key: "k", Position: handlers.Position{Seq: 1, N: i}, Status: router.Failed,
			}
			if _, err := s.Park(ctx, second, nil); err != nil {
				return err
			}
		}
		return s.Resolve(ctx, second, router.Ending{As: router.Resolved, At: time.Now()})
	})
	if !errors.Is(err, lot.ErrNotHead) {
		t.Fatalf("resolved out of order: %v", err)
	}
}

// Whatever a broker carries and an error quotes can be parked: else a message that nobody can read would stop its
// handler.
func TestWhatNobodyCanReadIsParked(t *testing.T) {
	t.Parallel()
	s := NewHandlerStore(openDB(t).Derived())
	p := router.Parked{
		Stream: router.Stream{Handler: "h"}, Key: "\x00\xff", Status: router.Failed, Payload: nil,
		Metadata: map[string]string{"a\x00": "\xff"},
	}
	err := s.InTx(t.Context(), func(ctx context.Context) error {
		_, err := s.Park(ctx, p, []router.Attempt{{Error: "cannot read \x00\xff", Stack: "\x00"}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.InTx(t.Context(), func(ctx context.Context) error {
		blocked, err := s.Blocked(ctx, "h", []string{"x", p.Key})
		if err != nil || len(blocked) != 1 || blocked[0] != p.Key {
			t.Errorf("blocked are %q, %v", blocked, err)
		}
		got, ok, err := s.Head(ctx, "h", p.Key)
		if err != nil || !ok || len(got.Attempts) != 1 || got.Attempts[0].Error != "cannot read \uFFFD\uFFFD" {
			t.Errorf("%+v, %v, %v", got, ok, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// unlocked asks whether keys are parked without locking their sequences until its transaction ends.
type unlocked struct{ *HandlerStore }

func (u unlocked) Blocked(_ context.Context, handler string, keys []string) ([]string, error) {
	return u.HandlerStore.Blocked(context.Background(), handler, keys) // outside of the transaction it only tells
}

// careless takes heads without locking their sequences.
type careless struct{ lotDB }

func (careless) Locks() bool { return false }

func TestTheSuiteNoticesAMissingRowLock(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		broken func(*Schema) router.Store
		want   string
	}{
		"of the check": {func(s *Schema) router.Store { return unlocked{NewHandlerStore(s)} }, "blocked keys are held"},
		"of the head": {func(s *Schema) router.Store {
			return &HandlerStore{lot.New(careless{lotDB{s}}), s}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var err error
			for tries := 0; err == nil && tries < 5; tries++ { // a busy machine may hide it
				err = apptest.HandlerStore(t.Context(), c.broken(openDB(t).Derived()))
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("the suite did not notice: %v", err)
			}
			t.Log(err)
		})
	}
}

// What is parked is to be mirrored until that is noted, in the order of each key, whatever becomes of it meanwhile.
func TestWhatIsParkedIsToBeMirroredOnce(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), NewHandlerStore(openDB(t).Derived())
	park := func(seq int, tries ...router.Attempt) router.Parked {
		p := router.Parked{
			Stream: router.Stream{Handler: "h", Topic: bank.AccountsTopic, Partition: 3}, Key: "k\x00\xff", Incarnation: "i",
			Position: handlers.Position{Seq: bank.Seq(seq)}, Status: router.Waiting, At: time.UnixMicro(int64(1000 + seq)).UTC(),
			Metadata: map[string]string{"key": "k", "n": strconv.Itoa(seq)}, Payload: []byte{0, byte(seq)},
		}
		if len(tries) > 0 {
			p.Status = router.Failed
		}
		if err := s.InTx(ctx, func(ctx context.Context) error {
			_, err := s.Park(ctx, p, tries)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return p
	}
	failed := router.Attempt{At: time.UnixMicro(5), Class: handlers.Poison, Error: "bad", Stack: "main.f", By: "stream"}
	all := []router.Parked{park(1, failed, failed), park(2), park(3)}
	unmirrored := func(limit, from, to int) []int64 {
		t.Helper()
		got, err := s.Unmirrored(ctx, limit)
		if err != nil || len(got) != to-from {
			t.Fatalf("%d are to be mirrored, %v; want %d", len(got), err, to-from)
		}
		var ids []int64
		for i, l := range got {
			want := mirror.Letter{ID: l.ID, Parked: all[from+i]}
			if want.Status == router.Failed {
				want.Class, want.Error, want.Stack = "poison", "bad", "main.f"
			}
			if !reflect.DeepEqual(l, want) {
				t.Errorf("letter %d is\n%+v\nwant\n%+v", i, l, want)
			}
			ids = append(ids, l.ID)
		}
		return ids
	}
	ids := unmirrored(10, 0, 3)
	unmirrored(2, 0, 2)
	if err := s.Mirrored(ctx, ids[:1]); err != nil {
		t.Fatal(err)
	}
	unmirrored(10, 1, 3)
	all = append(all, park(4))
	if err := s.Mirrored(ctx, ids); err != nil {
		t.Fatal(err)
	}
	unmirrored(10, 3, 4)
	if err := s.Forget(ctx, "h"); err != nil {
		t.Fatal(err)
	}
	unmirrored(10, 4, 4)
}
