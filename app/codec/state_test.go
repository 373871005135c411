package codec_test

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"
	"testing/iotest"

	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/app/codec"
)

func lived(tb testing.TB, seed uint64, events int) *bank.State {
	tb.Helper()
	l, err := apptest.NewLedger(seed)
	if err != nil {
		tb.Fatal(err)
	}
	l.Events(events)
	return l.State
}

func write(tb testing.TB, s *bank.State) []byte {
	tb.Helper()
	var buf bytes.Buffer
	if err := codec.WriteState(&buf, s); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func TestStatesComeBack(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		s := lived(t, seed, int(seed*seed)) // the first is empty
		data := write(t, s)
		got, err := codec.ReadState(iotest.HalfReader(bytes.NewReader(data)))
		if err != nil {
			t.Fatal(err)
		}
		if got.Seq() != s.Seq() || got.Time() != s.Time() {
			t.Fatalf("it is of event %d at %d instead of %d at %d", got.Seq(), got.Time(), s.Seq(), s.Time())
		}
		if a, b := slices.Collect(s.Accounts()), slices.Collect(got.Accounts()); !reflect.DeepEqual(a, b) {
			t.Fatalf("the accounts %+v have become %+v", a, b)
		}
		if a, b := slices.Collect(s.Holds()), slices.Collect(got.Holds()); !reflect.DeepEqual(a, b) {
			t.Fatalf("the holds %+v have become %+v", a, b)
		}
		if a, b := slices.Collect(s.Pending()), slices.Collect(got.Pending()); !reflect.DeepEqual(a, b) {
			t.Fatalf("what waits for review, %+v, has become %+v", a, b)
		}
		if !bytes.Equal(write(t, got), data) {
			t.Fatal("written again, it is not the same")
		}
	}
}

// TestDamagedStatesAreRefused changes every byte, and cuts off everywhere.
func TestDamagedStatesAreRefused(t *testing.T) {
	t.Parallel()
	data := write(t, lived(t, 7, 40))
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 0x10
		for _, damaged := range [][]byte{bad, data[:i]} {
			if s, err := codec.ReadState(bytes.NewReader(damaged)); s != nil || !errors.Is(err, codec.ErrMalformed) {
				t.Fatalf("damaged at byte %d, a state is read: %t, error %v", i, s != nil, err)
			}
		}
	}
	boom := errors.New("boom")
	if _, err := codec.ReadState(iotest.ErrReader(boom)); !errors.Is(err, boom) {
		t.Fatalf("the reader's error is lost: %v", err)
	}
}

type fullWriter struct{ room int }

var errFull = errors.New("full")

func (w *fullWriter) Write(p []byte) (int, error) {
	if w.room -= len(p); w.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriteStateTellsWhenItCannot(t *testing.T) {
	t.Parallel()
	s := lived(t, 7, 2000)
	for _, room := range []int{0, len(write(t, s)) / 2, len(write(t, s)) - 1} {
		if err := codec.WriteState(&fullWriter{room}, s); !errors.Is(err, errFull) {
			t.Fatalf("with room for %d bytes, the error is %v", room, err)
		}
	}
}

func FuzzReadState(f *testing.F) {
	f.Add(write(f, bank.NewState()))
	f.Add(write(f, lived(f, 7, 40)))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := codec.ReadState(bytes.NewReader(data))
		if err != nil {
			return
		}
		if again := write(t, s); !bytes.HasPrefix(data, again) {
			t.Fatalf("%x was read, and is written as %x", data, again)
		}
	})
}
