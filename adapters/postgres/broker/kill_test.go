package broker

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"bankforge/adapters/postgres"
	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/apptest/servers"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/history"
	"bankforge/handlers/projection"
	"bankforge/router"
)

// The test process becomes one that runs handlers until it is killed.
var (
	handleIn = flag.String("handle-in", "", "used by tests that kill: handle the log under this prefix until killed")
	lateIs   = flag.String("late-is", "", "used by tests that kill: what is written in a second transaction")
)

// Streams of the handler that counts. It adds to a number for each account, so that what is handled twice, or not at
// all, shows for ever: the views would mend the one and refuse the other.
const (
	counter = "counter"
	counts  = "counts"
)

func countOf(key string) router.Stream { return router.Stream{Handler: counts, Topic: bank.Topic(key)} }

// count is a handler.
func count(s router.Store) handlers.Func {
	return func(ctx context.Context, facts []handlers.Fact) error {
		more := map[string]bank.Seq{}
		for i := range facts {
			more[facts[i].Key()]++
		}
		for key, n := range more {
			had, err := s.Checkpoint(ctx, countOf(key))
			if err != nil {
				return err
			}
			had.Position.Seq += n
			if err := s.Advance(ctx, countOf(key), had); err != nil {
				return err
			}
		}
		return nil
	}
}

// late is a broken store: what belongs to a handler is written in a second transaction. Of the counter that is its
// checkpoint, of the counts its effect.
type late struct {
	router.Store
	handler string
}

type lateKey struct{}

type write struct {
	of router.Stream
	to router.Checkpoint
}

// between is about how long a process is between the two.
const between = 3 * time.Millisecond

func (l late) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	var writes []write
	err := l.Store.InTx(context.WithValue(ctx, lateKey{}, &writes), fn)
	if err != nil || len(writes) == 0 {
		return err
	}
	<-time.After(between)
	return l.Store.InTx(ctx, func(ctx context.Context) error {
		for _, w := range writes {
			if _, err := l.Checkpoint(ctx, w.of); err != nil {
				return err
			}
			if err := l.Store.Advance(ctx, w.of, w.to); err != nil {
				return err
			}
		}
		return nil
	})
}

func (l late) Advance(ctx context.Context, of router.Stream, to router.Checkpoint) error {
	if writes, ok := ctx.Value(lateKey{}).(*[]write); ok && of.Handler == l.handler {
		*writes = append(*writes, write{of, to})
		return nil
	}
	return l.Store.Advance(ctx, of, to)
}

// handlersOf are those that keep the views, and the one that counts.
func handlersOf(db *postgres.DB, lateIs string) []router.Route {
	var s router.Store = postgres.NewHandlerStore(db.Derived())
	v := db.Views()
	routes := router.Routes(router.Reactions{
		Balances: projection.Balances(v), Entries: history.Entries(v), Transactions: history.Transactions(v),
		Push: func(context.Context, []handlers.Fact) error { return nil },
	}, router.Stores{Views: s})
	if lateIs != "" {
		s, routes = late{s, lateIs}, nil
	}
	return append(routes, router.Route{Name: counter, Topic: bank.AccountsTopic, Handler: count(s), Store: s})
}

// handle runs the handlers until ctx ends.
func handle(ctx context.Context, db *postgres.DB, p *router.Progress, lateIs string) error {
	r, err := router.New("", handlersOf(db, lateIs), router.Config{
		Source: router.FromLog(db.Log(postgres.LogConfig{})), Progress: p, Poll: 5 * time.Millisecond, Batch: 16,
		Classify: []router.Classifier{postgres.Classify}, Broker: &router.Broker{Follow: New(db.Ledger()).Follow},
	})
	if err != nil {
		return err
	}
	return r.Run(ctx)
}

// handleUntilKilled is what the other process does.
func handleUntilKilled(t *testing.T) {
	t.Helper()
	db := openDB(t, postgres.Options{Prefix: *handleIn, Existing: true, MaxConns: 6})
	if err := handle(t.Context(), db, router.NewProgress(), *lateIs); err != nil {
		t.Fatal(err)
	}
}

// other starts a process that handles.
func (b *books) other(ctx context.Context, t *testing.T, lateIs string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestKilledHandlersLoseAndDoubleNothing$",
		"-handle-in="+b.prefix, "-late-is="+lateIs)
	cmd.Env = append(os.Environ(), "BANKFORGE_POSTGRES="+servers.Postgres(t))
	out, err := cmd.StdoutPipe()
	if err == nil {
		cmd.Stderr = cmd.Stdout
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		said, _ := io.ReadAll(bufio.NewReader(out)) // it is killed
		if len(said) > 0 {
			t.Errorf("the process says %s", said)
		}
	}()
	return cmd
}

// killedAt runs a process, and kills it with SIGKILL soon after a handler has come to seq.
func (b *books) killedAt(t *testing.T, handler string, seq bank.Seq, lateIs string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	cmd := b.other(ctx, t, lateIs)
	b.reached(ctx, t, handler, seq)
	<-time.After(rand.N(2 * between)) // in the middle of whatever
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // it was killed
	if ctx.Err() != nil {
		t.Fatalf("%s does not come to event %d", handler, seq)
	}
}

