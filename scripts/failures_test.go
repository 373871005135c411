package scripts_test

import (
	"os/exec"
	"strings"
	"testing"
)

// verbose is what go test -v prints of tests that run beside one another, in two packages that have tests of the same
// names, and of a third one that does not compile.
const verbose = `# bankforge/broken [bankforge/broken.test]
broken/a_test.go:3:1: undefined: nothing
=== RUN   TestGood
=== PAUSE TestGood
=== RUN   TestBad
=== PAUSE TestBad
=== CONT  TestGood
=== CONT  TestBad
=== RUN   TestBad/part
    a_test.go:1: one
    a_test.go:1: two
        goes on
time=now level=INFO msg="from the bank"
=== NAME  TestGood
    a_test.go:9: all is well
=== NAME  TestBad/part
    a_test.go:1: three
--- PASS: TestGood (0.00s)
--- FAIL: TestBad (0.10s)
    --- FAIL: TestBad/part (0.10s)
FAIL
exit status 1
FAIL	bankforge/a	0.120s
=== RUN   TestBad
    b_test.go:1: it only has something to say
--- PASS: TestBad (0.00s)
=== RUN   TestRace
==================
WARNING: DATA RACE
Read at 0x1 by goroutine 2:
==================
    testing.go:1: race detected during execution of test
--- FAIL: TestRace (0.00s)
=== RUN   TestPanic
panic: oh

goroutine 8 [running]:
FAIL	bankforge/b	0.120s
ok  	bankforge/c	0.100s
FAIL	bankforge/broken [build failed]
`

const failures = `# bankforge/broken [bankforge/broken.test]
broken/a_test.go:3:1: undefined: nothing
--- FAIL: TestBad (0.10s)
    --- FAIL: TestBad/part (0.10s)
        … 1 lines before
    a_test.go:1: two
        goes on
    a_test.go:1: three
FAIL	bankforge/a	0.120s
WARNING: DATA RACE
Read at 0x1 by goroutine 2:
--- FAIL: TestRace (0.00s)
    testing.go:1: race detected during execution of test
panic: oh

goroutine 8 [running]:
FAIL	bankforge/b	0.120s
FAIL	bankforge/broken [build failed]
`

// The summary of make test shows what each failed test has said, and nothing of the others.
func TestFailuresAreShown(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "awk", "-v", "most=3", "-f", "failures.awk")
	cmd.Stdin = strings.NewReader(verbose)
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != failures {
		t.Errorf("%v:\n%s\ninstead of\n%s", err, out, failures)
	}
}
