package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// tourPatience bounds the whole tour, the building of the program included.
const tourPatience = 5 * time.Minute

// block is a fenced part of the README: commands, and what they are said to print.
type block struct {
	commands, output string
}

// TestTour runs the tour of the README word for word, in one shell, and compares what each block prints with
// what the README shows below it. Only the port and the directory are others, by the variables that the
// tour itself names.
func TestTour(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := tour(t, string(readme), tourHeading)
	addr, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	printed := runTour(t, blocks, "../..", append(os.Environ(),
		"BANKFORGE_HTTP="+addr, "BANKFORGE_ADMIN=", "BANKFORGE_DATA="+t.TempDir()))
	for _, difference := range differences(blocks, printed) {
		t.Error(difference)
	}
}

// differences tells where blocks print something else than is said below them.
func differences(blocks []block, printed []string) (out []string) {
	for i, b := range blocks {
		if !sameText(printed[i], b.output) {
			out = append(out, fmt.Sprintf("it is said that\n%s\nprints\n%s\nand it printed\n%s",
				b.commands, b.output, printed[i]))
		}
	}
	return out
}

const tourHeading = "Five minutes with curl"

// tour finds the blocks of a section.
func tour(t *testing.T, document, heading string) []block {
	t.Helper()
	_, section, found := strings.Cut(document, "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var out []block
	for _, m := range regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$").FindAllStringSubmatch(section, -1) {
		if m[1] == "sh" {
			out = append(out, block{commands: m[2]})
		} else {
			out[len(out)-1].output = m[2]
		}
	}
	if !found || len(out) < 5 {
		t.Fatalf("the document has no section %q to run: %d blocks", heading, len(out))
	}
	return out
}

// runTour runs the blocks in one shell, and returns what each of them has printed.
func runTour(t *testing.T, blocks []block, dir string, env []string) []string {
	t.Helper()
	printed, err := runBlocks(t.Context(), blocks, dir, env)
	if err != nil {
		t.Fatal(err)
	}
	return printed
}

func runBlocks(ctx context.Context, blocks []block, dir string, env []string) ([]string, error) {
	const mark = "=== end of a block of the tour ==="
	var script strings.Builder
	for _, b := range blocks {
		script.WriteString(b.commands + "\necho '" + mark + "'\n")
	}
	ctx, cancel := context.WithTimeout(ctx, tourPatience)
	defer cancel()
	const clean = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"
	shell := exec.CommandContext(ctx, "bash", "-eu", "-o", "pipefail", "-c", clean+script.String())
	shell.Dir, shell.Env = dir, env
	var stderr strings.Builder
	shell.Stderr = &stderr
	shell.WaitDelay = 10 * time.Second
	out, err := shell.Output()
	if err != nil {
		return nil, fmt.Errorf("the tour failed: %w\n%s\n%s\n%s", err, out, stderr.String(),
			tail(filepath.Join(dir, "bin/bankforge.log")))
	}
	return strings.Split(string(out), mark+"\n"), nil
}

// sameText compares line by line; "…" stands for anything.
func sameText(got, want string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(want)), "…", ".*")
	return regexp.MustCompile("^" + pattern + "$").MatchString(strings.TrimSpace(got))
}

// TestTourCanFail shows that a wrong output would be noticed.
func TestTourCanFail(t *testing.T) {
	t.Parallel()
	blocks := tour(t, "\n## A\n"+strings.Repeat("```sh\necho 1 a\n```\n\n```text\n1 …\n```\n", 5), "A")
	printed := runTour(t, blocks, t.TempDir(), os.Environ())
	for _, want := range []string{"1 a", "1 …", "… a", "1 a\n"} {
		if !sameText(printed[4], want) {
			t.Errorf("%q is not %q", printed[4], want)
		}
	}
	for _, want := range []string{"1", "1 b", "1 a\n2", ""} {
		if sameText(printed[4], want) {
			t.Errorf("%q is %q", printed[4], want)
		}
	}
}
