package codec_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"unsafe"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/app/codec"
)

// rowsOf is the log of a random life.
func rowsOf(tb testing.TB, seed uint64, events int) []app.Row {
	tb.Helper()
	l, err := apptest.NewLedger(seed)
	if err != nil {
		tb.Fatal(err)
	}
	return apptest.Rows(app.Head{}, l.Events(events))
}

// TestDecodeIntoIsDecode reads good events and broken ones, all into the same.
func TestDecodeIntoIsDecode(t *testing.T) {
	t.Parallel()
	var e bank.Event
	var m codec.Meta
	for seed := range uint64(5) {
		for _, row := range rowsOf(t, seed, 300) {
			flipped := bytes.Clone(row.Data)
			flipped[int(row.Seq)%len(flipped)] ^= 1 << (row.Seq % 8)
			for _, data := range [][]byte{row.Data, flipped, row.Data[:len(row.Data)/2]} {
				want, meta, err := codec.Decode(data)
				errInto := codec.DecodeInto(string(data), &e, &m)
				if fmt.Sprint(err) != fmt.Sprint(errInto) || errors.Is(err, codec.ErrMalformed) != (err != nil) {
					t.Fatalf("event %d: %v instead of %v", row.Seq, errInto, err)
				}
				if m != meta || !reflect.DeepEqual(withoutRoom(e), want) {
					t.Fatalf("event %d: %+v, %+v\ninstead of %+v, %+v", row.Seq, e, m, want, meta)
				}
			}
		}
	}
}

// withoutRoom is e without slices that are only kept to be used again.
func withoutRoom(e bank.Event) bank.Event {
	e.Legs = filled(e.Legs)
	e.Transactions = filled(slices.Clone(e.Transactions))
	for i := range e.Transactions {
		e.Transactions[i].Entries = filled(e.Transactions[i].Entries)
	}
	return e
}

func filled[E any](s []E) []E {
	if len(s) == 0 {
		return nil
	}
	return s
}

// TestReplayKeepsNothingOfTheLog overwrites the bytes of each event after it was taken in.
func TestReplayKeepsNothingOfTheLog(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		want, s := bank.NewState(), bank.NewState()
		var e bank.Event
		var m codec.Meta
		for _, row := range rowsOf(t, seed, 2000) {
			whole, _, err := codec.Decode(row.Data)
			if err != nil {
				t.Fatal(err)
			}
			want.Evolve(whole)
			want.Settle()
			lent := bytes.Clone(row.Data)
			if err := codec.DecodeInto(unsafe.String(&lent[0], len(lent)), &e, &m); err != nil {
				t.Fatal(err)
			}
			s.Replay([]bank.Event{e})
			clear(lent)
		}
		if !bytes.Equal(write(t, s), write(t, want)) {
			t.Fatalf("seed %d: the state changes with what it was read from", seed)
		}
		if err := s.Audit(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDecodingIntoTakesNoMemory(t *testing.T) { //nolint:paralleltest // others' allocations would be counted
	var e bank.Event
	var m codec.Meta
	made, transfers := "", 0
	for _, row := range rowsOf(t, 1, 500) {
		if event, _, err := codec.Decode(row.Data); err == nil && event.Type == bank.TransactionMade {
			made = string(row.Data)
			transfers++
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		if err := codec.DecodeInto(made, &e, &m); err != nil {
			t.Fatal(err)
		}
	}); n > 0 || transfers == 0 {
		t.Errorf("%v allocations an event", n)
	}
}
