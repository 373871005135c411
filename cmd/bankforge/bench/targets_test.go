package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestTargetsStand pins what must be reached: whoever lowers a target has to do it in two places.
func TestTargetsStand(t *testing.T) {
	t.Parallel()
	got := map[string][2]float64{}
	for i := range targets {
		got[targets[i].line+"."+targets[i].name] = [2]float64{targets[i].want, targets[i].dream}
	}
	want := map[string][2]float64{
		"burst.ratio": {0.40, 0.53}, "burst.caught-up": {5, 0},
		"sustained.ratio": {0.25, 0.33}, "sustained.behind": {2, 0},
		"hot.ratio": {0.90, 1}, "many.ratio": {0.50, 0.65}, "one.p50": {0.5, 0.2},
		"bulk.rate":       {60_000, 100_000},
		"overload.errors": {0, 0}, "overload.ratio": {0.8, 0}, "overload.p99": {500, 0},
		"overload.memory": {1024, 0}, "overload.growth": {1.25, 0},
		"durable.settings": {2, 0}, "durable.commits": {1, 0}, "durable.replies": {1, 0}, "durable.early": {0, 0},
		"replay.state": {300_000, 1_000_000}, "replay.views": {50_000, 100_000},
		"big.ratio": {0.8, 0.95}, "big.start": {5, 0}, "big.heap": {400, 0}, "big.file": {1, 0},
		"live.alone": {5, 2}, "live.half-load": {50, 20}, "live.load": {0.95, 0}, "live.lost": {0, 0},
		"reads.ratio": {0.5, 0.8}, "reads.p99": {10, 0}, "reads.load": {0.95, 0},

		"pg-burst.ratio": {0.35, 0}, "pg-burst.commands": {}, "pg-burst.embedded": {}, "pg-burst.memory": {1024, 0},
		"pg-many.ratio": {0.45, 0}, "pg-many.commands": {}, "pg-many.embedded": {}, "pg-many.memory": {1024, 0},
		"pg-hot.ratio": {0.9, 0}, "log-views.rate": {15_000, 0}, "log-views.memory": {1024, 0},
		"relay.rate": {100_000, 0}, "relay.memory": {1024, 0}, "views.rate": {25_000, 0}, "views.memory": {1024, 0},
		"redis.rate": {50_000, 0}, "redis.memory": {1024, 0}, "mongo.rate": {15_000, 0}, "mongo.memory": {1024, 0},
		"far-live.alone": {25, 0}, "far-live.memory": {1024, 0},

		"ops-chain.alone": {2, 0}, "ops-chain.batched": {2, 0}, "ops-one-key.ratio": {0.9, 0},
		"ops-lists.slowest": {100, 0}, "ops-lists.plan": {}, "ops-replay.rate": {2000, 0},
		"pg-ops-one-key.ratio": {0.9, 0}, "pg-ops-lists.slowest": {100, 0}, "pg-ops-lists.plan": {},
		"pg-ops-replay.rate": {3000, 0},
	}
	if !maps.Equal(got, want) {
		t.Errorf("targets are %v, not %v", got, want)
	}
	lowest := map[string]bool{"burst.caught-up": true, "sustained.behind": true, "one.p50": true,
		"overload.errors": true, "durable.early": true, "overload.p99": true,
		"overload.memory": true, "overload.growth": true, "big.start": true, "big.heap": true,
		"live.alone": true, "live.half-load": true, "live.lost": true, "reads.p99": true, "far-live.alone": true,
		"ops-chain.alone": true, "ops-chain.batched": true, "ops-lists.slowest": true, "pg-ops-lists.slowest": true}
	noted := []string{"pg-burst.commands", "pg-burst.embedded", "pg-many.commands", "pg-many.embedded", "ops-lists.plan",
		"pg-ops-lists.plan"}
	all := append(Lines(""), Lines(Kafka)...)
	for i := range targets {
		name := targets[i].line + "." + targets[i].name
		if targets[i].atMost != (lowest[name] || targets[i].name == "memory") {
			t.Errorf("%s: at most is %t", name, targets[i].atMost)
		}
		if targets[i].noted != slices.Contains(noted, name) {
			t.Errorf("%s: noted is %t", name, targets[i].noted)
		}
		if !slices.Contains(all, targets[i].line) {
			t.Errorf("no line measures %s", name)
		}
	}
}

// fullReport is one in which every line of the profile has given what it must.
func fullReport(profile string, short bool) *Report {
	r := &Report{Profile: profile, Short: short, Lines: Lines(profile)}
	for _, line := range r.Lines {
		got := values{}
		for i := range targets {
			if targets[i].line == line {
				got[targets[i].name] = value{figure: targets[i].want}
			}
		}
		r.Rows = append(r.Rows, judge(line, got, nil, short)...)
	}
	return r
}

// TestNothingIsSkippedInSilence: a report without any one of its rows is not good, nor is one whose line gave nothing.
func TestNothingIsSkippedInSilence(t *testing.T) {
	t.Parallel()
	for _, profile := range []string{"", Kafka} {
		nothingIsSkipped(t, profile, false)
		nothingIsSkipped(t, profile, true)
	}
	if (&Report{}).judged() || (&Report{Lines: []string{"unheard of"}}).judged() {
		t.Error("a report of nothing is good")
	}
}

