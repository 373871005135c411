package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"bankforge/app/apptest/servers"
)

// walkthrough are the blocks of docs/operations.md in which operators see, fix and retry what fails.
func walkthrough(t *testing.T) []block {
	t.Helper()
	document, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	return tour(t, string(document), "When something fails")
}

// TestWalkthrough runs it word for word, in one shell, with the bank in files and with the bank on servers.
func TestWalkthrough(t *testing.T) {
	t.Parallel()
	postgres := servers.Postgres(t)
	kafka := strings.Join(servers.Kafka(t), ",")
	prefix := servers.Name() + "_"
	for name, env := range map[string][]string{
		"SQLite": nil,
		"PostgreSQL and Kafka": {
			"BANKFORGE_STORE=postgres", "BANKFORGE_POSTGRES=" + postgres, "BANKFORGE_PREFIX=" + prefix,
			"BANKFORGE_BROKER=kafka", "BANKFORGE_KAFKA=" + kafka, "BANKFORGE_PARTITIONS=4",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if env != nil {
				t.Cleanup(func() { drop(t, postgres, prefix) })
			}
			addr, err := freeAddress()
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			program, err := exec.LookPath("bankforge")
			if err != nil {
				t.Fatal(err)
			}
			if err := putProgram(program, dir); err != nil {
				t.Fatal(err)
			}
			blocks := walkthrough(t)
			printed := runTour(t, blocks, dir, append(append(os.Environ(),
				"BANKFORGE_HTTP="+addr, "BANKFORGE_ADMIN=", "BANKFORGE_DATA="+filepath.Join(dir, "data")), env...))
			for _, difference := range differences(blocks, printed) {
				t.Error(difference)
			}
		})
	}
}

// putProgram makes dir/bin/bankforge the program that is tested.
func putProgram(program, dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o700); err != nil {
		return err
	}
	return os.Symlink(program, filepath.Join(dir, "bin", "bankforge"))
}

// walkthroughCommand runs it against the bank that the script has started, which goes on: all but its first and last
// blocks, which start and end one.
func walkthroughCommand(t *testing.T) func(*testscript.TestScript, bool, []string) {
	t.Helper()
	blocks := walkthrough(t)
	blocks = blocks[1 : len(blocks)-1]
	return func(ts *testscript.TestScript, neg bool, args []string) {
		usage(ts, !neg && len(args) == 0, "walkthrough")
		dir := ts.MkAbs("walk")
		ts.Check(putProgram(program(ts), dir))
		printed, err := runBlocks(context.Background(), blocks, dir, environment(ts))
		ts.Check(err)
		for _, difference := range differences(blocks, printed) {
			ts.Fatalf("%s", difference)
		}
	}
}