func (b *books) reached(ctx context.Context, t *testing.T, handler string, seq bank.Seq) {
	t.Helper()
	of := router.Stream{Handler: handler, Topic: bank.AccountsTopic}
	if handler == app.TransactionsHandler {
		of.Topic = bank.TransactionsTopic
	}
	s := postgres.NewHandlerStore(b.Derived())
	for ticker := time.NewTicker(500 * time.Microsecond); ctx.Err() == nil; {
		c, err := s.Checkpoint(ctx, of)
		if err != nil && ctx.Err() == nil {
			t.Error(err)
		}
		if c.Position.Whole() >= seq {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// finish handles what is left.
func (b *books) finish(t *testing.T, lateIs string, names ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	progress, done := router.NewProgress(), make(chan error, 1)
	go func() { done <- handle(ctx, b.DB, progress, lateIs) }()
	for _, name := range names {
		if !progress.Await(ctx, name, b.head.Seq) {
			t.Errorf("%s does not come to the end", name)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// counted compares the counts with the log.
func (b *books) counted(t *testing.T) (err error) {
	t.Helper()
	want := map[string]bank.Seq{}
	for _, told := range apptest.Tell(bank.AccountsTopic, b.events(t)) {
		want[told.Key()]++
	}
	s := postgres.NewHandlerStore(b.Derived())
	for key, n := range want {
		c, failed := s.Checkpoint(t.Context(), countOf(key))
		if failed != nil {
			t.Fatal(failed)
		}
		if c.Position.Seq != n {
			err = errors.Join(err, fmt.Errorf("%d of the %d messages of %s were counted", c.Position.Seq, n, key))
		}
	}
	return err
}

// TestKilledHandlersLoseAndDoubleNothing kills a process with SIGKILL while it handles, many times at the same views.
// In the end they are what the log says, and each message was handled once.
func TestKilledHandlersLoseAndDoubleNothing(t *testing.T) {
	if *handleIn != "" {
		handleUntilKilled(t)
		return
	}
	t.Parallel()
	b := openBooks(t, 8000)
	all := []string{app.BalancesHandler, app.HistoryHandler, app.TransactionsHandler, counter}
	const rounds = 12
	share := len(b.coming) / (rounds + 1)
	for round := range rounds {
		before := b.head.Seq
		b.append(t, share)
		at := before + bank.Seq(rand.IntN(share))
		b.killedAt(t, all[round%len(all)], max(at, 1), "")
	}
	b.append(t, len(b.coming))
	b.finish(t, "", all...)
	if err := b.counted(t); err != nil {
		t.Error(err)
	}
	v := b.Views()
	if err := apptest.SameViews(t.Context(), v, v, b.events(t)); err != nil {
		t.Error(err)
	}
}

// A checkpoint that comes after its handler's writes doubles, and one that comes before them loses: the same kills
// show it.
func TestKillsShowACheckpointThatIsApart(t *testing.T) {
	t.Parallel()
	for name, lateIs := range map[string]string{"checkpoint late": counter, "effect late": counts} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := openBooks(t, 8000)
			const rounds = 40
			share := len(b.coming) / rounds
			for range rounds {
				before := b.head.Seq
				b.append(t, share)
				b.killedAt(t, counter, before+bank.Seq(rand.IntN(share)), lateIs)
				b.finish(t, lateIs, counter)
				if err := b.counted(t); err != nil {
					return
				}
			}
			t.Errorf("after %d kills, all is as it should be", rounds)
		})
	}
}

// Of processes that run the same handler, each message is handled by one.
func TestProcessesThatShareAHandlerDoubleNothing(t *testing.T) {
	t.Parallel()
	b := openBooks(t, 2000)
	ctx, cancel := context.WithCancel(t.Context())
	second := openDB(t, postgres.Options{Prefix: b.prefix, Existing: true, MaxConns: 4})
	defer second.Close()
	ended := make(chan error, 1)
	go func() { ended <- handle(ctx, second, router.NewProgress(), "") }()
	for len(b.coming) > 0 {
		b.append(t, min(100, len(b.coming)))
	}
	b.finish(t, "", app.BalancesHandler, app.HistoryHandler, app.TransactionsHandler, counter)
	cancel()
	if err := errors.Join(<-ended, b.counted(t)); err != nil {
		t.Error(err)
	}
}

// Connections end in the middle of anything, commits included; the checkpoint tells what came through.
func TestLostConnectionsLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	b := openBooks(t, 4000)
	share := len(b.coming) / 10
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	db := openDB(t, postgres.Options{Prefix: b.prefix, Existing: true, MaxConns: 6})
	defer db.Close()
	ended := make(chan error, 1)
	go func() { ended <- handle(ctx, db, router.NewProgress(), "") }()
	for range 6 {
		before := b.head.Seq
		b.append(t, share)
		b.reached(ctx, t, counter, before+bank.Seq(rand.IntN(share)))
		run(t, b.State(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE application_name = $1 AND state <> 'idle'`, "bankforge "+b.prefix+"views")
		run(t, b.State(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE application_name = $1 AND query LIKE 'WITH next%'`, "bankforge "+b.prefix+"ledger")
	}
	b.reached(ctx, t, counter, b.head.Seq)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	b.finish(t, "", app.BalancesHandler, app.HistoryHandler, app.TransactionsHandler, counter)
	v := b.Views()
	if err := errors.Join(b.counted(t), apptest.SameViews(t.Context(), v, v, b.events(t))); err != nil {
		t.Error(err)
	}
}
