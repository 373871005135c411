package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
)

// follow is a log with a batch of believable events, its head, and what makes more of them.
func follow(t *testing.T, l *Log) (app.Head, *apptest.Ledger) {
	t.Helper()
	head, err := l.Acquire(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := apptest.NewLedger(1)
	if err != nil {
		t.Fatal(err)
	}
	return appendNext(t, l, head, ledger), ledger
}

func next(head app.Head, ledger *apptest.Ledger, n int) app.Batch {
	return apptest.Batch(head, ledger.Events(n))
}

func appendNext(t *testing.T, l *Log, head app.Head, ledger *apptest.Ledger) app.Head {
	t.Helper()
	b := next(head, ledger, 10)
	if err := l.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return moved(head, b)
}

func untouched(t *testing.T, l *Log, want app.Head, b app.Batch) {
	t.Helper()
	got, err := l.Head(t.Context())
	if err != nil || got != want {
		t.Fatalf("the head is %+v instead of %+v, error %v", got, want, err)
	}
	rows, err := l.Read(t.Context(), want.Seq, 1)
	if err != nil || len(rows) != 0 {
		t.Fatalf("%d rows are behind the head, error %v", len(rows), err)
	}
	found, err := l.Outcomes(t.Context(), []app.Key{b.Outcomes[0].Key})
	if err != nil || len(found) != 0 {
		t.Fatalf("there is an outcome, error %v", err)
	}
}

func verified(t *testing.T, l *Log) {
	t.Helper()
	if r, err := app.Verify(t.Context(), l); err != nil || !r.OK() {
		t.Fatalf("%v, error %v", r.Differences, err)
	}
}

// The connection breaks exactly at the commit, in both directions; nobody may be told what is not so.
func TestAConnectionThatBreaksAtTheCommit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at        cut
		committed bool
	}{
		"before the request":    {beforeRequest, false},
		"in the middle of it":   {withinRequest, false},
		"just before the reply": {beforeReply, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := openOnly(t, ledgerSchema)
			behind, p := throughProxy(t, db)
			l := behind.Log(LogConfig{})
			head, ledger := follow(t, l)
			for round := range 5 {
				b := next(head, ledger, 10)
				p.arm(c.at, appending)
				if err := l.Append(t.Context(), b); !errors.Is(err, app.ErrUnknownCommit) {
					t.Fatalf("round %d: the error is %v, want ErrUnknownCommit", round, err)
				}
				committed, now, err := l.Resolve(t.Context(), b)
				want := head
				if c.committed {
					want = moved(head, b)
				}
				want.Term++
				if err != nil || committed != c.committed || now != want {
					t.Fatalf("round %d: committed %t, %v; the head is %+v instead of %+v", round, committed, err, now, want)
				}
				if err := l.Append(t.Context(), b); !errors.Is(err, app.ErrFenced) {
					t.Fatalf("round %d: the batch came late: %v", round, err)
				}
				head = now
				if !committed {
					b.Term = head.Term
					if err := l.Append(t.Context(), b); err != nil {
						t.Fatalf("round %d: in the new term: %v", round, err)
					}
					head = moved(head, b)
				}
			}
			if p.count() != 5 {
				t.Errorf("%d connections were cut", p.count())
			}
			verified(t, db.Log(LogConfig{}))
		})
	}
}

