package sqlite_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"syscall"
	"testing"
	"time"

	"bankforge/adapters/sqlite"
	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
)

// transfers are a log of n transfers between random ones of some accounts, as a busy bank writes it.
func transfers(b *testing.B, n, accounts int) *log {
	b.Helper()
	l := &log{incarnation: "first"}
	s := bank.NewState()
	ids := uint64(0)
	random := uint64(1)
	next := func() uint64 { random = random*6364136223846793005 + 1442695040888963407; return random >> 33 }
	id := func() (out [16]byte) {
		ids++
		binary.BigEndian.PutUint64(out[:], 1_700_000_000_000<<16+ids<<8)
		binary.BigEndian.PutUint64(out[8:], next()<<33|next())
		return out
	}
	do := func(c bank.Command) {
		events, err := bank.Decide(s, c, bank.Time(1_700_000_000_000_000+ids*10))
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range events {
			s.Evolve(e)
			key := fmt.Sprintf("%x-%x", next(), next())
			l.events = append(l.events, app.Recorded{Event: e, Meta: app.Meta{CorrelationID: key, IdempotencyKey: key}})
		}
		s.Settle()
	}
	eur, err := bank.ParseCurrency("EUR")
	if err != nil {
		b.Fatal(err)
	}
	one, err := bank.NewAmount(1, eur)
	if err != nil {
		b.Fatal(err)
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
	return l
}

// BenchmarkViews says how many events a second the handlers take in, with batches as a busy bank has them.
func BenchmarkViews(b *testing.B) {
	l := transfers(b, 50_000, 1000)
	for _, batch := range []int{256, 4096, 8192} { // when there is little to do, and when much waits
		for _, which := range []string{"all", app.BalancesHandler, app.HistoryHandler, app.TransactionsHandler} {
			b.Run(fmt.Sprintf("%s/%d", which, batch), func(b *testing.B) {
				events, before := 0, cpuTime(b)
				for b.Loop() {
					events += takeAll(b, l, batch, which)
				}
				report(b, events, before)
			})
		}
	}
}

// BenchmarkRebuild says how many events a second are built anew, compared and put in place.
func BenchmarkRebuild(b *testing.B) {
	l := transfers(b, 50_000, 1000)
	db, err := sqlite.Open(b.Context(), b.TempDir()+"/views.db", sqlite.ViewsFile)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	events, before := 0, cpuTime(b)
	for b.Loop() {
		r, err := sqlite.RebuildViews(b.Context(), db, l, b.TempDir(), sqlite.ViewNames())
		if err != nil {
			b.Fatal(err)
		}
		events += int(r.Through)
	}
	report(b, events, before)
}

// report says also what CPU time an event takes: on a busy machine that is the figure to look at.
func report(b *testing.B, events int, before time.Duration) {
	b.Helper()
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/1000/float64(events), "cpu-µs/event")
}

// cpuTime is what the process has used.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func takeAll(b *testing.B, l *log, batch int, which string) int {
	b.Helper()
	db, err := sqlite.Open(b.Context(), b.TempDir()+"/views.db", sqlite.ViewsFile)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	v, err := sqlite.NewViews(b.Context(), db)
	if err != nil {
		b.Fatal(err)
	}
	for at := 0; at < len(l.events); at += batch {
		facts := map[bank.Topic][]handlers.Fact{}
		for _, e := range l.events[at:min(at+batch, len(l.events))] {
			for _, c := range e.Changes() {
				facts[c.Topic()] = append(facts[c.Topic()], handlers.Fact{Change: c, IdempotencyKey: e.Meta.IdempotencyKey})
			}
		}
		for _, h := range all(v) {
			if which != "all" && which != h.Handler {
				continue
			}
			take := func(ctx context.Context) error {
				if batch >= 8192 {
					ctx = handlers.WithMore(ctx)
				}
				return h.handle(ctx, facts[h.Topic])
			}
			if err := db.InTx(b.Context(), take); err != nil {
				b.Fatal(err)
			}
		}
	}
	return len(l.events)
}
