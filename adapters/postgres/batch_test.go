package postgres

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"bankforge/app/bank"
)

// What stands for a subject stands for no other one, and transactions stay in their order.
func TestShortSubjectsAreDistinct(t *testing.T) {
	t.Parallel()
	of := map[[16]byte]string{}
	rapid.Check(t, func(t *rapid.T) {
		id := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		text := bank.MakeID[bank.Transaction](id).String()
		if got := short(text); got != id {
			t.Fatalf("%s is %x instead of %x", text, got, id)
		}
		last := text[:len(text)-1]
		for _, subject := range []string{
			text, bank.MakeID[bank.Account](id).String(), bank.MakeID[bank.Hold](id).String(), "", "@cash:EUR", "txn_",
			last, last + "_", last + ":", strings.ToUpper(text), last + "1", last + "w", last + "/",
		} {
			s := short(subject)
			if other, taken := of[s]; taken && other != subject {
				t.Fatalf("%q and %q are both %x", subject, other, s)
			}
			of[s] = subject
		}
	})
}