// Resolving may break, too. The next try must not take its own term for somebody else's.
func TestResolvingIsTriedAgain(t *testing.T) {
	t.Parallel()
	behind, p := throughProxy(t, openOnly(t, ledgerSchema))
	l := behind.Log(LogConfig{})
	head, ledger := follow(t, l)
	b := next(head, ledger, 10)
	p.arm(beforeReply, appending)
	if err := l.Append(t.Context(), b); !errors.Is(err, app.ErrUnknownCommit) {
		t.Fatal(err)
	}
	for _, at := range []cut{beforeReply, withinRequest, beforeReply} {
		p.arm(at, binding)
		if _, _, err := l.Resolve(t.Context(), b); err == nil || errors.Is(err, app.ErrFenced) {
			t.Fatalf("cut off: %v", err)
		}
	}
	committed, now, err := l.Resolve(t.Context(), b)
	if err != nil || !committed || now.Term != head.Term+3 {
		t.Fatalf("committed %t, %v, the head is %+v", committed, err, now)
	}
	appendNext(t, l, now, ledger)
	other := behind.Log(LogConfig{})
	if _, err := other.Acquire(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Resolve(t.Context(), b); !errors.Is(err, app.ErrFenced) {
		t.Fatalf("resolving what is somebody else's: %v", err)
	}
}

// A decider whose connections break again and again: whoever was told that it is done finds it done, once.
func TestALedgerLivesThroughBrokenConnections(t *testing.T) {
	t.Parallel()
	db := openOnly(t, ledgerSchema)
	behind, p := throughProxy(t, db)
	log := behind.Log(LogConfig{})
	l, err := app.StartLedger(t.Context(), app.LedgerConfig{Log: log, Lookup: log.ForDecider(), Owner: "test"})
	if err != nil {
		t.Fatal(err)
	}
	account, done := openAccount(t, l), int64(0)
	for n := range 60 {
		if n%4 == 3 {
			p.arm(cut(n/4%3), appending)
		}
		_, err := l.Execute(t.Context(), depositCent(t, n, account))
		var refused *bank.Error
		switch {
		case err == nil:
			done++
		case !errors.As(err, &refused) || refused.Code != app.CodeUnavailable: // nothing was done
			t.Fatalf("deposit %d: %v", n, err)
		}
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.count() != 15 {
		t.Errorf("%d connections were cut", p.count())
	}
	direct := db.Log(LogConfig{})
	verified(t, direct)
	rows, err := direct.Latest(t.Context(), []string{account.String()})
	if err != nil {
		t.Fatal(err)
	}
	e, err := app.Decode(rows[account.String()])
	if err != nil {
		t.Fatal(err)
	}
	for _, leg := range e.Legs {
		if leg.Account == account && leg.After.Balance != done {
			t.Errorf("%d deposits were acknowledged, and there are %d", done, leg.After.Balance)
		}
	}
}

// raise has the server refuse every append with this SQLSTATE, after everything was written; "" ends that.
func raise(t *testing.T, l *Log, code string) {
	t.Helper()
	sql := `DROP TRIGGER refuse ON outcome`
	if code != "" {
		sql = fmt.Sprintf(`CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
			$$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '%s'; END $$;
			CREATE OR REPLACE TRIGGER refuse AFTER INSERT ON outcome FOR EACH STATEMENT EXECUTE FUNCTION refuse()`, code)
	}
	if _, err := l.db.writers.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
}

func TestWhatTheServerRefusesLeavesNoTrace(t *testing.T) {
	t.Parallel()
	l := openOnly(t, ledgerSchema).Log(LogConfig{})
	head, ledger := follow(t, l)
	b := next(head, ledger, 100)
	for code, full := range map[string]bool{
		"53100": true, "40001": false, "40P01": false, "57014": false, "XX000": false,
	} {
		raise(t, l, code)
		err := l.Append(t.Context(), b)
		if err == nil || errors.Is(err, app.ErrUnknownCommit) || errors.Is(err, app.ErrFull) != full {
			t.Errorf("%s: %v", code, err)
		}
		untouched(t, l, head, b)
	}
	raise(t, l, "")
	if err := l.Append(t.Context(), b); err != nil {
		t.Fatalf("afterwards: %v", err)
	}
	verified(t, l)
}

// held locks the head of the ledger, so that appends wait, until release is called.
func held(t *testing.T, l *Log) (release func()) {
	t.Helper()
	tx, err := l.read.Begin(t.Context())
	if err == nil {
		_, err = tx.Exec(t.Context(), `SELECT FROM ledger_head FOR UPDATE`)
	}
	if err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() {
		if err := tx.Rollback(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(release)
	return release
}

// An append that is waiting when the server ends its connection, or when its own time is up.
func TestAnAppendWhoseConnectionEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		within time.Duration
		end    func(*testing.T, *Log)
	}{
		"by the server": {time.Minute, func(t *testing.T, l *Log) {
			t.Helper()
			const terminate = `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
				WHERE application_name = $1 AND wait_event_type = 'Lock'`
			for deadline, n := time.Now().Add(10*time.Second), 0; n == 0; {
				err := l.read.QueryRow(t.Context(), terminate, "bankforge "+l.db.ledger.name).Scan(&n)
				if err != nil || time.Now().After(deadline) {
					t.Fatalf("nothing waits; %v", err)
				}
			}
		}},
		"by its deadline": {300 * time.Millisecond, func(*testing.T, *Log) {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := openOnly(t, ledgerSchema).Log(LogConfig{CommitWithin: c.within})
			head, ledger := follow(t, l)
			release := held(t, l)
			b := next(head, ledger, 10)
			result := make(chan error, 1)
			go func() { result <- l.Append(t.Context(), b) }()
			c.end(t, l)
			if err := <-result; !errors.Is(err, app.ErrUnknownCommit) {
				t.Errorf("the error is %v, want ErrUnknownCommit", err)
			}
			release()
			committed, now, err := l.Resolve(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			if !committed { // either may be, and then it stays so
				b.Term = now.Term
				if err := l.Append(t.Context(), b); err != nil {
					t.Fatal(err)
				}
			}
			verified(t, l)
		})
	}
}
