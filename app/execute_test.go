package app_test

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
)

func TestTheSameKeyFromManyCallersIsOneCommand(t *testing.T) {
	t.Parallel()
	log := &apptest.MemoryLog{}
	l := start(t, log)
	before := must(t, l, open(1), open(2), deposit("d", 1, 1, 100)).Seq
	const callers = 100
	answers := make([]app.Answer, callers)
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			a := transfer("t", 2, 1, 2, 60)
			a.Command = bank.Transfer{ // each caller makes an id of its own
				Terms: bank.Terms{ID: transactionID(1000 + i)}, From: accountID(1), To: accountID(2), Amount: euros(60),
			}
			var err error
			if answers[i], err = l.Execute(t.Context(), a); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := l.Committed(); got != before+1 {
		t.Fatalf("%d events, want 1", got-before)
	}
	first := 0
	for _, a := range answers {
		if !a.Replayed {
			first++
		}
		if !reflect.DeepEqual(a.Events, answers[0].Events) || a.Seq != before+1 {
			t.Fatalf("different answers: %+v and %+v", a, answers[0])
		}
	}
	if first != 1 {
		t.Fatalf("%d answers say that they are the first", first)
	}
}

func TestAKeyBelongsToOneRequest(t *testing.T) {
	t.Parallel()
	l := start(t, &apptest.MemoryLog{})
	must(t, l, open(1), deposit("d", 1, 1, 100))
	refused(t, l, deposit("d", 1, 1, 101), app.CodeKeyReused)
	if got := must(t, l, deposit("d", 1, 1, 100)); !got.Replayed {
		t.Fatal("the key's own request is not a replay any more")
	}
}

func TestWhatIsRememberedOfRefusals(t *testing.T) {
	t.Parallel()
	log := &apptest.MemoryLog{}
	l := start(t, log)
	must(t, l, open(1), open(2), deposit("d", 1, 1, 100))
	if got := refused(t, l, transfer("t", 2, 1, 2, 500), bank.InsufficientFunds); got.Replayed {
		t.Fatal("the first refusal is a replay")
	}
	must(t, l, deposit("more", 3, 1, 1000))
	if got := refused(t, l, transfer("t", 2, 1, 2, 500), bank.InsufficientFunds); !got.Replayed {
		t.Fatal("the second refusal is not a replay")
	}
	crashed := start(t, log.Crash())
	if got := refused(t, crashed, transfer("t", 2, 1, 2, 500), bank.InsufficientFunds); !got.Replayed {
		t.Fatal("the refusal was forgotten in a crash")
	}
	// What was not found may come to be.
	freeze := ask("f", bank.SetStatus{ID: accountID(9), To: bank.Frozen, Reason: "r"})
	refused(t, l, freeze, bank.NotFound)
	must(t, l, open(9))
	if got := must(t, l, freeze); got.Replayed || got.Account.Status != bank.Frozen {
		t.Fatalf("got %+v", got)
	}
	early := app.Ask{Call: freeze.Call, Name: "x", Command: freeze.Command}
	early.Call.Key[0]++
	early.Refusal = bank.Refuse(app.CodeCustomerNotFound, "customer_id", "No.")
	refused(t, l, early, app.CodeCustomerNotFound)
	early.Refusal = nil
	if got := refused(t, l, early, app.CodeCustomerNotFound); !got.Replayed {
		t.Fatal("a refusal from before the decision was not remembered")
	}
}

