package push_test

import (
	"context"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/push"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	eur   = currency("EUR")
	payer = bank.MakeID[bank.Account]([16]byte{1})
	payee = bank.MakeID[bank.Account]([16]byte{2})
	moved = bank.MakeID[bank.Transaction]([16]byte{3})
	noon  = bank.TimeOf(time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC))
)

func currency(code string) bank.Currency {
	c, err := bank.ParseCurrency(code)
	if err != nil {
		panic(err)
	}
	return c
}

func amount(minor int64) bank.Amount {
	a, err := bank.NewAmount(minor, eur)
	if err != nil {
		panic(err)
	}
	return a
}

func leg(minor int64, status bank.AccountStatus) bank.Leg {
	return bank.Leg{Account: payer, Currency: eur, Amount: minor, After: bank.AccountState{
		Version: 42, Status: status, Balance: 123_456 + minor, Held: 300, OverdraftLimit: 5_000,
		DailyDebitLimit: bank.NoLimit,
	}}
}

func transfer(status bank.TransactionStatus, version bank.Version, reversed int64) bank.Transaction {
	t := bank.Transaction{
		ID: moved, Kind: bank.TransferKind, Status: status, Version: version, Amount: amount(2_500), Reversed: reversed,
		From: payer, To: payee, PostedAt: noon, Reference: "only for the two sides",
	}
	if status == bank.PendingReview || status == bank.Rejected {
		t.PostedAt = 0
	}
	return t
}

// events has one event for each name of a live message, under that name.
func events() map[string]bank.Event {
	account := func(t bank.EventType, minor int64, status bank.AccountStatus, ts ...bank.Transaction) bank.Event {
		return bank.Event{Seq: 7, Type: t, Time: noon, Legs: []bank.Leg{leg(minor, status)}, Transactions: ts}
	}
	posted := transfer(bank.Posted, 1, 0)
	return map[string]bank.Event{
		"account.opened":             account(bank.AccountOpened, 0, bank.Active),
		"account.updated":            account(bank.AccountChanged, 0, bank.Active),
		"account.frozen":             account(bank.AccountFrozen, 0, bank.Frozen),
		"account.unfrozen":           account(bank.AccountUnfrozen, 0, bank.Active),
		"account.closed":             account(bank.AccountClosed, 0, bank.Closed),
		"account.review_set":         account(bank.ReviewSet, 0, bank.Active),
		"account.held":               account(bank.HoldPlaced, 0, bank.Active),
		"account.released":           account(bank.HoldVoidedEvent, 0, bank.Active),
		"account.credited":           account(bank.TransactionMade, 2_500, bank.Active, posted),
		"account.debited":            account(bank.TransactionMade, -2_500, bank.Active, posted),
		"transaction.posted":         account(bank.TransactionMade, 2_500, bank.Active, posted),
		"transaction.pending_review": account(bank.TransferPending, 0, bank.Active, transfer(bank.PendingReview, 1, 0)),
		"transaction.rejected":       account(bank.TransferRejected, 0, bank.Active, transfer(bank.Rejected, 2, 0)),
		"transaction.partially_reversed": account(bank.TransactionMade, 9, bank.Active,
			transfer(bank.PartiallyReversed, 2, 9)),
		"transaction.reversed": account(bank.TransactionMade, 9, bank.Active, transfer(bank.Reversed, 3, 2_500)),
	}
}

func factNamed(t *testing.T, e bank.Event, name string) handlers.Fact {
	t.Helper()
	for _, c := range e.Changes() {
		if c.Name == name {
			return handlers.Fact{Change: c, Incarnation: "inc-1", CorrelationID: "corr-1", Actor: "never told"}
		}
	}
	t.Fatalf("no change named %s", name)
	return handlers.Fact{}
}

func TestGoldenFormOfEachType(t *testing.T) {
	t.Parallel()
	all := events()
	for name, e := range all {
		f := factNamed(t, e, name)
		got := string(push.Encode(&f).Data) + "\n"
		file := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s\n got %s\nwant %s", name, got, want)
		}
	}
	files, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil || len(files) != len(all) {
		t.Errorf("%d golden files for %d types (%v)", len(files), len(all), err)
	}
}

func TestTheSmallestIntegerKeepsItsSize(t *testing.T) {
	t.Parallel()
	e := events()["account.debited"]
	e.Legs[0].Amount = math.MinInt64
	f := factNamed(t, e, "account.debited")
	if got := string(push.Encode(&f).Data); !strings.Contains(got, `"amount":"9223372036854775808"`) {
		t.Errorf("the amount is wrong in %s", got)
	}
}

// hub writes down what reaches it; only the channels in watched have somebody who listens.
type hub struct {
	watched map[string]bool
	got     []push.Publication
}

func (h *hub) Watched(channel string) bool { return h.watched[channel] }

func (h *hub) Publish(p push.Publication) { h.got = append(h.got, p) }

func TestOnlyWatchedChannelsInOrder(t *testing.T) {
	t.Parallel()
	e := events()["transaction.posted"]
	other := leg(-2_500, bank.Active)
	other.Account = payee
	e.Legs = append(e.Legs, other)
	var facts []handlers.Fact
	for _, c := range e.Changes() {
		facts = append(facts, handlers.Fact{Change: c, Incarnation: "inc-1"})
	}
	h := &hub{watched: map[string]bool{"account:" + payer.String(): true, "transaction:" + moved.String(): true}}
	if err := push.Func(h)(context.Background(), facts); err != nil {
		t.Fatal(err)
	}
	if len(h.got) != 2 {
		t.Fatalf("published %d messages, not the 2 that are watched", len(h.got))
	}
	for i, want := range []push.Publication{
		{Channel: "account:" + payer.String(), Epoch: "inc-1", Offset: 42},
		{Channel: "transaction:" + moved.String(), Epoch: "inc-1", Offset: 1},
	} {
		got := h.got[i]
		if got.Channel != want.Channel || got.Epoch != want.Epoch || got.Offset != want.Offset || len(got.Data) == 0 {
			t.Errorf("publication %d is %+v", i, got)
		}
	}
}
