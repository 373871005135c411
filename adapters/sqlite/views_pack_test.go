package sqlite

import (
	"bytes"
	"slices"
	"testing"
)

var examples = []packed{
	&packedEntry{amount: -5, balance: 1 << 60, currency: "EUR", description: "coffee", valueDate: -3},
	&packedTransaction{
		kind: 1, amount: 7, payer: packedSide{"a", "c", -9, 4}, metadata: `{"k":"v"}`, key: "key", postedAt: 1,
	},
}

func TestDifferencesNameWhatIsPacked(t *testing.T) {
	t.Parallel()
	want := pack(nil, &packedEntry{amount: 5, reference: "rent", kind: 2})
	got := pack(nil, &packedEntry{amount: 6, reference: "rend", kind: 2})
	found := differingFields(&packedEntry{}, string(want), string(got))
	if !slices.Equal(found, []string{"amount is 6 instead of 5", "reference is rend instead of rent"}) {
		t.Error(found)
	}
	found = differingFields(&packedEntry{}, "\x01", "\x02")
	if !slices.Equal(found, []string{"data is 02 instead of 01"}) {
		t.Error(found)
	}
}

// FuzzUnpack reads anything, and reads again what it has written.
func FuzzUnpack(f *testing.F) {
	for _, k := range examples {
		data := pack(nil, k)
		f.Add(data)
		for n := range data {
			if unpack(data[:n], k, nil) == nil {
				f.Errorf("%d bytes of %d are enough", n, len(data))
			}
		}
		if unpack(append(data, 0), k, nil) == nil {
			f.Error("something is left over")
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, k := range []packed{&packedEntry{}, &packedTransaction{}} {
			if unpack(data, k, nil) != nil {
				continue
			}
			once := pack(nil, k)
			if err := unpack(once, k, nil); err != nil || !bytes.Equal(pack(nil, k), once) {
				t.Errorf("%T: %x becomes %x, %v", k, data, once, err)
			}
		}
	})
}
