package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/app/codec"
)

// longLog is more than some pieces of what is replayed at once, of random events.
func longLog(t *testing.T) *apptest.MemoryLog {
	t.Helper()
	log := &apptest.MemoryLog{}
	head, err := log.Acquire(t.Context(), "before")
	if err != nil {
		t.Fatal(err)
	}
	l, err := apptest.NewLedger(7)
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Append(t.Context(), apptest.Batch(head, l.Events(2600))); err != nil {
		t.Fatal(err)
	}
	return log
}

// oneByOne replays rows as the log is defined: each event by itself, by Evolve.
func oneByOne(rows []app.Row, head app.Head) ([]byte, error) {
	s, chain := bank.NewState(), app.Hash{}
	for i := range rows {
		r, want := &rows[i], s.Seq()+1
		if r.Seq != want {
			return nil, fmt.Errorf("event %d is missing: the log goes on with %d", want, r.Seq)
		}
		if codec.Chain(chain, r.Data) != r.Chain {
			return nil, fmt.Errorf("event %d is damaged: its chain does not follow from the event before", want)
		}
		e, _, err := codec.Decode(r.Data)
		if err == nil && e.Seq != want {
			err = fmt.Errorf("it says that it is event %d", e.Seq)
		}
		if err != nil {
			return nil, fmt.Errorf("event %d cannot be read: %w", want, err)
		}
		s.Evolve(e)
		s.Settle()
		chain = r.Chain
	}
	if s.Seq() != head.Seq {
		return nil, fmt.Errorf("the log ends at event %d, but its head is at %d", s.Seq(), head.Seq)
	}
	if chain != head.Chain {
		return nil, fmt.Errorf("the chain of event %d is not the head's", head.Seq)
	}
	var b bytes.Buffer
	err := codec.WriteState(&b, s)
	return b.Bytes(), err
}

// rowsLog is a log of these rows, which it gives as it likes.
type rowsLog struct {
	*apptest.MemoryLog
	rows  []app.Row
	pages int // rows at once, at most; 0: as many as asked for
}

func (r *rowsLog) Read(_ context.Context, after bank.Seq, limit int) (out []app.Row, err error) {
	if r.pages > 0 {
		limit = min(limit, r.pages)
	}
	for i := range r.rows {
		if row := r.rows[i]; row.Seq > after && len(out) < limit {
			row.Data = bytes.Clone(row.Data)
			out = append(out, row)
		}
	}
	return out, nil
}

// fastLog is one that is a ReplayedLog, too.
type fastLog struct {
	*rowsLog
	fail  bank.Seq // Replay breaks off before this event
	quiet bool     // and says nothing of it
}

func (f *fastLog) Replay(
	ctx context.Context, after, until bank.Seq, each func(chain app.Hash, data string) error,
) error {
	rows, err := f.Read(ctx, after, int(until-after))
	for i := range rows {
		if rows[i].Seq > until {
			break
		}
		if rows[i].Seq == f.fail {
			if f.quiet {
				return nil
			}
			return errors.New("it broke off")
		}
		if err := each(rows[i].Chain, string(rows[i].Data)); err != nil {
			return err
		}
	}
	if err == nil && (len(rows) == 0 || rows[len(rows)-1].Seq != until || bank.Seq(len(rows)) != until-after) {
		err = errors.New("there are gaps")
	}
	return err
}

// TestReplayingInPiecesIsReplayingOneByOne, whatever way the log is read and wherever it is damaged.
func TestReplayingInPiecesIsReplayingOneByOne(t *testing.T) {
	t.Parallel()
	log := longLog(t)
	head, err := log.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	good, err := log.Read(t.Context(), 0, int(head.Seq))
	if err != nil {
		t.Fatal(err)
	}
	damages := map[string]func([]app.Row, int) []app.Row{
		"none":         func(r []app.Row, _ int) []app.Row { return r },
		"flipped bit":  func(r []app.Row, i int) []app.Row { r[i].Data[len(r[i].Data)/2] ^= 1; return r },
		"chain":        func(r []app.Row, i int) []app.Row { r[i].Chain[3] ^= 1; return r },
		"missing":      func(r []app.Row, i int) []app.Row { return append(r[:i], r[i+1:]...) },
		"lost tail":    func(r []app.Row, i int) []app.Row { return r[:i] },
		"moved":        moved,
		"another's":    func(r []app.Row, i int) []app.Row { return rewritten(r, i, r[(i+7)%len(r)].Data) },
		"no event":     func(r []app.Row, i int) []app.Row { return rewritten(r, i, []byte("no event")) },
		"without data": func(r []app.Row, i int) []app.Row { return rewritten(r, i, nil) },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, i := range []int{0, 1, 510, 511, 512, 513, 1023, 1024, 1700, len(good) - 2, len(good) - 1} {
				rows := damage(cloned(good), i)
				want, wantErr := oneByOne(rows, head)
				if (wantErr == nil) != (name == "none") {
					t.Fatalf("row %d: %v", i, wantErr)
				}
				if wantErr != nil {
					wantErr = fmt.Errorf("start the ledger: %w", wantErr)
				}
				plain := &rowsLog{log.Crash(), rows, 0}
				for way, l := range map[string]app.Log{
					"read": plain, "short pages": &rowsLog{log.Crash(), rows, 300}, "replayed": &fastLog{plain, 0, false},
					"breaks off": &fastLog{plain, bank.Seq(i + 3), false}, "ends early": &fastLog{plain, bank.Seq(i + 1), true},
				} {
					k := &kept{}
					c := config(log)
					c.Log, c.Snapshots = l, k
					started, err := app.StartLedger(t.Context(), c)
					if fmt.Sprint(err) != fmt.Sprint(wantErr) {
						t.Fatalf("row %d, %s: got %v, want %v", i, way, err, wantErr)
					}
					if err != nil {
						continue
					}
					shut(t, started)
					if !bytes.Equal(k.bytes, want) {
						t.Fatalf("%s: another state", way)
					}
				}
			}
		})
	}
}

// moved has what is behind i one number higher.
func moved(rows []app.Row, i int) []app.Row {
	for j := i; j < len(rows); j++ {
		rows[j].Seq++
	}
	return rows
}

// rewritten has other data in row i, under a good chain.
func rewritten(rows []app.Row, i int, data []byte) []app.Row {
	rows[i].Data = bytes.Clone(data)
	var chain app.Hash
	if i > 0 {
		chain = rows[i-1].Chain
	}
	for j := i; j < len(rows); j++ {
		chain = codec.Chain(chain, rows[j].Data)
		rows[j].Chain = chain
	}
	return rows
}

func cloned(rows []app.Row) []app.Row {
	out := make([]app.Row, len(rows))
	for i, r := range rows {
		r.Data = bytes.Clone(r.Data)
		out[i] = r
	}
	return out
}

// TestAStartThatIsGivenUpEnds, also while the readers are at it.
func TestAStartThatIsGivenUpEnds(t *testing.T) {
	t.Parallel()
	log := longLog(t)
	ctx, cancel := context.WithCancel(t.Context())
	c := config(log)
	c.Log = &givenUp{MemoryLog: log, cancel: cancel}
	if _, err := app.StartLedger(ctx, c); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

// givenUp is a log whose second piece nobody waits for.
type givenUp struct {
	*apptest.MemoryLog
	cancel context.CancelFunc
}

func (g *givenUp) Read(ctx context.Context, after bank.Seq, limit int) ([]app.Row, error) {
	if after > 500 {
		g.cancel()
		<-ctx.Done()
	}
	return g.MemoryLog.Read(ctx, after, limit)
}
