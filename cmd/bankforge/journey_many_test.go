package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"bankforge/adapters/postgres"
	"bankforge/app/apptest/servers"
)

// TestSharedJourneys runs the scripts in testdata/shared, each against a bank of its own in PostgreSQL, with as many
// processes as it starts. The journeys of an embedded bank that do not look into its files must work there, too.
func TestSharedJourneys(t *testing.T) {
	t.Parallel()
	url := servers.Postgres(t)
	scripts, err := filepath.Glob(filepath.Join("testdata", "shared", "*.txtar"))
	if err != nil || len(scripts) == 0 {
		t.Fatal("there are no scripts", err)
	}
	for _, name := range []string{"bulk", "holds", "idempotency", "money", "reversals", "review"} {
		scripts = append(scripts, filepath.Join("testdata", name+".txtar"))
	}
	testscript.Run(t, testscript.Params{
		Files: scripts, RequireExplicitExec: true, Cmds: manyCommands(),
		Setup: func(env *testscript.Env) error {
			prefix := servers.Name() + "_"
			env.Setenv("BANKFORGE_STORE", "postgres")
			env.Setenv("BANKFORGE_POSTGRES", url)
			env.Setenv("BANKFORGE_PREFIX", prefix)
			if err := setUpJourney(env); err != nil {
				return err
			}
			env.Defer(func() { drop(t, url, prefix) }) // before the processes end; they are killed
			return nil
		},
	})
}

// manyCommands are those of journeys with many processes.
func manyCommands() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	cmds := journeyCommands()
	cmds["process"] = processCommand // process NAME [FLAG…]: start one more process, and wait until it is ready
	cmds["use"] = useCommand         // use NAME: whom req and the others ask from now on
	cmds["signal"] = signalCommand   // signal NAME kill | term | stop | cont
	cmds["owner"] = ownerCommand     // owner NAME SECONDS: it owns the ledger, at the latest by then
	return cmds
}

// drop removes the bank of a script.
func drop(t *testing.T, url, prefix string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	db, err := postgres.Open(ctx, url, postgres.Options{Prefix: prefix})
	if err != nil {
		t.Error(err)
		return
	}
	if err := db.Drop(ctx); err != nil {
		t.Error(err)
	}
}

// journeyCommands are those of all journeys.
func journeyCommands() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	return map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"serve":     serveCommand,     // serve [FLAG…]: start the bank on $ADDR and ./data, and wait until it is ready
		"crash":     crashCommand,     // crash: kill -9
		"term":      termCommand,      // term: SIGTERM, and it must end with status 0 in time
		"hang":      hangCommand,      // hang: a client that stops in the middle of a command
		"as":        asCommand,        // as NAME ROLE [FLAG…]: whose token req sends from now on
		"req":       reqCommand,       // req STATUS[|STATUS] METHOD PATH [HEADER: VALUE]… [BODY]
		"get":       getCommand,       // get NAME PATH: set $NAME to a value of the last answer
		"want":      wantCommand,      // [!] want PATH VALUE: compare with a value of the last answer
		"header":    headerCommand,    // [!] header NAME VALUE: compare with a header of the last answer
		"await":     awaitCommand,     // await URLPATH PATH VALUE: ask until the value is there
		"settled":   settledCommand,   // settled: wait until the act just answered is done
		"published": publishedCommand, // published: wait until Kafka acknowledges in time
		"soon":      soonCommand,      // soon NAME SECONDS: set $NAME to the time then
		"live":      liveCommand,      // live CHANNEL EPOCH OFFSET: recover from there on a WebSocket, and print the answer
		"listen":    listenCommand,    // listen CHANNEL: on a WebSocket, from now on
		"heard":     heardCommand,     // [!] heard CHANNEL PATTERN: wait until that was told there
		"load":      loadCommand,      // load start CLIENTS | wait COUNT | stop | check | through NAME… | gap SECONDS
		"tab":       tabCommand,       // tab open | state STATE | wait VERSION | check: a browser on the page
		"sqlite":    sqliteCommand,    // sqlite FILE STATEMENT: run it, and print rows
		"flip":      flipCommand,      // flip FILE TABLE COLUMN WHERE: turn one bit over in each value that is selected
	}
}

func processCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 0, "process NAME [FLAG…]")
	j, name := of(ts), args[0]
	if before := j.many[name]; before != nil && !before.ended() {
		ts.Fatalf("%s is running", name)
	}
	startOne(ts, name, args[1:])
	ts.Check(j.many[name].ready(ts.Getenv(name)))
}

// startOne starts a process, and does not wait for it. It is where it was before.
func startOne(ts *testscript.TestScript, name string, flags []string) {
	addr := strings.TrimPrefix(ts.Getenv(name), "http://")
	if addr == "" {
		free, err := freeAddress()
		ts.Check(err)
		addr = free
		ts.Setenv(name, "http://"+addr)
	}
	args := append([]string{"serve", "--http", addr}, flags...)
	p, err := startProcess(ts.MkAbs("."), environment(ts), ts.MkAbs(name+".log"), program(ts), args...)
	ts.Check(err)
	j := of(ts)
	if j.many == nil {
		j.many = map[string]*process{}
	}
	j.many[name] = p
}

func useCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1 && ts.Getenv(args[0]) != "", "use NAME")
	ts.Setenv("URL", ts.Getenv(args[0]))
	ts.Setenv("ADDR", strings.TrimPrefix(ts.Getenv(args[0]), "http://"))
}

func signalCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2 && of(ts).many[args[0]] != nil, "signal NAME kill | term | stop | cont")
	p := of(ts).many[args[0]]
	switch args[1] {
	case "kill":
		p.kill()
	case "term":
		if err := p.term(); err != nil {
			ts.Fatalf("after SIGTERM: %v\n%s", err, tail(p.log))
		}
	case "stop":
		ts.Check(p.cmd.Process.Signal(syscall.SIGSTOP))
	case "cont":
		ts.Check(p.cmd.Process.Signal(syscall.SIGCONT))
	default:
		ts.Fatalf("signal: unknown %q", args[1])
	}
}

// ownerCommand also tells how long it took.
func ownerCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "owner NAME SECONDS")
	seconds, err := strconv.ParseFloat(args[1], 64)
	ts.Check(err)
	limit, began := time.Duration(seconds*float64(time.Second)), time.Now()
	ok := until(limit, func() bool {
		a, err := ask(http.MethodGet, ts.Getenv(args[0])+"/readyz", nil, "")
		return err == nil && strings.Contains(string(a.body), "it owns the ledger")
	})
	if !ok {
		ts.Fatalf("%s does not own the ledger after %s\n%s", args[0], limit, tail(of(ts).many[args[0]].log))
	}
	fmt.Fprintf(ts.Stdout(), "%s owns the ledger after %s\n", args[0], time.Since(began).Round(time.Millisecond))
}
