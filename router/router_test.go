package router_test

import (
	"context"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

func TestTheOrderOfTheSteps(t *testing.T) {
	t.Parallel()
	b := newBench(t, newLedger(), openStore(t), quick())
	want := []string{"traced", "correlated", "gated", "parking", "retried", "timed", "recovered", "transactional"}
	if got := b.StepNames(handlerName); !reflect.DeepEqual(got, want) {
		t.Errorf("the steps are %v; want %v: see DESIGN section 4", got, want)
	}
}

func TestTheNamesOfTheRoutes(t *testing.T) {
	t.Parallel()
	nothing := func(context.Context, []handlers.Fact) error { return nil }
	routes := router.Routes(
		router.Reactions{
			Balances: nothing, Entries: nothing, Transactions: nothing, Push: nothing, Operations: nothing,
			RedisBalances: nothing, MongoEntries: nothing, MongoTransactions: nothing,
		},
		router.Stores{Views: openStore(t), RedisBalances: newVault(), MongoHistory: newVault()})
	want := []string{
		"account-query balances bankforge.accounts.v1",
		"account-query balances-redis bankforge.accounts.v1",
		"transaction-query history bankforge.accounts.v1",
		"transaction-query transactions bankforge.transactions.v1",
		"transaction-query history-mongo bankforge.accounts.v1",
		"transaction-query transactions-mongo bankforge.transactions.v1",
		"monitoring operations bankforge.ops.v1",
		"push push-accounts bankforge.accounts.v1",
		"push push-transactions bankforge.transactions.v1",
	}
	var got []string
	for _, r := range routes {
		got = append(got, strings.Join([]string{r.Module, r.Name, string(r.Topic)}, " "))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("routes are\n%s\nwant\n%s\nNames are consumer groups: they never change.",
			strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if some := router.Routes(router.Reactions{Push: nothing}, router.Stores{}); len(some) != 2 {
		t.Errorf("a bank that only pushes has %d routes", len(some))
	}
	for _, module := range []string{"account-query", "transaction-query", "push"} {
		_, err := router.New(module, routes, router.Config{Source: newLedger(), Progress: router.NewProgress()})
		if err != nil {
			t.Errorf("%s: %v", module, err)
		}
	}
}

func TestWrongRoutesAreRefused(t *testing.T) {
	t.Parallel()
	good := router.Route{
		Module: "m", Name: "n", Topic: bank.AccountsTopic, Store: openStore(t),
		Handler: func(context.Context, []handlers.Fact) error { return nil },
	}
	noStore, noHandler := good, good
	noStore.Store, noHandler.Handler = nil, nil
	for name, routes := range map[string][]router.Route{
		"twice": {good, good}, "no store": {noStore}, "no handler": {noHandler}, "none": nil,
	} {
		if _, err := router.New("m", routes, router.Config{Source: newLedger(), Progress: router.NewProgress()}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := router.New("m", []router.Route{good}, router.Config{}); err == nil {
		t.Error("a router without source is taken")
	}
}

// A handler whose topic is silent still comes to the end of the log.
func TestASilentTopicMakesProgress(t *testing.T) {
	t.Parallel()
	l, progress := newLedger(), router.NewProgress()
	r, err := router.New("", []router.Route{{
		Name: handlerName, Topic: bank.TransactionsTopic, Store: openStore(t),
		Handler: func(context.Context, []handlers.Fact) error { t.Error("there is nothing to handle"); return nil },
	}}, router.Config{Source: l, Hints: l.hints, Progress: progress})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Router: r, name: handlerName, ledger: l, progress: progress}
	b.start(t)
	for range 600 {
		l.credit(1)
	}
	b.await(t)
	if s := b.status(t); s.Lag != 0 || s.State != router.Running {
		t.Errorf("status %+v", s)
	}
}

func TestAPausedHandlerWaits(t *testing.T) {
	t.Parallel()
	b := newBench(t, newLedger(), openStore(t), quick())
	if err := b.Pause(handlerName); err != nil {
		t.Fatal(err)
	}
	stop := b.start(t)
	b.ledger.credit(1)
	b.awaitState(t, router.Paused)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if b.progress.Await(ctx, handlerName, 1) {
		t.Fatal("a paused handler went on")
	}
	if err := b.Resume(handlerName); err != nil {
		t.Fatal(err)
	}
	b.await(t)
	if err := b.Pause(handlerName); err != nil {
		t.Fatal(err)
	}
	b.ledger.credit(1)
	stop() // a paused handler does not hold up the end
	if b.book.at(t, 1) != 1 || b.Pause("nobody") == nil {
		t.Fatalf("version %d; want 1, and no handler named nobody", b.book.at(t, 1))
	}
}

func TestTheEndWaitsForWhatIsBeingHandled(t *testing.T) {
	t.Parallel()
	b := newBench(t, newLedger(), openStore(t), quick())
	inside, leave := make(chan struct{}), make(chan struct{})
	b.book.fail = func(*handlers.Fact) error {
		close(inside)
		<-leave
		return nil
	}
	b.ledger.credit(1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	<-inside
	cancel()
	select {
	case err := <-done:
		t.Fatal("the router ended while a message was being handled", err)
	case <-time.After(20 * time.Millisecond):
	}
	close(leave)
	if err := <-done; err != nil || b.book.at(t, 1) != 1 {
		t.Fatalf("%v, version %d; want what was being handled to be committed", err, b.book.at(t, 1))
	}
	if s := b.status(t).State; s != router.Stopped {
		t.Errorf("state %s", s)
	}
}

func TestNewestGetsWhatHappensFromNowOn(t *testing.T) {
	t.Parallel()
	l, progress := newLedger(), router.NewProgress()
	l.credit(1)
	got := make(chan bank.Version, 10)
	r, err := router.New("", []router.Route{{
		Name: handlerName, Topic: bank.AccountsTopic, Kind: router.Newest,
		Handler: func(_ context.Context, facts []handlers.Fact) error {
			for i := range facts {
				got <- facts[i].Version()
			}
			if facts[0].Version()%2 == 0 {
				panic("dropped, not repeated")
			}
			return errBoom
		},
	}}, router.Config{Source: l, Hints: l.hints, Progress: progress})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Router: r, name: handlerName, ledger: l, progress: progress}
	b.start(t)
	b.await(t) // the session begins behind the first event
	for v := bank.Version(2); v < 6; v++ {
		l.credit(1)
		if x := <-got; x != v {
			t.Fatalf("version %d; want %d", x, v)
		}
	}
	want := []string{"traced", "correlated", "dropping", "recovered"}
	if got := r.StepNames(handlerName); !reflect.DeepEqual(got, want) {
		t.Errorf("the steps are %v; want %v", got, want)
	}
}

// Where nothing is for a handler, it lags behind nothing.
func TestNewestKeepsUpWithASilentTopic(t *testing.T) {
	t.Parallel()
	l, progress := newLedger(), router.NewProgress()
	r, err := router.New("", []router.Route{{
		Name: handlerName, Topic: bank.TransactionsTopic, Kind: router.Newest,
		Handler: func(context.Context, []handlers.Fact) error { t.Error("there is nothing to handle"); return nil },
	}}, router.Config{Source: l, Hints: l.hints, Progress: progress})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Router: r, name: handlerName, ledger: l, progress: progress}
	b.start(t)
	for range 3 {
		l.credit(1)
		b.await(t)
	}
	if s := b.status(t); s.Lag != 0 || s.Position.Whole() != 3 {
		t.Errorf("status %+v", s)
	}
}

// What commits while a process comes up is not missed by those who are connected already.
func TestNewestStartsWhereItIsTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		from *bank.Seq
		want bank.Version
	}{"an event": {new(bank.Seq(2)), 3}, "the very beginning": {new(bank.Seq(0)), 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, got := newLedger(), make(chan bank.Version, 10)
			for range 4 {
				l.credit(1)
			}
			r, err := router.New("", []router.Route{{
				Name: handlerName, Topic: bank.AccountsTopic, Kind: router.Newest,
				Handler: func(_ context.Context, facts []handlers.Fact) error {
					for i := range facts {
						got <- facts[i].Version()
					}
					return nil
				},
			}}, router.Config{Source: l, Hints: l.hints, Progress: router.NewProgress(), From: c.from})
			if err != nil {
				t.Fatal(err)
			}
			(&bench{Router: r}).start(t)
			for v := c.want; v <= 4; v++ {
				select {
				case x := <-got:
					if x != v {
						t.Fatalf("version %d; want %d", x, v)
					}
				case <-time.After(20 * time.Second):
					t.Fatalf("version %d does not come", v)
				}
			}
		})
	}
}