func nothingIsSkipped(t *testing.T, profile string, short bool) {
	t.Helper()
	full := fullReport(profile, short)
	if !full.judged() {
		t.Fatalf("the full report (short: %t) is not good: %+v", short, full.Rows)
	}
	for i := range full.Rows {
		r := fullReport(profile, short)
		r.Rows = slices.Delete(r.Rows, i, i+1)
		if r.judged() {
			t.Errorf("without row %d it is good", i)
		}
	}
	for _, line := range Lines(profile) {
		r := fullReport(profile, short)
		r.Rows = slices.DeleteFunc(r.Rows, func(row Row) bool { return row.Line == line })
		r.Rows = append(r.Rows, judge(line, nil, nil, short)...)
		if r.judged() {
			t.Errorf("it is good though %s gave nothing (short: %t)", line, short)
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	all := func(catchUp, ratio float64) values {
		return values{"ratio": {figure: ratio}, "caught-up": {figure: catchUp}}
	}
	for _, c := range []struct {
		name   string
		got    values
		failed error
		short  bool
		ratio  Verdict
		caught Verdict
	}{
		{"reached", all(5, 0.40), nil, false, Pass, Pass},
		{"dreamt", all(0, 0.53), nil, false, Dream, Pass},
		{"missed", all(5.01, 0.399), nil, false, Miss, Miss},
		{"short", all(60, 0.001), nil, true, Works, Works},
		{"one is not there", values{"ratio": {figure: 1}}, nil, true, Works, NotMeasured},
		{"no number", all(1, math.NaN()), nil, true, NotMeasured, Works},
		{"infinite", all(1, math.Inf(1)), nil, false, NotMeasured, Pass},
		{"wrong replies", all(1, 1), errors.New("3 replies were wrong"), true, NotMeasured, NotMeasured},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rows := judge("burst", c.got, c.failed, c.short)
			if len(rows) != 2 || rows[0].Verdict != c.ratio || rows[1].Verdict != c.caught {
				t.Errorf("rows are %+v", rows)
			}
		})
	}
	noted := judge("pg-many", values{"embedded": {figure: 0.001}}, nil, false)
	for i := range noted {
		if r := &noted[i]; (r.Verdict == Noted) != (r.Name == "embedded") || r.good() != (r.Name == "embedded") {
			t.Errorf("what is only noted: %+v", r)
		}
	}
	rows := judge("hot", values{"ratio": {figure: 1}, "surprise": {figure: 1}}, nil, false)
	if len(rows) != 2 || rows[1].good() {
		t.Errorf("a figure without a target passes: %+v", rows)
	}
	if rows := judge("overload", values{"errors": {figure: 1}}, nil, true); rows[0].good() {
		t.Errorf("the short form does not judge replies: %+v", rows[0])
	}
}

func TestChosenLines(t *testing.T) {
	t.Parallel()
	for _, profile := range []string{"", Kafka} {
		if got, err := (&Suite{Profile: profile}).chosen(); err != nil || len(got) != len(Lines(profile)) {
			t.Errorf("all are %v, %v", got, err)
		}
	}
	if _, err := (&Suite{Only: []string{"relay"}}).chosen(); err == nil {
		t.Error("a line of another profile is taken")
	}
	got, err := (&Suite{Only: []string{"hot", "burst"}}).chosen()
	if err != nil || len(got) != 2 || got[0].name != "burst" || got[1].name != "hot" {
		t.Errorf("two are %v, %v", got, err)
	}
	if _, err := (&Suite{Only: []string{"hott"}}).chosen(); err == nil || !strings.Contains(err.Error(), `"hott"`) {
		t.Errorf("a line that is not there: %v", err)
	}
}

func TestReportIsShown(t *testing.T) {
	t.Parallel()
	r := fullReport("", false)
	r.Machine = &Machine{Cores: 2, CPU: "slow"}
	low := 0.123456
	r.Rows[0].Measured, r.Rows[0].Verdict = &low, Miss
	r.Runs = []Run{{Line: "burst", Against: "bank", PerSecond: 12345.6}}
	path := filepath.Join(t.TempDir(), "new", "report.json")
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	again, err := ReadReport(path)
	if err != nil || !reflect.DeepEqual(again, r) {
		t.Fatalf("it is read as %+v, %v", again, err)
	}
	for format, wants := range map[string][]string{
		"table":    {"burst", "0.123 ×", "≥ 0.400", "0.530", "0.31", "MISS", "36 figures, 1 missed", "2 cores of slow"},
		"markdown": {"| burst | burst of transfers, 64 connections, of bare gin | 0.123 × | ≥ 0.400 | 0.530 | 0.31 | MISS |"},
		"json":     {`"per_second": 12345.6`, `"verdict": "MISS"`},
	} {
		var out bytes.Buffer
		if err := again.Print(&out, format); err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s has no %q:\n%s", format, want, out.String())
			}
		}
		if format == "json" && !json.Valid(out.Bytes()) {
			t.Error("it is not JSON")
		}
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		of   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}} {
		var runs []Run
		for _, v := range c.of {
			runs = append(runs, Run{PerSecond: v})
		}
		if got := median(runs, perSecond); got != c.want {
			t.Errorf("median of %v is %v, not %v", c.of, got, c.want)
		}
	}
	if got := ratio([]Run{{PerSecond: 1}}, []Run{{PerSecond: 4}}); got.figure != 0.25 {
		t.Errorf("ratio is %v", got)
	}
}
