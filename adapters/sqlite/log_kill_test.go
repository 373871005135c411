package sqlite

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
)

// appendTo turns the test process into one that appends to this file until it is killed.
var appendTo = flag.String("append-to", "", "used by TestKilledProcessLosesNothing: append to this file until killed")

const acknowledged = "acknowledged "

// TestKilledProcessLosesNothing kills a process with SIGKILL while it appends, several times at the same file.
// Whatever it told to have been appended must be there, whole, with its outcomes, and the log must go on.
func TestKilledProcessLosesNothing(t *testing.T) {
	if *appendTo != "" {
		appendUntilKilled(t, *appendTo)
		return
	}
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bank.db")
	for round := range 4 {
		last := killed(t, path, 20+13*round)
		db, err := Open(t.Context(), path, BankFile)
		if err != nil {
			t.Fatal(err)
		}
		l := openLogOf(t, db)
		survived(t, l, last)
		if err := errors.Join(l.Close(), db.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// killed runs a process that appends, kills it after some batches, and returns the last seq that it told.
func killed(t *testing.T, path string, batches int) bank.Seq {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestKilledProcessLosesNothing$", "-append-to="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var last uint64
	told := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		text, ok := strings.CutPrefix(lines.Text(), acknowledged)
		if !ok {
			t.Errorf("the process says %q", lines.Text())
			continue
		}
		if last, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
		if told++; told == batches {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	if told < batches {
		t.Fatalf("the process ended by itself after %d batches", told)
	}
	return bank.Seq(last)
}

// appendUntilKilled tells each batch after it was appended.
func appendUntilKilled(t *testing.T, path string) {
	t.Helper()
	db, err := Open(t.Context(), path, BankFile)
	if err != nil {
		t.Fatal(err)
	}
	l := openLogOf(t, db)
	head, err := l.Acquire(t.Context(), strconv.Itoa(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := apptest.NewLedger(1)
	if err != nil {
		t.Fatal(err)
	}
	for ledger.State.Seq() < head.Seq { // the same seed makes the same log; go on where it ends
		ledger.Events(1)
	}
	for {
		b := next(head, ledger, 17)
		if err := l.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		head = moved(head, b)
		if _, err := fmt.Fprintf(os.Stdout, "%s%d\n", acknowledged, head.Seq); err != nil {
			t.Fatal(err)
		}
	}
}

func survived(t *testing.T, l *Log, last bank.Seq) {
	t.Helper()
	r, err := app.Verify(t.Context(), l)
	if err != nil || !r.OK() {
		t.Fatalf("after the kill: %v, error %v", r.Differences, err)
	}
	if r.Head.Seq < last {
		t.Fatalf("event %d was acknowledged, and the log ends at %d", last, r.Head.Seq)
	}
	rows, err := l.Read(t.Context(), 0, int(r.Head.Seq))
	if err != nil {
		t.Fatal(err)
	}
	keys := make([]app.Key, 0, len(rows))
	for _, row := range rows {
		keys = append(keys, app.Key(row.Chain))
	}
	found, err := l.Outcomes(t.Context(), keys)
	if err != nil || len(found) != len(rows) {
		t.Fatalf("%d of %d outcomes are there, error %v", len(found), len(rows), err)
	}
}
