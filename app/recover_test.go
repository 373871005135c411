package app_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
)

// damaged is a log whose rows come out otherwise than they went in.
type damaged struct {
	*apptest.MemoryLog
	change func([]app.Row) []app.Row
	reads  int
	first  bank.Seq // behind which the first Read began
}

func (d *damaged) Read(ctx context.Context, after bank.Seq, limit int) ([]app.Row, error) {
	rows, err := d.MemoryLog.Read(ctx, after, limit)
	if d.reads++; d.reads == 1 {
		d.first = after
	}
	if d.change != nil {
		rows = d.change(rows)
	}
	return rows, err
}

func (d *damaged) start(t *testing.T, k app.Snapshots) (*app.Ledger, error) {
	t.Helper()
	c := config(d.MemoryLog)
	c.Log, c.Snapshots = d, k
	return app.StartLedger(t.Context(), c)
}

// lived is a log with a life behind it.
func lived(t *testing.T) *apptest.MemoryLog {
	t.Helper()
	log := &apptest.MemoryLog{}
	l, err := app.StartLedger(t.Context(), config(log))
	if err != nil {
		t.Fatal(err)
	}
	must(t, l, open(1), open(2), deposit("d", 1, 1, 1000))
	for i := range 20 {
		must(t, l, transfer(fmt.Sprint("t", i), 10+i, 1, 2, 3))
	}
	must(t, l, ask("hold", bank.PlaceHold{
		ID: holdID(1), Account: accountID(1), Amount: euros(50), ExpiresAt: bank.TimeOf(t0().Add(time.Hour)),
	}), ask("review", bank.SetReview{ID: accountID(1), Above: &bank.Review{Currency: euros(1).Currency()}}),
		transfer("pending", 2, 1, 2, 10))
	shut(t, l)
	return log
}

func TestADamagedLogIsRefusedWithItsPlace(t *testing.T) {
	t.Parallel()
	log := lived(t)
	for name, c := range map[string]struct {
		change func([]app.Row) []app.Row
		want   string
	}{
		"a flipped bit": {func(r []app.Row) []app.Row {
			for i := range r {
				if r[i].Seq == 7 {
					r[i].Data[len(r[i].Data)/2] ^= 1
				}
			}
			return r
		}, "event 7 is damaged"},
		"a lost tail": {func(r []app.Row) []app.Row {
			for i := range r {
				if r[i].Seq > 20 {
					return r[:i]
				}
			}
			return r
		}, "ends at event 20"},
		"a missing event": {func(r []app.Row) []app.Row {
			for i := range r {
				if r[i].Seq == 9 {
					return append(r[:i:i], r[i+1:]...)
				}
			}
			return r
		}, "event 9 is missing"},
		"a rewritten tail": {func(r []app.Row) []app.Row {
			for i := range r {
				if r[i].Seq == 12 {
					r[i] = app.Row{Seq: 12, Data: r[i-1].Data, Chain: r[i].Chain}
				}
			}
			return r
		}, "event 12 is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &damaged{MemoryLog: log.Crash(), change: c.change}
			if _, err := d.start(t, nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}

// livedWithSnapshot is a log with some life in it, and the snapshot that its last owner kept.
func livedWithSnapshot(t *testing.T) (*apptest.MemoryLog, *kept) {
	t.Helper()
	log, k := lived(t), &kept{}
	l, err := app.StartLedger(t.Context(), config(log, func(c *app.LedgerConfig) { c.Snapshots = k }))
	if err != nil {
		t.Fatal(err)
	}
	shut(t, l)
	return log, k
}

func TestAStartReadsOnlyWhatIsBehindTheSnapshot(t *testing.T) {
	t.Parallel()
	log, k := livedWithSnapshot(t)
	at := k.mark.Seq
	whole := k.bytes
	l := start(t, log)
	must(t, l, deposit("later", 500, 1, 5))
	d := &damaged{MemoryLog: log.Crash()}
	fromSnapshot, err := d.start(t, k)
	if err != nil {
		t.Fatal(err)
	}
	if d.first != at-2 { // the snapshot's own event and the one before, to check the chain
		t.Fatalf("it read from event %d on; the snapshot is of %d", d.first+1, at)
	}
	shut(t, fromSnapshot)
	if !bytes.Equal(k.bytes, rebuilt(t, log)) || bytes.Equal(k.bytes, whole) {
		t.Fatal("the state from the snapshot is not the state from the log")
	}
}

func TestASnapshotThatDoesNotFitIsDiscarded(t *testing.T) {
	t.Parallel()
	log, good := livedWithSnapshot(t)
	want := rebuilt(t, log)
	for name, spoil := range map[string]func(*kept){
		"schema":      func(k *kept) { k.mark.Schema++ },
		"incarnation": func(k *kept) { k.mark.Incarnation += "x" },
		"chain":       func(k *kept) { k.mark.Chain[0]++ },
		"other event": func(k *kept) { k.mark.Seq-- },
		"damage":      func(k *kept) { k.bytes = append(k.bytes[:len(k.bytes)/2:len(k.bytes)/2], 'x') },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := &kept{mark: good.mark, bytes: bytes.Clone(good.bytes)}
			spoil(bad)
			l, err := app.StartLedger(t.Context(), config(log.Crash(), func(c *app.LedgerConfig) { c.Snapshots = bad }))
			if err != nil {
				t.Fatal(err)
			}
			must(t, l, deposit("x", 900, 1, 1))
			must(t, l, ask("y", bank.Withdraw{
				Terms: bank.Terms{ID: transactionID(901)}, Account: accountID(1), Amount: euros(1),
			}))
			shut(t, l)
			if bad.saves != 1 || len(bad.bytes) < len(want) {
				t.Fatal("no good snapshot was kept afterwards")
			}
		})
	}
}

func TestASnapshotThatKnowsMoreThanTheLogIsProofOfALoss(t *testing.T) {
	t.Parallel()
	log, k := livedWithSnapshot(t)
	k.mark.Seq++
	_, err := app.StartLedger(t.Context(), config(log, func(c *app.LedgerConfig) { c.Snapshots = k }))
	want := fmt.Sprintf("snapshot of event %d, but the log ends at %d", k.mark.Seq, k.mark.Seq-1)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("%v, want %q", err, want)
	}
}

