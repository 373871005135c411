package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"bankforge/api/apitest"
	"bankforge/app/apptest/servers"
)

// set are the processes of docker-compose.yml's profile many, and in which pools of the gateway they are.
var set = []struct{ name, target, pool string }{
	{"command_1", "account-command,transaction-command", "commands"},
	{"command_2", "account-command,transaction-command", "commands"},
	{"account_query", "account-query", "accounts"},
	{"transaction_query", "transaction-query", "transactions"},
	{"event_store", "event-store", "eventstore"},
	{"push", "push", "live"},
	{"monitoring", "monitoring", "operations"},
	{"console", "console", "page"},
}

// TestJourneysThroughTheGateway runs journeys of an embedded bank, and those in testdata/many, against a process for
// each module behind nginx, with PostgreSQL, Kafka, Redis and MongoDB. The processes are without the race detector:
// it watches the same code in the journeys with fewer of them, and would cost four times all that these do.
func TestJourneysThroughTheGateway(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"BANKFORGE_STORE": "postgres", "BANKFORGE_POSTGRES": servers.Postgres(t),
		"BANKFORGE_BROKER": "kafka", "BANKFORGE_KAFKA": strings.Join(servers.Kafka(t), ","), "BANKFORGE_PARTITIONS": "4",
		"BANKFORGE_BALANCES": "redis", "BANKFORGE_REDIS": servers.Redis(t),
		"BANKFORGE_HISTORY": "mongo", "MANY": "1",
	}
	mongoURL, path := servers.Mongo(t), built(t)+string(filepath.ListSeparator)
	scripts, err := filepath.Glob(filepath.Join("testdata", "many", "*.txtar"))
	if err != nil || len(scripts) == 0 {
		t.Fatal("there are no scripts", err)
	}
	for _, name := range []string{"bulk", "holds", "idempotency", "money", "reversals", "review"} {
		scripts = append(scripts, filepath.Join("testdata", name+".txtar"))
	}
	few := make(chan struct{}, 3) // sets at once: each is eight processes
	cmds := manyCommands()
	cmds["kafka"] = kafkaCommand // kafka own | stop | start: a Kafka of the script's own
	// kcat: what is in the topics is as documented; how many of each type
	cmds["kcat"] = kcatCommand(apitest.Topics(t), apitest.Messages(t))
	cmds["lose"] = loseCommand                  // lose redis | mongo ID: what there is of it
	cmds["walkthrough"] = walkthroughCommand(t) // walkthrough: what docs/operations.md says of what fails
	testscript.Run(t, testscript.Params{
		Files: scripts, RequireExplicitExec: true, Cmds: cmds,
		Setup: func(e *testscript.Env) error {
			few <- struct{}{}
			e.Defer(func() { <-few })
			e.Setenv("PATH", path+e.Getenv("PATH"))
			prefix := servers.Name()
			for name, value := range env {
				e.Setenv(name, value)
			}
			e.Setenv("BANKFORGE_PREFIX", prefix+"_")
			e.Setenv("BANKFORGE_MONGO", database(t, mongoURL, prefix))
			if err := setUpJourney(e); err != nil {
				return err
			}
			e.Defer(func() { drop(t, env["BANKFORGE_POSTGRES"], prefix+"_") })
			return nil
		},
	})
}

// built is where the program stands as it is delivered.
func built(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// database is the URL of a database of that name, which is removed at the end.
func database(t *testing.T, at, name string) string {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		client, err := mongo.Connect(options.Client().ApplyURI(u.String()))
		if err != nil {
			t.Error(err)
			return
		}
		if err := client.Database(name).Drop(ctx); err != nil {
			t.Error(err)
		}
		_ = client.Disconnect(ctx)
	})
	return u.String()
}

// serveMany starts the processes that do not run, and the gateway.
func serveMany(ts *testscript.TestScript, flags []string) {
	var starting sync.WaitGroup
	j := of(ts)
	for _, p := range set {
		if before := j.many[p.name]; before == nil || before.ended() {
			startOne(ts, p.name, append([]string{"--target", p.target}, flags...))
		}
	}
	failed := make(chan error, len(set))
	for _, p := range set {
		running, at := j.many[p.name], ts.Getenv(p.name)
		starting.Go(func() { failed <- running.ready(at) })
	}
	starting.Wait()
	close(failed)
	for err := range failed {
		ts.Check(err)
	}
	if j.gateway == nil || j.gateway.ended() {
		startGateway(ts)
	}
}

// startGateway runs nginx with deploy/nginx.conf as it is.
func startGateway(ts *testscript.TestScript) {
	dir := ts.MkAbs("gateway")
	ts.Check(os.CopyFS(dir, os.DirFS(ts.Getenv("DEPLOY"))))
	pools := map[string][]string{}
	for _, p := range set {
		pools[p.pool] = append(pools[p.pool], strings.TrimPrefix(ts.Getenv(p.name), "http://"))
	}
	var upstreams strings.Builder
	for pool, at := range pools {
		fmt.Fprintf(&upstreams, "upstream %s { server %s max_fails=1 fail_timeout=2s; }\n", pool,
			strings.Join(at, " max_fails=1 fail_timeout=2s; server "))
	}
	ts.Check(os.WriteFile(filepath.Join(dir, "upstreams.conf"), []byte(upstreams.String()), 0o600))
	ts.Check(os.WriteFile(filepath.Join(dir, "listen.conf"), []byte("listen "+ts.Getenv("ADDR")+";\n"), 0o600))
	directives := "pid nginx.pid; daemon off;"
	if os.Getuid() == 0 {
		directives += " user root;" // others may not pass through the directory
	}
	program, err := exec.LookPath("nginx")
	ts.Check(err)
	j := of(ts)
	j.gateway, err = startProcess(dir, nil, ts.MkAbs("nginx.log"), program,
		"-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", "stderr", "-g", directives)
	ts.Check(err)
	if !until(patience, func() bool {
		c, err := net.Dial("tcp", ts.Getenv("ADDR"))
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}) {
		ts.Fatalf("the gateway does not answer: %s", tail(j.gateway.log))
	}
}

// kafkaCommand runs scripts/services.sh on a set of servers that only has a Kafka.
func kafkaCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "kafka own | stop | start")
	script := filepath.Join(ts.Getenv("DEPLOY"), "..", "scripts", "services.sh")
	services := func(verb ...string) string {
		cmd := exec.Command(script, append([]string{"--dir", ts.MkAbs("kafka")}, verb...)...)
		cmd.Env = append(os.Environ(), "BANKFORGE_ENGINE=none")
		out, err := cmd.Output()
		if err != nil {
			ts.Fatalf("services.sh %v: %v", verb, err)
		}
		return string(out)
	}
	if args[0] != "own" {
		services(args[0], "kafka")
		return
	}
	for line := range strings.Lines(services("up", "kafka")) {
		if at, ok := strings.CutPrefix(strings.TrimSpace(line), "export BANKFORGE_KAFKA="); ok {
			ts.Setenv("BANKFORGE_KAFKA", at)
		}
	}
	ts.Defer(func() { services("down") })
}