func TestACheckpointOfAnotherLogHoldsTheHandler(t *testing.T) {
	t.Parallel()
	l, s := newLedger(), openStore(t)
	first := newBench(t, l, s, quick())
	stop := first.start(t)
	for range 5 {
		l.credit(1)
	}
	first.await(t)
	stop()

	l = newLedger() // a backup from before the end is restored
	l.incarnation = "inc2"
	for range 2 {
		l.credit(1)
	}
	b := newBench(t, l, s, quick())
	b.start(t)
	b.awaitState(t, router.Held)
	if at := b.progress.At(handlerName); at != 0 {
		t.Errorf("the handler says that it has seen event %d of a log that it does not know", at)
	}
	if got := b.status(t).LastError; got != router.ErrOtherLog.Error() {
		t.Errorf("last error %q", got)
	}
	// Rebuilding starts from nothing, as deleting views.db does.
	err := s.InTx(t.Context(), func(ctx context.Context) error {
		if err := s.Advance(ctx, page(account(1).String()), router.Checkpoint{}); err != nil {
			return err
		}
		return s.Advance(ctx, router.Stream{Handler: handlerName, Topic: bank.AccountsTopic}, router.Checkpoint{})
	})
	if err != nil {
		t.Fatal(err)
	}
	b.await(t)
	b.awaitState(t, router.Running)
	if b.book.at(t, 1) != 2 {
		t.Fatalf("version %d; want the whole log to be read again", b.book.at(t, 1))
	}
	b.book.check(t)
}

