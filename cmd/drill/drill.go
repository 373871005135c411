package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// round is one attack.
type round struct {
	name string
	does string // in a few words
	// run returns an error when a promise was broken, or when the attack could not be made.
	run func(ctx context.Context, d *drill, at *visit) error
}

// visit is one time that a round is run.
type visit struct {
	dir   string
	seed  uint64
	notes []string // for the table
	held  []*stage // to be closed
}

func (v *visit) noted(format string, args ...any) {
	v.notes = append(v.notes, fmt.Sprintf(format, args...))
}

// drill is one run of the program.
type drill struct {
	*options
	out     io.Writer
	began   time.Time
	results []outcome
}

// outcome is a row of the table.
type outcome struct {
	Round   string  `json:"round"`
	Did     string  `json:"did"`
	Seen    string  `json:"seen"`
	Verdict string  `json:"verdict"` // "ok", or what was broken
	Seconds float64 `json:"seconds"`
	Kept    string  `json:"kept,omitempty"` // the directory with the data and the journal of a failed round
}

const passed = "ok"

func newDrill(o *options, out io.Writer) (*drill, error) {
	if _, err := os.Stat(o.Bankforge); err != nil {
		return nil, fmt.Errorf("--bankforge: %w; build it with: go build -tags drill -o FILE ./cmd/bankforge", err)
	}
	var err error
	if o.Bankforge, err = filepath.Abs(o.Bankforge); err != nil {
		return nil, err
	}
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("", "drill-"); err != nil {
			return nil, err
		}
	}
	return &drill{options: o, out: out, began: time.Now()}, nil
}

var errFailed = errors.New("a promise was broken, or an attack could not be made")

// run runs the rounds, prints the table, and fails when one of them has.
func (d *drill) run(ctx context.Context) error {
	d.say("seed %d, directory %s\n", d.Seed, d.Dir)
	for _, r := range d.rounds() {
		if !d.wanted(r.name) {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d.row(ctx, &r)
	}
	return d.conclude()
}

// say tells whoever watches.
func (d *drill) say(format string, args ...any) {
	_, _ = fmt.Fprintf(d.out, format, args...) // who has gone does not end the drill
}

// rounds are all, in the short form a few of them.
func (d *drill) rounds() []round {
	if d.Profile != "embedded" {
		return d.ofMany()
	}
	if d.Short {
		return slices.Concat(killRounds(killsInShort), []round{
			named("sigterm"), named("second-process"), named("snapshot-flipped"), named("planted-no-wait"),
		}, d.faultRounds())
	}
	return slices.Concat(killRounds(d.Rounds), others(), d.faultRounds())
}

// killsInShort is enough for each step at which a process ends itself, with random moments between them.
const killsInShort = 10

// others are the rounds that are run once.
func others() []round {
	return slices.Concat(processRounds(), damageRounds(), indexRounds(), liveRounds(), backupRounds(), plantedRounds())
}

// named is the one of the others with that name.
func named(name string) round {
	all := others()
	return all[slices.IndexFunc(all, func(r round) bool { return r.name == name })]
}

func (d *drill) wanted(name string) bool {
	begins := func(with string) bool { return strings.HasPrefix(name, with) }
	return (len(d.Only) == 0 || slices.ContainsFunc(d.Only, begins)) && !slices.ContainsFunc(d.Skip, begins)
}

// row runs one round, and prints its row. What a failed one leaves is kept.
func (d *drill) row(ctx context.Context, r *round) {
	began := time.Now()
	at := &visit{dir: filepath.Join(d.Dir, r.name), seed: seedOf(d.Seed, r.name)}
	ctx, cancel := context.WithTimeout(ctx, roundWithin)
	defer cancel()
	err := errors.Join(os.RemoveAll(at.dir), os.MkdirAll(at.dir, 0o700))
	if err == nil {
		err = r.run(ctx, d, at)
	}
	for _, s := range at.held {
		err = errors.Join(err, s.close())
	}
	o := outcome{Round: r.name, Did: r.does, Seen: strings.Join(at.notes, ", "), Verdict: passed}
	o.Seconds = float64(time.Since(began).Milliseconds()) / 1000
	if err == nil {
		err = os.RemoveAll(at.dir)
	}
	if err != nil {
		o.Verdict, o.Kept = err.Error(), at.dir
	}
	d.results = append(d.results, o)
	d.say("%-24s %6.1f s  %-6s %s: %s\n", o.Round, o.Seconds, verdict(&o), o.Did, o.Seen)
	if o.Verdict != passed {
		d.say("    %s\n    kept: %s; again with: --seed %d --only %s\n", o.Verdict, o.Kept, d.Seed, o.Round)
	}
}

// seedOf gives each round a seed of its own, so that it does the same when it is run alone.
func seedOf(seed uint64, name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // never fails, it says
	return seed ^ h.Sum64()
}

// roundWithin bounds a round.
const roundWithin = 10 * time.Minute

func verdict(o *outcome) string {
	if o.Verdict == passed {
		return passed
	}
	return "FAILED"
}

// conclude writes the JSON file, and sums up.
func (d *drill) conclude() error {
	failed := 0
	for i := range d.results {
		if d.results[i].Verdict != passed {
			failed++
		}
	}
	d.say("%d rounds, %d failed, seed %d, %.0f s\n", len(d.results), failed, d.Seed,
		time.Since(d.began).Seconds())
	if d.JSON != "" {
		b, err := json.MarshalIndent(map[string]any{"seed": d.Seed, "failed": failed, "rounds": d.results}, "", "  ")
		if err == nil {
			err = os.WriteFile(d.JSON, append(b, '\n'), 0o600)
		}
		if err != nil {
			return err
		}
	}
	if failed > 0 || len(d.results) == 0 {
		return errFailed
	}
	return os.RemoveAll(d.Dir)
}

// stage opens a bank that is closed when the round ends.
func (d *drill) stage(ctx context.Context, at *visit, plant string) (*stage, error) {
	dir := filepath.Join(at.dir, fmt.Sprintf("bank-%d", len(at.held)))
	s, err := newStage(ctx, d.options, dir, at.seed, plant)
	at.held = append(at.held, s)
	return s, err
}