func TestADamagedEventOfTheSnapshotItselfIsFound(t *testing.T) {
	t.Parallel()
	log, k := livedWithSnapshot(t)
	d := &damaged{MemoryLog: log.Crash(), change: func(rows []app.Row) []app.Row {
		for i := range rows {
			if rows[i].Seq == k.mark.Seq {
				rows[i].Data = bytes.Clone(rows[i].Data)
				rows[i].Data[len(rows[i].Data)/2] ^= 1
			}
		}
		return rows
	}}
	_, err := d.start(t, k)
	if want := fmt.Sprintf("event %d is damaged", k.mark.Seq); err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("%v, want %q", err, want)
	}
}

// slow is Snapshots whose Save waits: commands go on meanwhile.
type slow struct {
	kept
	entered, through chan struct{}
}

func (s *slow) Save(ctx context.Context, m app.SnapshotMark, write func(io.Writer) error) error {
	s.entered <- struct{}{}
	<-s.through
	return s.kept.Save(ctx, m, write)
}

func TestASnapshotHoldsUpNobody(t *testing.T) {
	t.Parallel()
	log := &apptest.MemoryLog{}
	k := &slow{entered: make(chan struct{}), through: make(chan struct{})}
	l, err := app.StartLedger(t.Context(), config(log, func(c *app.LedgerConfig) { c.Snapshots, c.SnapshotEvery = k, 10 }))
	if err != nil {
		t.Fatal(err)
	}
	must(t, l, open(1))
	for i := range 20 {
		must(t, l, deposit(strconv.Itoa(i), i, 1, 1))
	}
	<-k.entered
	must(t, l, deposit("meanwhile", 100, 1, 1))
	k.through <- struct{}{}
	go func() { // the one at the end
		<-k.entered
		k.through <- struct{}{}
	}()
	shut(t, l)
	if k.saves != 2 || k.mark.Seq != l.Committed() {
		t.Fatalf("%d snapshots, the last of event %d; the log is at %d", k.saves, k.mark.Seq, l.Committed())
	}
	if !bytes.Equal(k.bytes, rebuilt(t, log)) {
		t.Fatal("the last snapshot is not the state")
	}
}