// Each command, its answer, and its answer again after a crash between commit and reply.
func TestAReplayGivesTheSameAnswer(t *testing.T) {
	t.Parallel()
	log := &apptest.MemoryLog{}
	l := start(t, log)
	label := "savings"
	asks := []app.Ask{
		open(1), open(2), deposit("d", 1, 1, 1000), transfer("t", 2, 1, 2, 10),
		ask("change", bank.ChangeAccount{ID: accountID(1), Label: &label}),
		ask("freeze", bank.SetStatus{ID: accountID(2), To: bank.Frozen, Reason: "r"}),
		ask("frozen already", bank.SetStatus{ID: accountID(2), To: bank.Frozen, Reason: "r"}),
		ask("thaw", bank.SetStatus{ID: accountID(2), To: bank.Active, Reason: "r"}),
		ask("bulk", bank.Bulk{Items: []bank.Transfer{
			{Terms: bank.Terms{ID: transactionID(3)}, From: accountID(1), To: accountID(2), Amount: euros(5)},
			{Terms: bank.Terms{ID: transactionID(4)}, From: accountID(1), To: accountID(1), Amount: euros(5)},
			{Terms: bank.Terms{ID: transactionID(5)}, From: accountID(2), To: accountID(1), Amount: euros(1)},
		}}),
		ask("reverse", bank.Reverse{Terms: bank.Terms{ID: transactionID(6)}, Of: transactionID(2), Reason: "r"}),
		ask("hold", bank.PlaceHold{
			ID: holdID(1), Account: accountID(1), Amount: euros(50), ExpiresAt: bank.TimeOf(t0().AddDate(0, 0, 7)),
		}),
		ask("capture", bank.Capture{Terms: bank.Terms{ID: transactionID(7)}, Hold: holdID(1), Amount: euros(20)}),
		ask("void", bank.VoidHold{ID: holdID(1)}),
		ask("review", bank.SetReview{ID: accountID(1), Above: &bank.Review{Minor: 1, Currency: euros(1).Currency()}}),
		transfer("pending", 8, 1, 2, 10),
		ask("approve", bank.DecidePending{ID: transactionID(8), Approve: true, Reason: "r"}),
	}
	first := make([]app.Answer, len(asks))
	for i, a := range asks {
		first[i] = must(t, l, a)
	}
	after := start(t, log.Crash())
	for _, ledger := range []*app.Ledger{l, after} {
		for i, a := range asks {
			got := must(t, ledger, a)
			want := first[i]
			if !got.Replayed {
				t.Errorf("%s: not a replay", a.Call.IdempotencyKey)
			}
			got.Replayed, got.Timing, want.Timing = false, app.Timing{}, app.Timing{}
			if !reflect.DeepEqual(got, want) { //nolint:govet // the refusals in it are plain values
				t.Errorf("%s:\n got %+v\nwant %+v", a.Call.IdempotencyKey, got, want)
			}
		}
	}
}

func TestAFullQueueRefusesAtOnce(t *testing.T) {
	t.Parallel()
	log := &apptest.MemoryLog{}
	g := newGate()
	l := start(t, log, func(c *app.LedgerConfig) { c.QueueSize = 2 })
	must(t, l, open(1))
	log.Inject(apptest.Faults{BeforeAppend: g.wait})
	waiting := []<-chan answered{background(t.Context(), l, deposit("a", 1, 1, 1))}
	<-g.entered // the decider is busy with it
	for i := range 2 {
		waiting = append(waiting, background(t.Context(), l, deposit(fmt.Sprint("b", i), 2+i, 1, 1)))
	}
	until(t, func() bool { return l.Waiting() == 2 })
	refused(t, l, deposit("c", 9, 1, 1), app.CodeOverloaded)
	log.Inject(apptest.Faults{})
	g.through <- nil
	for _, w := range waiting {
		if got := <-w; got.err != nil {
			t.Fatal(got.err)
		}
	}
	must(t, l, deposit("c", 9, 1, 1)) // an overload is not remembered
}

func TestACallerWhoLeavesTheQueueLeavesNothing(t *testing.T) {
	t.Parallel()
	log := &apptest.MemoryLog{}
	g := newGate()
	l := start(t, log)
	must(t, l, open(1))
	log.Inject(apptest.Faults{BeforeAppend: g.wait})
	busy := background(t.Context(), l, deposit("a", 1, 1, 1))
	<-g.entered
	ctx, leave := context.WithCancel(t.Context())
	queued := background(ctx, l, deposit("b", 2, 1, 1))
	until(t, func() bool { return l.Waiting() == 1 })
	leave()
	if got := <-queued; codeOf(got.err) != app.CodeUnavailable {
		t.Fatalf("got %v", got.err)
	}
	log.Inject(apptest.Faults{})
	g.through <- nil
	if got := <-busy; got.err != nil {
		t.Fatal(got.err)
	}
	if got := must(t, l, deposit("b", 2, 1, 1)); got.Replayed {
		t.Fatal("the command was carried out after its caller had left")
	}
}

func TestACallerWhoLeavesWhileItIsDecidedMayAskAgain(t *testing.T) {
	t.Parallel()
	log := &apptest.MemoryLog{}
	g := newGate()
	l := start(t, log)
	must(t, l, open(1))
	log.Inject(apptest.Faults{BeforeAppend: g.wait})
	ctx, leave := context.WithCancel(t.Context())
	first := background(ctx, l, deposit("a", 1, 1, 1))
	<-g.entered
	leave()
	if got := <-first; codeOf(got.err) != app.CodeOutcomeUnknown {
		t.Fatalf("got %v", got.err)
	}
	log.Inject(apptest.Faults{})
	g.through <- nil
	if got := must(t, l, deposit("a", 1, 1, 1)); !got.Replayed {
		t.Fatal("it was carried out twice")
	}
}

