package ops_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"bankforge/app/bank"
	"bankforge/app/ops"
)

func TestFingerprintGroupsByReason(t *testing.T) {
	t.Parallel()
	id := func(b byte) string { return bank.MakeID[bank.Account]([16]byte{0: b, 15: b}).String() }
	same := [][2]string{
		{"version 3 of " + id(1) + " came, but the view is at version 1",
			"version 12 of " + id(9) + " came, but the view is at version 2"},
		{`dial tcp 127.0.0.1:5432: connect: connection refused`, `dial tcp 10.0.0.7:40001: connect: connection refused`},
		{`unknown type "bankforge.a.v1"`, `unknown type "x \" y"`},
		{"read 0xdeadbeef: short", "read 0x01: short"},
		{"hash deadbeefcafe differs", "hash 0123456789ab differs"},
		{"ids [1 2 3]", "ids [4, 5]"},
		{"file.go:12: no", "file.go:9000: no"},
		{"at  2026-01-02T03:04:05Z,\n no", "at 1999-12-31T00:00:00.5+02:00, no"},
		{"acc_abcdefghijklmnopqrstuvabcd is gone", id(7) + " is gone"},
	}
	for _, c := range same {
		if a, b := ops.Fingerprint("h", "poison", c[0], ""), ops.Fingerprint("h", "poison", c[1], ""); a != b {
			t.Errorf("%q and %q are told apart", c[0], c[1])
		}
	}
	different := [][4]string{ // handler, class, error, stack
		{"h", "poison", "it is late", ""}, {"h", "poison", "it's late", ""}, {"g", "poison", "it is late", ""},
		{"h", "unknown", "it is late", ""}, {"h", "poison", "it is late", "main.f(0x1)\n"},
		{"h", "poison", "it is", "late"}, {"h", "poison", "", "it is late"}, {"hp", "oison", "it is late", ""},
	}
	seen := map[string][4]string{}
	for _, c := range different {
		f := ops.Fingerprint(c[0], c[1], c[2], c[3])
		if other, twice := seen[f]; twice {
			t.Errorf("%q and %q are one group", c, other)
		}
		seen[f] = c
	}
}

func TestFingerprintKnowsOnlyFunctionsOfAStack(t *testing.T) {
	t.Parallel()
	stack := func(goroutine, line int, address, top string) string {
		return fmt.Sprintf("goroutine %d [running]:\nruntime/debug.Stack()\n\t/go/src/debug.go:%d +0x64\n"+
			"bankforge/router.(*worker).recovered.func1.1()\n\t/x/middleware.go:%d +0x2c\npanic({%s, 0x2})\n\t/go/panic.go:1\n"+
			"bankforge/handlers/history.%s({%s, 0x3})\n\t/x/entries.go:%d +0x1d\nbankforge/x.F.func%d(...)\n\t/x.go:%d\n"+
			"created by bankforge/y in goroutine %d\n\t/y.go:%d +0x9", goroutine, line, line, address, top, address, line,
			line, line, goroutine, line)
	}
	a := ops.Fingerprint("h", "unknown", "panic: no", stack(7, 12, "0xc000123", "write"))
	if b := ops.Fingerprint("h", "unknown", "panic: no", stack(981, 40, "0xc0009ff", "write")); a != b {
		t.Error("lines, addresses or goroutines count")
	}
	if b := ops.Fingerprint("h", "unknown", "panic: no", stack(7, 12, "0xc000123", "read")); a == b {
		t.Error("the function does not count")
	}
}

// Whatever numbers, ids and quoted values stand in an error, its group is the same; whatever words, it is not.
func TestFingerprintProperty(t *testing.T) {
	t.Parallel()
	words := rapid.StringMatching(`[g-z]{1,9}`)
	values := rapid.OneOf(
		rapid.StringMatching(`[0-9]{1,19}`), rapid.StringMatching(`0x[0-9a-f]{1,16}`), rapid.StringMatching(`"[^"\\]{0,9}"`),
		rapid.StringMatching(`(acc|txn|hold)_[0-9a-v]{26}`), rapid.StringMatching(`[0-9]{1,3}\.[0-9]{1,3}:[0-9]{1,5}`),
	)
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(words, 1, 8).Draw(t, "words")
		with := func(label string) string {
			var b strings.Builder
			for i, w := range parts {
				fmt.Fprintf(&b, "%s %s ", w, values.Draw(t, fmt.Sprint(label, i)))
			}
			return b.String()
		}
		a, b := with("a"), with("b")
		if ops.Fingerprint("h", "c", a, "") != ops.Fingerprint("h", "c", b, "") {
			t.Fatalf("%q and %q are told apart", a, b)
		}
		if other := a + "x"; ops.Fingerprint("h", "c", a, "") == ops.Fingerprint("h", "c", other, "") {
			t.Fatalf("%q and %q are one group", a, other)
		}
	})
}

func FuzzFingerprint(f *testing.F) {
	f.Add("h", "unknown", `say "no`, "goroutine 1 [running]:\nmain.f(")
	f.Add("", "", "\\\"'`\x00\xff", "(\n\n\t(")
	form := regexp.MustCompile(`^fp_[0-9a-v]{26}$`)
	f.Fuzz(func(t *testing.T, handler, class, text, stack string) {
		a := ops.Fingerprint(handler, class, text, stack)
		if !form.MatchString(a) || a != ops.Fingerprint(handler, class, text, stack) {
			t.Errorf("%q", a)
		}
		if b := ops.Fingerprint(handler, class, text+" 17", stack); b != ops.Fingerprint(handler, class, text+" 4", stack) {
			t.Errorf("a number at the end of %q counts", text)
		}
	})
}

func TestFailureIDsAscendWithPositions(t *testing.T) {
	t.Parallel()
	before := ""
	for seq := range bank.Seq(3000) {
		for n := range 2 {
			id := ops.FailureID("h", "inc", seq, n)
			if id <= before || len(id) != len("fail_")+26 || id == ops.FailureID("g", "inc", seq, n) {
				t.Fatalf("%q behind %q", id, before)
			}
			before = id
		}
	}
}
