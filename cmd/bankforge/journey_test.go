package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	drill "bankforge/cmd/drill/process"
)

// patience is how long a journey waits for what must happen soon, on a slow machine with the race detector.
const patience = 90 * time.Second

// TestMain lets the test binary be the program: a script that runs bankforge runs a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"bankforge": main})
}

// TestJourneys runs the scripts in testdata, each against banks of its own. Beside testscript's own commands they
// have those of journeyCommands.
func TestJourneys(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup:               setUpJourney,
		Cmds:                journeyCommands(),
	})
}

// journeyKey finds the journey of a script.
type journeyKey struct{}

// journey is what one script has running.
type journey struct {
	bank    *process
	answer  answer // the last one
	keys    int    // idempotency keys made so far
	load    *load
	tab     *tab
	many    map[string]*process // by their names
	gateway *process
	ears    map[string]*ear // by their channels
}

func setUpJourney(env *testscript.Env) error {
	addr, err := freeAddress()
	if err != nil {
		return err
	}
	j := &journey{}
	env.Values[journeyKey{}] = j
	env.Setenv("ADDR", addr)
	env.Setenv("URL", "http://"+addr)
	env.Setenv("BANKFORGE_DATA", filepath.Join(env.WorkDir, "data"))
	env.Setenv("BANKFORGE_HTTP", addr)
	env.Setenv("BANKFORGE_ADMIN", "")
	env.Setenv("BANKFORGE_RATE_LIMIT", "0")
	deploy, err := filepath.Abs(filepath.Join("..", "..", "deploy"))
	if err != nil {
		return err
	}
	env.Setenv("DEPLOY", deploy)
	env.Defer(func() {
		if j.load != nil {
			j.load.stop()
		}
		if j.bank != nil {
			j.bank.kill()
		}
		for _, p := range j.many {
			p.kill()
		}
		if j.gateway != nil {
			_ = j.gateway.term()
		}
	})
	return nil
}

func of(ts *testscript.TestScript) *journey {
	j, ok := ts.Value(journeyKey{}).(*journey)
	if !ok {
		ts.Fatalf("the script was not set up")
	}
	return j
}

// freeAddress is one that the bank that is started takes, and takes again after it was killed.
func freeAddress() (string, error) { return drill.FreeAddress(context.Background()) }

// until asks ok every few milliseconds, and reports whether it came true within d: what it watches is a real
// process, which nothing else can tell of.
func until(d time.Duration, ok func() bool) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
		if ok() {
			return true
		}
	}
	return ok()
}

// usage ends the script when a command has not the arguments that it needs.
func usage(ts *testscript.TestScript, ok bool, form string) {
	if !ok {
		ts.Fatalf("usage: %s", form)
	}
}

func soonCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "soon NAME SECONDS")
	d, err := time.ParseDuration(args[1] + "s")
	ts.Check(err)
	ts.Setenv(args[0], time.Now().Add(d).UTC().Format(time.RFC3339))
}

// tail is the end of a log, for messages.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
