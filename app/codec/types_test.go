package codec

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"bankforge/app/bank"
)

// account.frozen, as this test pretends, was first stored with its time in seconds (version 1) and then
// without a reason (version 2); today's form is version 3.
func lifting() *decoder {
	now := forms
	now[bank.AccountFrozen].version = 3
	return newDecoder(now[:], map[oldForm]upcaster{
		{3, 1}: func(old []byte) ([]byte, error) {
			r := reader{what: "account.frozen version 1", data: string(old)}
			var out []byte
			for r.next() {
				switch r.num {
				case 3:
					out = appendUint(out, 3, r.varint())
				case 4:
					out = appendInt(out, 4, r.int()*1_000_000)
				default:
					r.unknown()
				}
			}
			return out, r.err
		},
		{3, 2}: func(old []byte) ([]byte, error) { return appendText(old, 15, "not recorded"), nil },
	})
}

func frozen(version uint64, rest ...byte) []byte {
	return append(appendUint(appendUint(nil, 1, 3), 2, version), rest...)
}

func TestOldVersionsAreLifted(t *testing.T) {
	t.Parallel()
	d := lifting()
	body := func(seconds int64) []byte { return appendInt(appendUint(nil, 3, 7), 4, seconds) }
	for version, data := range map[uint64][]byte{
		1: frozen(1, body(1_760_000_000)...),
		2: frozen(2, body(1_760_000_000_000_000)...),
		3: frozen(3, appendText(body(1_760_000_000_000_000), 15, "not recorded")...),
	} {
		e, _, err := d.decode(data)
		want := bank.Event{Seq: 7, Type: bank.AccountFrozen, Time: 1_760_000_000_000_000, Reason: "not recorded"}
		if err != nil || !reflect.DeepEqual(e, want) {
			t.Errorf("version %d is read as %+v, error %v", version, e, err)
		}
	}
	g := transfer(t)
	if e, _, err := d.decode(Encode(nil, &g.event, g.meta)); err != nil || !reflect.DeepEqual(e, g.event) {
		t.Errorf("other types are not read as before: %v", err)
	}
	if _, _, err := Decode(frozen(3)); !errors.Is(err, ErrMalformed) {
		t.Errorf("the test's version is known to the program: %v", err)
	}
}

func TestWhatCannotBeLiftedIsRefused(t *testing.T) {
	t.Parallel()
	d := lifting()
	for want, data := range map[string][]byte{
		"version 4 of event type 3; this program knows 3": frozen(4),
		"account.frozen version 1, field 5: is unknown":   frozen(1, protowire.AppendTag(nil, 5, 0)...),
	} {
		if _, _, err := d.decode(data); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v; want it to say %q", err, want)
		}
	}
	delete(d.lift, oldForm{3, 2})
	_, _, err := d.decode(frozen(1))
	if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "no way from version 2") {
		t.Errorf("with a missing upcaster the error is %v", err)
	}
}
