package redis_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"bankforge/adapters/redis"
	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/handlers/projection"
	"bankforge/router"
)

// transfers are n transfers between random ones of some accounts, as facts of accounts.
func transfers(tb testing.TB, n, accounts int) (facts []handlers.Fact) {
	tb.Helper()
	s, random := bank.NewState(), uint64(1)
	next := func() uint64 { random = random*6364136223846793005 + 1442695040888963407; return random >> 33 }
	id := func() (out [16]byte) {
		binary.BigEndian.PutUint64(out[:], next()<<33|next())
		binary.BigEndian.PutUint64(out[8:], next()<<33|next())
		return out
	}
	do := func(c bank.Command) {
		events, err := bank.Decide(s, c, bank.Time(1_700_000_000_000_000+len(facts)))
		if err != nil {
			tb.Fatal(err)
		}
		for _, e := range events {
			s.Evolve(e)
			for _, c := range e.Changes() {
				if c.Topic() == bank.AccountsTopic {
					facts = append(facts, handlers.Fact{Change: c})
				}
			}
		}
		s.Settle()
	}
	eur, err := bank.ParseCurrency("EUR")
	if err != nil {
		tb.Fatal(err)
	}
	one, err := bank.NewAmount(1, eur)
	if err != nil {
		tb.Fatal(err)
	}
	all := make([]bank.AccountID, accounts)
	for i := range all {
		all[i] = bank.MakeID[bank.Account](id())
		do(bank.OpenAccount{
			ID: all[i], OverdraftLimit: bank.MaxAmount, DailyDebitLimit: bank.NoLimit,
			Opening: bank.Opening{Customer: bank.MakeID[bank.Customer](id()), Currency: eur, Type: bank.Current},
		})
	}
	for range n {
		from := next() % uint64(accounts)
		to := (from + 1 + next()%uint64(accounts-1)) % uint64(accounts)
		do(bank.Transfer{
			Terms: bank.Terms{ID: bank.MakeID[bank.Transaction](id())}, From: all[from], To: all[to], Amount: one,
		})
	}
	return facts
}

// BenchmarkBalances says how many facts a second Redis takes in, with deliveries of several sizes, and accounts that
// are seldom or often the same.
func BenchmarkBalances(b *testing.B) {
	for _, accounts := range []int{1000, 100_000} {
		facts := transfers(b, 50_000, accounts)
		for _, size := range []int{256, 1024, 8192} {
			b.Run(fmt.Sprintf("%d accounts/%d", accounts, size), func(b *testing.B) {
				taken := 0
				for b.Loop() {
					fill(b, facts, size)
					taken += len(facts)
				}
				b.ReportMetric(float64(taken)/b.Elapsed().Seconds(), "facts/s")
			})
		}
	}
}

func fill(b *testing.B, facts []handlers.Fact, size int) {
	b.Helper()
	db, _, _ := open(b)
	view, mark := redis.NewView(db), router.Mark{}
	handle := projection.Balances(view)
	for from := 0; from < len(facts); from += size {
		next := router.Mark{Checkpoint: router.Checkpoint{
			Incarnation: "first", Position: handlers.Position{Seq: bank.Seq(from)},
		}}
		if err := view.Move(b.Context(), stream, mark, next); err != nil {
			b.Fatal(err)
		}
		mark = next
		fenced := router.WithFence(b.Context(), router.Fence{Stream: stream, Mark: mark})
		if err := handle(fenced, facts[from:min(from+size, len(facts))]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead says what it costs to read one account.
func BenchmarkRead(b *testing.B) {
	db, _, _ := open(b)
	view, mark := redis.NewView(db), router.Mark{Checkpoint: router.Checkpoint{Incarnation: "first"}}
	of := router.Stream{Handler: router.RedisBalancesHandler, Topic: bank.AccountsTopic}
	if err := view.Move(b.Context(), of, router.Mark{}, mark); err != nil {
		b.Fatal(err)
	}
	facts := transfers(b, 1, 2)
	fenced := router.WithFence(b.Context(), router.Fence{Stream: of, Mark: mark})
	if err := projection.Balances(view)(fenced, facts); err != nil {
		b.Fatal(err)
	}
	balances := redis.NewBalances(db, app.Balances(nil), nil, nil)
	for b.Loop() {
		if _, ok, err := balances.Account(b.Context(), facts[0].Leg.Account); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