func TestAFactAloneCarriesItsOrigin(t *testing.T) {
	t.Parallel()
	l, origins := newLedger(), make(chan handlers.Origin, 2)
	l.credit(1)
	b := newBench(t, l, openStore(t), quick())
	r, err := router.New("", []router.Route{{
		Name: handlerName, Topic: bank.AccountsTopic, Store: b.store,
		Handler: func(ctx context.Context, _ []handlers.Fact) error {
			origins <- handlers.OriginOf(ctx)
			return nil
		},
	}}, router.Config{Source: l, Hints: l.hints, Progress: b.progress})
	if err != nil {
		t.Fatal(err)
	}
	b.Router = r
	b.start(t)
	if got, want := <-origins, (handlers.Origin{CorrelationID: "cor-1", CausationID: "inc1-1-0"}); got != want {
		t.Errorf("origin %+v; want %+v", got, want)
	}
}

func TestProgressWakesThoseWhoWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		b := newBench(t, l, openStore(t), quick())
		var progress app.Progress = b.progress
		stop := b.start(t)
		defer stop()
		var waiting sync.WaitGroup
		for seq := range bank.Seq(3) {
			waiting.Go(func() {
				if !progress.Await(t.Context(), handlerName, seq+1) {
					t.Errorf("event %d never came", seq+1)
				}
			})
		}
		synctest.Wait()
		for range 3 {
			l.credit(1)
		}
		waiting.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if progress.Await(ctx, handlerName, 4) || progress.At(handlerName) != 3 {
			t.Errorf("the handler is at %d", progress.At(handlerName))
		}
		if _, err := progress.Parked(ctx, "nobody", "k"); err == nil {
			t.Error("a handler that does not run here was asked")
		}
	})
}
