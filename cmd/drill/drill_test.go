package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bankforge/cmd/drill/check"
)

// newTestDrill attacks nothing: its rounds are forged.
func newTestDrill(t *testing.T, out *bytes.Buffer) *drill {
	t.Helper()
	program := filepath.Join(t.TempDir(), "bankforge")
	if err := os.WriteFile(program, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := &options{Bankforge: program, Dir: t.TempDir(), Seed: 5, JSON: filepath.Join(t.TempDir(), "drill.json")}
	d, err := newDrill(o, out)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestAFailedRoundFailsTheDrillAndKeepsItsFiles(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	d := newTestDrill(t, &out)
	leave := func(at *visit) error { return os.WriteFile(filepath.Join(at.dir, "journal"), nil, 0o600) }
	d.row(t.Context(), &round{"good", "nothing", func(_ context.Context, _ *drill, at *visit) error {
		at.noted("it stood")
		return leave(at)
	}})
	d.row(t.Context(), &round{"bad", "nothing", func(_ context.Context, _ *drill, at *visit) error {
		return errors.Join(leave(at), check.Wrong(errors.New("a lost acknowledgement")))
	}})
	if err := d.conclude(); !errors.Is(err, errFailed) {
		t.Errorf("concluded with %v", err)
	}
	if _, err := os.Stat(filepath.Join(d.Dir, "bad", "journal")); err != nil {
		t.Errorf("what failed is not kept: %v", err)
	}
	if _, err := os.Stat(filepath.Join(d.Dir, "good")); err == nil {
		t.Error("what did not fail is kept")
	}
	for _, want := range []string{"it stood", "a lost acknowledgement", "--seed 5 --only bad", "2 rounds, 1 failed"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q: %s", want, &out)
		}
	}
	b, err := os.ReadFile(d.JSON)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Failed int       `json:"failed"`
		Rounds []outcome `json:"rounds"`
	}
	if err := json.Unmarshal(b, &report); err != nil || report.Failed != 1 || len(report.Rounds) != 2 {
		t.Errorf("%v: %s", err, b)
	}
}

func TestAPlantedBugMustBeFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		attack error
		passes bool
	}{
		"found":                       {check.Wrong(errors.New("an effect twice")), true},
		"not found":                   {nil, false},
		"the drill itself has failed": {errors.New("no space for the journal"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := planted("no-outcome", func(context.Context, *drill, *visit, string) error { return c.attack })
			if err := r.run(t.Context(), nil, &visit{}); (err == nil) != c.passes {
				t.Errorf("it says %v", err)
			}
		})
	}
}

func TestRoundsAreChosenByName(t *testing.T) {
	t.Parallel()
	d := &drill{options: &options{Only: []string{"kill", "disk"}, Skip: []string{"kill-02"}}}
	for name, want := range map[string]bool{"kill-01": true, "kill-02": false, "disk-full": true, "live": false} {
		if d.wanted(name) != want {
			t.Errorf("%s: %t", name, !want)
		}
	}
	seen := map[string]bool{}
	for _, r := range append(killRounds(60), others()...) {
		if seen[r.name] || r.run == nil {
			t.Errorf("there are two rounds %s, or nothing to run", r.name)
		}
		seen[r.name] = true
	}
	if seedOf(1, "kill-01") == seedOf(1, "kill-02") || seedOf(1, "live") == seedOf(2, "live") {
		t.Error("rounds share a seed")
	}
}

func TestWhatHasNoProgramOrNoRoundFails(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := run(t.Context(), []string{"--bankforge", filepath.Join(t.TempDir(), "none")}, &out, &out)
	if err == nil || !strings.Contains(err.Error(), "go build -tags drill") {
		t.Errorf("without a program: %v", err)
	}
	d := newTestDrill(t, &out)
	d.Only = []string{"nothing-like-it"}
	if err := d.run(t.Context()); !errors.Is(err, errFailed) {
		t.Errorf("without a round: %v", err)
	}
}
