package codec

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"

	"bankforge/app/bank"
)

func TestDecodeIsTheInverseOfEncode(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e, m := drawEvent(t)
		prefix := []byte("before")
		data := Encode(slices.Clone(prefix), &e, m)
		if !bytes.HasPrefix(data, prefix) {
			t.Fatal("what was in dst is gone")
		}
		e2, m2, err := Decode(data[len(prefix):])
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(e, e2) || m != m2 {
			t.Fatalf("%+v\n%+v\nhas become\n%+v\n%+v", e, m, e2, m2)
		}
	})
}

func TestDecodeKeepsNothingOfItsInput(t *testing.T) {
	t.Parallel()
	for _, g := range goldenEvents(t) {
		data := Encode(nil, &g.event, g.meta)
		e, m, err := Decode(data)
		clear(data)
		if err != nil || !reflect.DeepEqual(e, g.event) || m != g.meta {
			t.Fatalf("%s: changed with the bytes that it was read from, error %v", g.name(), err)
		}
	}
}

func TestMovedMoneyIsStoredOnce(t *testing.T) {
	t.Parallel()
	g := transfer(t)
	if n := len(Encode(nil, &g.event, g.meta)); n > 420 {
		t.Errorf("a transfer takes %d bytes", n)
	}
	with := Encode(nil, &g.event, g.meta)
	g.event.Transactions[0].Entries = nil
	without := Encode(nil, &g.event, g.meta)
	if len(with)-len(without) > 4 {
		t.Errorf("the entries take %d bytes", len(with)-len(without))
	}
}

// TestDecodeRefuses changes single things in a good event. Each must be refused, with an error that names it.
func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	field := func(num protowire.Number, typ protowire.Type, rest ...byte) string {
		return string(append(protowire.AppendTag(nil, num, typ), rest...))
	}
	head := field(1, 0, 3) + field(2, 0, 1)
	leg := func(content string) string { return head + field(10, 2, byte(len(content))) + content }
	act := func(content string) string { return head + field(16, 2, byte(len(content))) + content }
	tx := func(content string) string { return leg("") + field(13, 2, byte(len(content))) + content }
	cases := map[string][2]string{
		"nothing":                 {"", "without type and version"},
		"no version":              {field(1, 0, 3), "without type and version"},
		"no type":                 {field(2, 0, 1), "without type and version"},
		"unknown type":            {field(1, 0, 99) + field(2, 0, 1), "unknown type 99"},
		"version of the future":   {field(1, 0, 3) + field(2, 0, 2), "version 2 of event type 3"},
		"type as text":            {field(1, 2, 0), "wire type"},
		"unknown field":           {head + field(17, 0, 1), "field 17: is unknown"},
		"unknown field in a leg":  {leg(field(15, 0, 1)), "leg, field 15: is unknown"},
		"number as text":          {head + field(3, 2, 0), "field 3: has wire type 2"},
		"text as number":          {head + field(15, 0, 1), "field 15: has wire type 0"},
		"group":                   {head + field(15, 3), "field 15: has wire type 3"},
		"descending fields":       {head + field(4, 0, 1) + field(3, 0, 1), "comes after field 4"},
		"number twice":            {head + field(3, 0, 1) + field(3, 0, 1), "comes twice"},
		"text twice":              {head + field(15, 2, 1, 'a') + field(15, 2, 1, 'a'), "comes twice"},
		"explicit zero":           {head + field(3, 0, 0), "shortest form"},
		"empty text":              {head + field(15, 2, 0), "is empty"},
		"long varint":             {head + field(3, 0, 0x81, 0), "shortest form"},
		"endless varint":          {head + field(3, 0, bytes.Repeat([]byte{0xff}, 11)...), "shortest form"},
		"long tag":                {head + "\x98\x00\x01", "broken bytes"},
		"long length":             {head + field(15, 2, 0x81, 0, 'a'), "longer than what is there"},
		"cut off":                 {head + field(15, 2, 2, 'a'), "longer than what is there"},
		"huge length":             {head + field(15, 2, 0xff, 0xff, 0xff, 0xff, 0x7f), "longer than what is there"},
		"id of another kind":      {leg(field(1, 2, 4) + "cus_"), "is not an id"},
		"unknown currency":        {leg(field(3, 2, 3) + "XXQ"), "currency"},
		"unknown status":          {leg(field(6, 0, 4)), "is 4, more than 3"},
		"amount below one":        {tx(field(5, 0, 1) + field(6, 2, 3) + "EUR"), "an amount is from 1"},
		"amount of no currency":   {tx(field(5, 0, 2)), "an amount is from 1"},
		"account of no leg":       {tx(field(8, 2, 1, 1)), "names leg 1 of 1"},
		"entries without money":   {tx(field(20, 0, 1)), "no legs that could be entries"},
		"correlation repeated":    {tx(field(16, 2, 0)), "repeats the event's"},
		"date out of range":       {leg(field(12, 0, 0xff, 0xff, 0xff, 0xff, 0x7f)), "not a date"},
		"unknown field in an act": {act(field(8, 2, 1) + "x"), "act, field 8: is unknown"},
		"act of no kind":          {act(field(2, 2, 1) + "x"), "act, field 2: is no kind of act"},
		"act twice":               {act("") + field(16, 2, 0), "field 16: comes twice"},
		"act with another's id":   {act(field(1, 2, 4) + "acc_"), "is not an id"},
		"metadata out of order": {
			tx(field(12, 2, 3) + field(1, 2, 1, 'b') + field(12, 2, 3) + field(1, 2, 1, 'a')), "out of order"},
		"metadata twice": {
			tx(field(12, 2, 3) + field(1, 2, 1, 'a') + field(12, 2, 3) + field(1, 2, 1, 'a')), "out of order"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, m, err := Decode([]byte(c[0]))
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c[1]) {
				t.Fatalf("the error is %v; want it to say %q", err, c[1])
			}
			if !reflect.DeepEqual(e, bank.Event{}) || m != (Meta{}) {
				t.Fatal("there is an error, and an event too")
			}
		})
	}
	if _, _, err := Decode([]byte(tx(""))); err != nil {
		t.Fatalf("the good part of the cases is refused too: %v", err)
	}
}

