package codec

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"bankforge/app/bank"
)

func TestAccountsComeBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := drawAccount(t)
		got, err := DecodeAccount(EncodeAccount(nil, &a))
		if err != nil || !reflect.DeepEqual(got, a) {
			t.Fatalf("%+v has become %+v, error %v", a, got, err)
		}
	})
}

func drawRefusal(t *rapid.T) *bank.Error {
	return &bank.Error{
		Code: bank.Code(drawText(t, "code")), Field: drawText(t, "field"),
		Detail: drawText(t, "detail"), Item: rapid.IntRange(-1, 1000).Draw(t, "item"),
	}
}

func TestRefusalsComeBackWithoutTheirCause(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e := drawRefusal(t)
		stored := *e
		stored.Cause = errors.New("for operators only")
		got, err := DecodeRefusal(EncodeRefusal(nil, &stored))
		if err != nil || *got != *e {
			t.Fatalf("%+v has become %+v, error %v", e, got, err)
		}
	})
}

func sameItem(a, b BulkItem) bool {
	if a.Refused == nil || b.Refused == nil {
		return a == b
	}
	return a.Event == b.Event && *a.Refused == *b.Refused
}

func drawBulk(t *rapid.T) (items []BulkItem) {
	for i := range rapid.IntRange(0, 8).Draw(t, "items") {
		if rapid.Bool().Draw(t, "refused") {
			items = append(items, BulkItem{Refused: drawRefusal(t)})
		} else {
			items = append(items, BulkItem{Event: i})
		}
	}
	return items
}

func TestBulksComeBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		items := drawBulk(t)
		got, err := DecodeBulk(EncodeBulk(nil, items))
		if err != nil || !slices.EqualFunc(got, items, sameItem) {
			t.Fatalf("%+v has become %+v, error %v", items, got, err)
		}
	})
}

func TestABulkItemIsOneOrTheOther(t *testing.T) {
	t.Parallel()
	refusal := EncodeRefusal(nil, bank.Refuse(bank.NotFound, "id", "There is none."))
	b, at := begin(nil, 1)
	b = appendInt(b, 1, 2)
	b, in := begin(b, 2)
	b = end(end(append(b, refusal...), in), at)
	if items, err := DecodeBulk(b); !errors.Is(err, ErrMalformed) {
		t.Fatalf("both an event and a refusal: %+v, error %v", items, err)
	}
}

func FuzzDecodeAccount(f *testing.F) {
	g := goldenEvents(f)[0].event
	f.Add(EncodeAccount(nil, &bank.Account{
		ID: g.Legs[0].Account, Opening: *g.Opening, OpenedAt: g.Time, Details: g.Details,
		AccountState: g.Legs[0].After, UpdatedAt: g.Time,
	}))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := DecodeAccount(data)
		if err == nil {
			same(t, data, EncodeAccount(nil, &a))
		}
	})
}

func FuzzDecodeReplies(f *testing.F) {
	refused := bank.Refuse(bank.InsufficientFunds, "amount", "There is not enough money.")
	f.Add(EncodeRefusal(nil, refused))
	f.Add(EncodeBulk(nil, []BulkItem{{Event: 0}, {Refused: refused}, {Event: 1}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if e, err := DecodeRefusal(data); err == nil {
			same(t, data, EncodeRefusal(nil, e))
		}
		if items, err := DecodeBulk(data); err == nil {
			same(t, data, EncodeBulk(nil, items))
		}
	})
}

func same(t *testing.T, data, again []byte) {
	t.Helper()
	if !bytes.Equal(again, data) {
		t.Fatalf("%x was read, and is written as %x", data, again)
	}
}