func TestClosingFinishesWhatWasAccepted(t *testing.T) {
	t.Parallel()
	log := &apptest.MemoryLog{}
	g := newGate()
	l := start(t, log)
	must(t, l, open(1))
	log.Inject(apptest.Faults{BeforeAppend: g.wait})
	busy := background(t.Context(), l, deposit("a", 1, 1, 1))
	<-g.entered
	queued := background(t.Context(), l, deposit("b", 2, 1, 1))
	until(t, func() bool { return l.Waiting() == 1 })
	closed := make(chan error)
	go func() { closed <- l.Close(t.Context()) }()
	until(t, func() bool { return l.Ready() != nil })
	refused(t, l, deposit("c", 3, 1, 1), app.CodeUnavailable)
	log.Inject(apptest.Faults{})
	g.through <- nil
	for _, w := range []<-chan answered{busy, queued} {
		if got := <-w; got.err != nil {
			t.Fatal(got.err)
		}
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	refused(t, l, deposit("c", 3, 1, 1), app.CodeUnavailable)
}

func TestWhatIsBroughtFromTheLogIsTheNewestOfIt(t *testing.T) {
	t.Parallel()
	reverse := func(key string, txn, of int, minor int64) app.Ask {
		return ask(key, bank.Reverse{
			Terms: bank.Terms{ID: transactionID(txn)}, Of: transactionID(of), Amount: euros(minor),
		})
	}
	for range 10 { // what the log finds comes in any order
		log := &apptest.MemoryLog{}
		l := start(t, log)
		must(t, l, open(1), open(2), deposit("d1", 1, 1, 1000), deposit("d2", 10, 2, 1000), transfer("t", 2, 1, 2, 100))
		must(t, l, reverse("first part", 3, 2, 30))
		must(t, l, reverse("the rest", 4, 2, 70))

		g := newGate()
		log.Inject(apptest.Faults{BeforeAppend: g.wait})
		busy := background(t.Context(), l, deposit("busy", 20, 1, 1))
		<-g.entered
		// The event of the first part tells of the original too, as it was then: with 70 to give back.
		together := []<-chan answered{
			background(t.Context(), l, reverse("of a reversal", 5, 3, 1)),
			background(t.Context(), l, reverse("once more", 6, 2, 70)),
			background(t.Context(), l, deposit("bystander", 21, 1, 5)),
		}
		until(t, func() bool { return l.Waiting() == len(together) })
		log.Inject(apptest.Faults{})
		g.through <- nil
		<-busy
		for i, want := range []bank.Code{bank.NotReversible, bank.NotReversible, ""} {
			if got := <-together[i]; codeOf(got.err) != want {
				t.Errorf("command %d: %v, want %q", i, got.err, want)
			}
		}
	}
}

func TestWhoHasWaitedTooLongIsTurnedAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &apptest.MemoryLog{}
		const patience = 300 * time.Millisecond
		l := start(t, log, func(c *app.LedgerConfig) { c.QueueWait = patience })
		must(t, l, open(1))
		g := newGate()
		log.Inject(apptest.Faults{BeforeAppend: g.wait})
		busy := background(t.Context(), l, deposit("busy", 1, 1, 1))
		<-g.entered
		late := background(t.Context(), l, deposit("late", 2, 1, 1))
		synctest.Wait()
		pass(patience / 2)
		inTime := background(t.Context(), l, deposit("in time", 3, 1, 1))
		synctest.Wait()
		pass(patience/2 + time.Millisecond)
		log.Inject(apptest.Faults{})
		g.through <- nil
		if got := <-late; codeOf(got.err) != app.CodeOverloaded {
			t.Errorf("late: %v", got.err)
		}
		for _, w := range []<-chan answered{busy, inTime} {
			if got := <-w; got.err != nil {
				t.Error(got.err)
			}
		}
		if got := must(t, l, deposit("late", 2, 1, 1)); got.Replayed {
			t.Error("what was turned away is remembered")
		}
	})
}

func TestTheItemsOfBulksFillTheQueue(t *testing.T) {
	t.Parallel()
	log := &apptest.MemoryLog{}
	l := start(t, log, func(c *app.LedgerConfig) { c.QueueSize = 10 })
	must(t, l, open(1), open(2), deposit("d", 1, 1, 1000))
	bulk := func(key string, first, items int) app.Ask {
		b := bank.Bulk{}
		for i := range items {
			b.Items = append(b.Items, bank.Transfer{
				Terms: bank.Terms{ID: transactionID(first + i)}, From: accountID(1), To: accountID(2), Amount: euros(1),
			})
		}
		return ask(key, b)
	}
	g := newGate()
	log.Inject(apptest.Faults{BeforeAppend: g.wait})
	busy := background(t.Context(), l, deposit("busy", 2, 1, 1))
	<-g.entered
	first := background(t.Context(), l, bulk("larger than the queue, and alone", 100, 12))
	until(t, func() bool { return l.Waiting() == 1 })
	refused(t, l, deposit("no room", 3, 1, 1), app.CodeOverloaded)
	log.Inject(apptest.Faults{})
	g.through <- nil
	<-busy
	if got := <-first; got.err != nil || len(got.Items) != 12 {
		t.Fatalf("%d items, %v", len(got.Items), got.err)
	}
	must(t, l, bulk("room again", 200, 10))
}
