package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/codec"
	"bankforge/handlers"
	"bankforge/router"
)

// pair is a bank.db and a state.db, with a head of the log.
func pair(t *testing.T) (bankDB, stateDB *DB) {
	t.Helper()
	bankDB, stateDB = open(t, BankFile), open(t, StateFile)
	if _, err := openLogOf(t, bankDB).Acquire(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	return bankDB, stateDB
}

// copied is what was frozen, as a file of its own.
func copied(t *testing.T, f *Frozen, kind File) *DB {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy.db")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Copy(t.Context(), out), out.Close()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() != f.Size() {
		t.Fatalf("%v, it has %d bytes, not %d", err, info.Size(), f.Size())
	}
	db, err := Open(t.Context(), path, kind)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// number is what the file says of itself under name.
func number(t *testing.T, db *DB, name string) int {
	t.Helper()
	text, err := db.About(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi("0" + text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func setNumber(ctx context.Context, db *DB, name string, n int) error {
	return db.InTx(ctx, func(ctx context.Context) error { return db.SetAbout(ctx, name, strconv.Itoa(n)) })
}

// A customer is in state.db before the log tells of them, and a checkpoint in state.db tells of what is in the log. So
// it must be in every copy, whatever is written while it is made.
func TestFrozenFilesFitEachOther(t *testing.T) {
	t.Parallel()
	bankDB, stateDB := pair(t)
	ctx, stop := context.WithCancel(t.Context())
	var writers errgroup.Group
	writers.Go(func() error {
		for n := 1; ctx.Err() == nil; n++ {
			for _, step := range []struct {
				db   *DB
				name string
			}{{stateDB, "customers"}, {bankDB, "events"}, {stateDB, "checkpoint"}} {
				if err := setNumber(t.Context(), step.db, step.name, n); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for range 12 {
		log, state, err := Freeze(t.Context(), bankDB, stateDB)
		if err != nil {
			t.Fatal(err)
		}
		b, s := copied(t, log, BankFile), copied(t, state, StateFile)
		customers, events, checkpoint := number(t, s, "customers"), number(t, b, "events"), number(t, s, "checkpoint")
		if events > customers || checkpoint > events {
			t.Errorf("customers up to %d, events up to %d, checkpoint at %d", customers, events, checkpoint)
		}
		if err := errors.Join(log.Close(), state.Close()); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
}

// The copy is of one moment, however long it takes, and nobody who writes to the file waits for it.
func TestFrozenFileStaysAsItWas(t *testing.T) {
	t.Parallel()
	bankDB, stateDB := pair(t)
	if err := setNumber(t.Context(), bankDB, "n", 1); err != nil {
		t.Fatal(err)
	}
	log, state, err := Freeze(t.Context(), bankDB, stateDB)
	if err != nil {
		t.Fatal(err)
	}
	first, pages := true, 0
	slow := writerFunc(func(p []byte) (int, error) {
		pages++
		if first { // with the first page out, everything changes, and the file grows
			first = false
			for i := range 200 {
				if err := setNumber(t.Context(), bankDB, fmt.Sprint(strings.Repeat("x", 500), i), i); err != nil {
					return 0, err
				}
			}
			return len(p), setNumber(t.Context(), bankDB, "n", 2)
		}
		return len(p), nil
	})
	if err := log.Copy(t.Context(), slow); err != nil {
		t.Fatal(err)
	}
	if got := number(t, copied(t, log, BankFile), "n"); got != 1 {
		t.Errorf("the copy has %d", got)
	}
	if int64(pages)*4096 != log.Size() {
		t.Errorf("%d pages are not %d bytes", pages, log.Size())
	}
	if err := errors.Join(log.Close(), state.Close()); err != nil {
		t.Fatal(err)
	}
	if got := number(t, bankDB, "n"); got != 2 {
		t.Errorf("the file has %d", got)
	}
}

// What was begun must end also when writing the copy fails.
func TestCopyThatFails(t *testing.T) {
	t.Parallel()
	bankDB, stateDB := pair(t)
	log, state, err := Freeze(t.Context(), bankDB, stateDB)
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space")
	if err := log.Copy(t.Context(), writerFunc(func([]byte) (int, error) { return 0, full })); !errors.Is(err, full) {
		t.Error(err)
	}
	if err := errors.Join(log.Close(), state.Close()); err != nil {
		t.Fatal(err)
	}
	log, state, err = Freeze(t.Context(), bankDB, stateDB)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(log.Copy(t.Context(), io.Discard), log.Close(), state.Close()); err != nil {
		t.Fatal(err)
	}
}

func rowsOf(n int) []app.Row {
	var rows []app.Row
	var chain app.Hash
	for i := range n {
		data := []byte{byte(i)}
		chain = codec.Chain(chain, data)
		rows = append(rows, app.Row{Seq: bank.Seq(i + 1), Data: data, Chain: chain})
	}
	return rows
}

// Checkpoints of state.db go on in the new incarnation; those of others stay, and are not believed.
func TestReincarnate(t *testing.T) {
	t.Parallel()
	bankDB, stateDB := pair(t)
	log, store := openLogOf(t, bankDB), NewHandlerStore(stateDB)
	if err := log.Append(t.Context(), app.Batch{Term: 1, Number: 1, Rows: rowsOf(3)}); err != nil {
		t.Fatal(err)
	}
	old, err := log.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := func(handler string) router.Checkpoint {
		c, err := store.Checkpoint(t.Context(), router.Stream{Handler: handler, Topic: bank.AccountsTopic})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	advance := func(handler string, c router.Checkpoint) {
		err := store.InTx(t.Context(), func(ctx context.Context) error {
			return store.Advance(ctx, router.Stream{Handler: handler, Topic: bank.AccountsTopic}, c)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	advance("current", router.Checkpoint{Incarnation: old.Incarnation, Position: handlers.End(3)})
	advance("stranger", router.Checkpoint{Incarnation: "OTHER", Position: handlers.End(9)})
	before, now, err := Reincarnate(t.Context(), bankDB, stateDB, "restore", time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	head, err := log.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := old
	want.Incarnation, want.Term, want.Owner = now.Incarnation, 2, "restore"
	if before != old || now != want || head != want || now.Incarnation == old.Incarnation || now.Incarnation == "" {
		t.Errorf("%+v became %+v, and the head is %+v", before, now, head)
	}
	if c := at("current"); c.Incarnation != now.Incarnation || c.Position != handlers.End(3) {
		t.Errorf("the checkpoint is %+v", c)
	}
	if c := at("stranger"); c.Incarnation != "OTHER" {
		t.Errorf("the checkpoint of another log is %+v", c)
	}
	if of, err := stateDB.About(t.Context(), "incarnation"); err != nil || of != now.Incarnation {
		t.Errorf("state.db is of %s, %v", of, err)
	}
	note, err := bankDB.About(t.Context(), "incarnation "+old.Incarnation)
	if err != nil || !strings.HasPrefix(note, fmt.Sprintf("until event 3, chain %x; restored 1970", old.Chain)) {
		t.Errorf("what was before is noted as %q, %v", note, err)
	}
	err = log.Append(t.Context(), app.Batch{Term: 1, Number: 2, After: 3, Rows: nil})
	if !errors.Is(err, app.ErrFenced) {
		t.Errorf("the owner of the old term may write: %v", err)
	}

	advance("current", router.Checkpoint{Incarnation: now.Incarnation, Position: handlers.End(4)})
	if _, _, err := Reincarnate(t.Context(), bankDB, stateDB, "restore", time.Unix(0, 0)); err == nil ||
		!strings.Contains(err.Error(), "handler current has seen more than the log has") {
		t.Errorf("a checkpoint ahead of the log: %v", err)
	}
}

func TestReincarnateNeedsALog(t *testing.T) {
	t.Parallel()
	_, _, err := Reincarnate(t.Context(), open(t, BankFile), open(t, StateFile), "restore", time.Unix(0, 0))
	if !errors.Is(err, sql.ErrNoRows) {
		t.Error(err)
	}
}

func TestCheckFindsBrokenPages(t *testing.T) {
	t.Parallel()
	db := open(t, StateFile)
	if err := db.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.write.ExecContext(t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(db.path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(make([]byte, 8192), 8192); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := OpenReadOnly(db.path, StateFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Check(t.Context()); err == nil {
		t.Error("pages of zeros are found to be sound")
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
