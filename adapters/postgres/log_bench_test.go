package postgres

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/codec"
)

// busy makes the batches of a busy bank: transfers between random ones of some accounts, each under a random key.
type busy struct {
	tb       testing.TB
	state    *bank.State
	random   uint64
	ids      uint64
	eur      bank.Currency
	accounts []bank.AccountID
	events   []bank.Event
}

func newBusy(tb testing.TB, accounts int) *busy {
	tb.Helper()
	eur, err := bank.ParseCurrency("EUR")
	if err != nil {
		tb.Fatal(err)
	}
	g := &busy{tb: tb, state: bank.NewState(), random: 1, eur: eur}
	for range accounts {
		g.accounts = append(g.accounts, bank.MakeID[bank.Account](g.id()))
	}
	return g
}

func (g *busy) next() uint64 {
	g.random = g.random*6364136223846793005 + 1442695040888963407
	return g.random >> 33
}

func (g *busy) id() (b [16]byte) {
	g.ids++
	binary.BigEndian.PutUint64(b[:8], 1_700_000_000_000<<16+g.ids<<8)
	binary.BigEndian.PutUint64(b[8:], g.next()<<33|g.next())
	return b
}

func (g *busy) do(c bank.Command) {
	g.tb.Helper()
	events, err := bank.Decide(g.state, c, bank.Time(1_700_000_000_000_000+g.ids*10))
	if err != nil {
		g.tb.Fatal(err)
	}
	for _, e := range events {
		g.state.Evolve(e)
	}
	g.state.Settle()
	g.events = append(g.events, events...)
}

// batch is n openings while there are accounts to open, and then n transfers.
func (g *busy) batch(head app.Head, n int) app.Batch {
	g.tb.Helper()
	g.events = g.events[:0]
	for range n {
		if open := g.state.Len(); open < len(g.accounts) {
			g.do(bank.OpenAccount{
				ID: g.accounts[open], OverdraftLimit: bank.MaxAmount, DailyDebitLimit: bank.NoLimit,
				Opening: bank.Opening{Customer: bank.MakeID[bank.Customer](g.id()), Currency: g.eur, Type: bank.Current},
			})
			continue
		}
		one, err := bank.NewAmount(1, g.eur)
		if err != nil {
			g.tb.Fatal(err)
		}
		from := g.next() % uint64(len(g.accounts))
		to := (from + 1 + g.next()%uint64(len(g.accounts)-1)) % uint64(len(g.accounts))
		g.do(bank.Transfer{
			Terms: bank.Terms{ID: bank.MakeID[bank.Transaction](g.id()), CorrelationID: strconv.FormatUint(g.next(), 16)},
			From:  g.accounts[from], To: g.accounts[to], Amount: one,
		})
	}
	b := app.Batch{Term: head.Term, Number: head.Batch + 1, After: head.Seq}
	chain := head.Chain
	for i := range g.events {
		e := &g.events[i]
		key := fmt.Sprintf("%08x-%08x-%08x", g.next(), g.next(), g.next())
		data := codec.Encode(nil, e, app.Meta{CorrelationID: key, Actor: "service", IdempotencyKey: key})
		chain = codec.Chain(chain, data)
		b.Rows = append(b.Rows, app.Row{Seq: e.Seq, Data: data, Chain: chain, Touches: app.Touches(e)})
		o := app.Outcome{
			Key: sha256.Sum256([]byte(key)), Fingerprint: sha256.Sum256(data), Seq: e.Seq, Events: 1, Command: "transfer",
			At: e.Time,
		}
		if len(e.Transactions) > 0 {
			o.Subject = e.Transactions[0].ID.String()
		}
		b.Outcomes = append(b.Outcomes, o)
	}
	return b
}

func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAppend says how much CPU time an event costs, also that spent in the background, and how long the longest
// append was. Among 1,000 accounts, with random keys, looked up before as the decider does.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1, 16, 64, 512} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			l, g := openOnly(b, ledgerSchema).Log(LogConfig{}), newBusy(b, 1000)
			head, err := l.Acquire(b.Context(), "bench")
			if err != nil {
				b.Fatal(err)
			}
			first := g.batch(head, 1000)
			if err := l.Append(b.Context(), first); err != nil {
				b.Fatal(err)
			}
			appendBatches(b, l, g, moved(head, first), size)
		})
	}
}

func appendBatches(b *testing.B, l *Log, g *busy, head app.Head, size int) {
	b.Helper()
	decider := l.ForDecider()
	batches := make([]app.Batch, b.N)
	for i := range batches {
		batches[i] = g.batch(head, size)
		head = moved(head, batches[i])
	}
	keys := make([]app.Key, 0, size)
	var longest, lookup time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	began, server := cpuTime(b), l.db.serverTime(b)
	for _, batch := range batches {
		start := time.Now()
		keys = keys[:0]
		for i := range batch.Outcomes {
			keys = append(keys, batch.Outcomes[i].Key)
		}
		if known, err := decider.Outcomes(b.Context(), keys); err != nil || len(known) != 0 {
			b.Fatal(len(known), err)
		}
		lookup += time.Since(start)
		if err := l.Append(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		longest = max(longest, time.Since(start))
	}
	spent, server := cpuTime(b)-began, l.db.serverTime(b)-server
	events := float64(b.N * size)
	b.ReportMetric(float64(spent.Nanoseconds())/1e3/events, "cpu-µs/event")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/1e3/events, "µs/event")
	b.ReportMetric(float64(server.Nanoseconds())/1e3/events, "server-µs/event")
	b.ReportMetric(events/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(events/(b.Elapsed()-lookup).Seconds(), "appended/s")
	b.ReportMetric(float64(lookup.Nanoseconds())/1e3/events, "lookup-µs/event")
	b.ReportMetric(float64(longest.Microseconds())/1e3, "longest-ms")
}

// serverTime is what the server's processes for this database have used, when they run on this machine; else 0.
func (d *DB) serverTime(tb testing.TB) (spent time.Duration) {
	tb.Helper()
	err := each(tb.Context(), d.state.pool, func(scan func(...any) error) error {
		var pid int
		if err := scan(&pid); err != nil {
			return err
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return nil //nolint:nilerr // it runs elsewhere
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		for _, ticks := range fields[11:13] { // user and system, in hundredths of a second
			n, err := strconv.Atoi(ticks)
			if err != nil {
				return err
			}
			spent += time.Duration(n) * 10 * time.Millisecond
		}
		return nil
	}, `SELECT pid FROM pg_stat_activity WHERE application_name IN ($1, $2, $3)`,
		"bankforge "+d.ledger.name, "bankforge "+d.state.name, "bankforge "+d.views.name)
	if err != nil {
		tb.Fatal(err)
	}
	return spent
}

func moved(head app.Head, b app.Batch) app.Head {
	last := b.Rows[len(b.Rows)-1]
	head.Batch, head.Seq, head.Chain = b.Number, last.Seq, last.Chain
	return head
}
