package mongo_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"bankforge/adapters/mongo"
	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router"
)

// transfers are n transfers between random ones of some accounts, as facts of both topics.
func transfers(tb testing.TB, n, accounts int) map[bank.Topic][]handlers.Fact {
	tb.Helper()
	s, random, facts := bank.NewState(), uint64(1), map[bank.Topic][]handlers.Fact{}
	next := func() uint64 { random = random*6364136223846793005 + 1442695040888963407; return random >> 33 }
	seq := uint64(0)
	id := func() (out [16]byte) {
		seq++
		binary.BigEndian.PutUint64(out[:], 1_700_000_000_000<<16+seq<<8)
		binary.BigEndian.PutUint64(out[8:], next()<<33|next())
		return out
	}
	do := func(c bank.Command) {
		events, err := bank.Decide(s, c, bank.Time(1_700_000_000_000_000+seq*10))
		if err != nil {
			tb.Fatal(err)
		}
		for _, e := range events {
			s.Evolve(e)
			for _, c := range e.Changes() {
				key := fmt.Sprintf("%x-%x", next(), next())
				facts[c.Topic()] = append(facts[c.Topic()], handlers.Fact{Change: c, IdempotencyKey: key})
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
		terms := bank.Terms{ID: bank.MakeID[bank.Transaction](id()), CorrelationID: fmt.Sprintf("%x-%x", next(), next())}
		do(bank.Transfer{Terms: terms, From: all[from], To: all[to], Amount: one})
	}
	return facts
}

// BenchmarkHistory says how many facts a second MongoDB takes in, with deliveries of several sizes.
func BenchmarkHistory(b *testing.B) {
	facts := transfers(b, 10_000, 1000)
	for _, size := range []int{256, 1024, 4096} {
		for _, s := range []router.Stream{entriesStream, changesStream} {
			b.Run(fmt.Sprintf("%s/%d", s.Handler, size), func(b *testing.B) {
				taken := 0
				for b.Loop() {
					fill(b, s, facts[s.Topic], size)
					taken += len(facts[s.Topic])
				}
				b.ReportMetric(float64(taken)/b.Elapsed().Seconds(), "facts/s")
			})
		}
	}
}

func fill(b *testing.B, s router.Stream, facts []handlers.Fact, size int) {
	b.Helper()
	db, _ := open(b)
	view, mark := mongo.NewView(db), router.Mark{}
	handle := view.Entries()
	if s == changesStream {
		handle = view.Transactions()
	}
	for from := 0; from < len(facts); from += size {
		next := router.Mark{Checkpoint: router.Checkpoint{
			Incarnation: "first", Position: handlers.Position{Seq: bank.Seq(from)},
		}}
		if err := view.Move(b.Context(), s, mark, next); err != nil {
			b.Fatal(err)
		}
		mark = next
		fenced := router.WithFence(b.Context(), router.Fence{Stream: s, Mark: mark})
		if err := handle(fenced, facts[from:min(from+size, len(facts))]); err != nil {
			b.Fatal(err)
		}
	}
}