// TestEverySpelledOutShortcutIsRefused: one event has one form, else its hash could change without it.
func TestEverySpelledOutShortcutIsRefused(t *testing.T) {
	t.Parallel()
	g := transfer(t)
	e := &g.event
	spelled := frame{e.Seq, e.Time, g.meta.CorrelationID, nil} // does not know the legs
	for _, entries := range [][]bank.Entry{nil, e.Transactions[0].Entries} {
		tx := e.Transactions[0]
		tx.Entries = entries
		if entries != nil {
			tx.From, tx.To = bank.AccountID{}, bank.AccountID{}
		}
		bare := *e
		bare.Transactions = nil
		data := spelled.appendTransaction(Encode(nil, &bare, g.meta), 13, &tx)
		if _, _, err := Decode(data); !errors.Is(err, ErrMalformed) {
			t.Errorf("with %d entries: the error is %v", len(entries), err)
		}
	}
}

func TestEncodePanicsOnWhatIsNoEvent(t *testing.T) {
	t.Parallel()
	for _, typ := range []bank.EventType{0, bank.EventType(len(forms)), 255} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("type %d was written", typ)
				}
			}()
			Encode(nil, &bank.Event{Type: typ}, Meta{})
		}()
	}
}

func TestChain(t *testing.T) {
	t.Parallel()
	// head -c 32 /dev/zero, then x, through sha256sum
	const want = "fdded6faced1af47fdaaac589602f58e0e040a882627806c42ddcc38da604cf0"
	first := Chain([32]byte{}, []byte("x"))
	if hex.EncodeToString(first[:]) != want {
		t.Errorf("the first link is %x instead of %s", first, want)
	}
	if first == Chain([32]byte{1}, []byte("x")) || first == Chain([32]byte{}, []byte("y")) {
		t.Error("the chain does not depend on both of its inputs")
	}
}

func FuzzDecode(f *testing.F) {
	for _, g := range goldenEvents(f) {
		f.Add(Encode(nil, &g.event, g.meta))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, m, err := Decode(data)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("the error does not wrap ErrMalformed: %v", err)
			}
			return
		}
		if again := Encode(nil, &e, m); !bytes.Equal(again, data) {
			t.Fatalf("%x was read, and is written as %x", data, again)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	g := transfer(b)
	var buf []byte
	for b.Loop() {
		buf = Encode(buf[:0], &g.event, g.meta)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkDecode(b *testing.B) {
	g := transfer(b)
	data := Encode(nil, &g.event, g.meta)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkChain(b *testing.B) {
	g := transfer(b)
	data := Encode(nil, &g.event, g.meta)
	b.ReportAllocs()
	var sum [32]byte
	for b.Loop() {
		sum = Chain(sum, data)
	}
}
