package bench

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// target is one figure that a line of the suite has to give, and what it is held against.
type target struct {
	line   string
	name   string // within its line
	what   string
	unit   string
	atMost bool    // else at least
	want   float64 // what must be reached
	dream  float64 // what would be wonderful; 0: nothing is
	exact  bool    // it depends on no machine, so the short form judges it as well
	noted  bool    // it is only there to compare with
}

// targets are all figures of the suite. A line that does not give one of its own has missed it.
var targets = []target{
	{line: "burst", name: "ratio", what: "burst of transfers, 64 connections, of bare gin", unit: "×",
		want: 0.40, dream: 0.53},
	{line: "burst", name: "caught-up", what: "… the views caught up after", unit: "s", atMost: true, want: 5},
	{line: "sustained", name: "ratio", what: "60 s of transfers, of bare gin", unit: "×", want: 0.25, dream: 0.33},
	{line: "sustained", name: "behind", what: "… the views behind at most", unit: "s", atMost: true, want: 2},
	{line: "hot", name: "ratio", what: "one hot account, of random accounts", unit: "×", want: 0.90, dream: 1},
	{line: "many", name: "ratio", what: "256 connections, of bare gin with 256", unit: "×", want: 0.50, dream: 0.65},
	{line: "one", name: "p50", what: "one connection, p50", unit: "ms", atMost: true, want: 0.5, dream: 0.2},
	{line: "bulk", name: "rate", what: "bulks of 1,000 transfers", unit: "transfers/s", want: 60_000, dream: 100_000},

	{line: "overload", name: "errors", what: "2,000 connections: other than 503, 429 with Retry-After",
		unit: "replies", atMost: true, exact: true},
	{line: "overload", name: "ratio", what: "… throughput, of the best", unit: "×", want: 0.8},
	{line: "overload", name: "p99", what: "… p99 of what was accepted", unit: "ms", atMost: true, want: 500},
	{line: "overload", name: "memory", what: "… memory of the bank at most", unit: "MiB", atMost: true, want: 1024},
	{line: "overload", name: "growth", what: "… memory, last third of the middle one", unit: "×",
		atMost: true, want: 1.25},

	{line: "durable", name: "settings", what: "synchronous of log and state, as SQLite says (2 is FULL)",
		want: 2, exact: true},
	{line: "durable", name: "commits", what: "flushes of the log for a commit, 64 connections", unit: "×",
		want: 1, exact: true},
	{line: "durable", name: "replies", what: "flushes of the log for a reply, one connection", unit: "×",
		want: 1, exact: true},
	{line: "durable", name: "early", what: "replies before the flush that they wait for, one connection", unit: "replies",
		atMost: true, exact: true},

	{line: "replay", name: "state", what: "replay of the log into state", unit: "events/s",
		want: 300_000, dream: 1_000_000},
	{line: "replay", name: "views", what: "replay of the log into views", unit: "events/s",
		want: 50_000, dream: 100_000},

	{line: "big", name: "ratio", what: "1,000,000 accounts, 5,000,000 events, of the empty bank", unit: "×",
		want: 0.8, dream: 0.95},
	{line: "big", name: "start", what: "… start from a snapshot", unit: "s", atMost: true, want: 5},
	{line: "big", name: "heap", what: "… heap for an account", unit: "bytes", atMost: true, want: 400},
	{line: "big", name: "file", what: "… the log's file, of its cache", unit: "×", want: 1},

	{line: "live", name: "alone", what: "command sent → frame received, alone, p50", unit: "ms",
		atMost: true, want: 5, dream: 2},
	{line: "live", name: "half-load", what: "… at half load with 1,000 clients, p99", unit: "ms",
		atMost: true, want: 50, dream: 20},
	{line: "live", name: "load", what: "… that load, of half the burst", unit: "×", want: 0.95},
	{line: "live", name: "lost", what: "… frames that did not come", unit: "frames", atMost: true, exact: true},

	{line: "reads", name: "ratio", what: "reads of one account at half load, of bare gin alone", unit: "×",
		want: 0.5, dream: 0.8},
	{line: "reads", name: "p99", what: "… p99", unit: "ms", atMost: true, want: 10},
	{line: "reads", name: "load", what: "… that load, of half the burst", unit: "×", want: 0.95},

	{line: "ops-chain", name: "alone", what: "all steps before a handler, one message", unit: "µs", atMost: true,
		want: 2},
	{line: "ops-chain", name: "batched", what: "… one of many", unit: "µs", atMost: true, want: 2},
	{line: "ops-one-key", name: "ratio", what: "one key of 10,000 fails: the rest, of the stream without", unit: "×",
		want: 0.9},
	{line: "ops-lists", name: "slowest", what: "100,000 parked: the slowest list", unit: "ms", atMost: true, want: 100},
	{line: "ops-lists", name: "plan", what: "… planning a replay of them", unit: "ms", noted: true},
	{line: "ops-replay", name: "rate", what: "… replay of them", unit: "messages/s", want: 2000},

	{line: "pg-burst", name: "ratio", what: "log in PostgreSQL: burst of transfers, 64 connections, of bare gin",
		unit: "×", want: 0.35},
	{line: "pg-burst", name: "commands", what: "… a process that only takes commands", unit: "×", noted: true},
	{line: "pg-burst", name: "embedded", what: "… the embedded profile beside it", unit: "×", noted: true},
	{line: "pg-burst", name: "memory", what: "… memory of the process at most", unit: "MiB", atMost: true, want: 1024},
	{line: "pg-many", name: "ratio", what: "… 256 connections, of bare gin with 256", unit: "×", want: 0.45},
	{line: "pg-many", name: "commands", what: "… a process that only takes commands", unit: "×", noted: true},
	{line: "pg-many", name: "embedded", what: "… the embedded profile beside it", unit: "×", noted: true},
	{line: "pg-many", name: "memory", what: "… memory of the process at most", unit: "MiB", atMost: true, want: 1024},
	{line: "pg-hot", name: "ratio", what: "… one hot account, of random accounts", unit: "×", want: 0.90},

	{line: "log-views", name: "rate", what: "log as broker, 500,000 events → views in PostgreSQL", unit: "messages/s",
		want: 15_000},
	{line: "log-views", name: "memory", what: "… memory of the process at most", unit: "MiB", atMost: true, want: 1024},
	{line: "relay", name: "rate", what: "relay, 500,000 events → Kafka", unit: "messages/s", want: 100_000},
	{line: "relay", name: "memory", what: "… memory of the process at most", unit: "MiB", atMost: true, want: 1024},
	{line: "views", name: "rate", what: "Kafka → views in PostgreSQL, 16 partitions, one process", unit: "messages/s",
		want: 25_000},
	{line: "views", name: "memory", what: "… memory of the process at most", unit: "MiB", atMost: true, want: 1024},
	{line: "redis", name: "rate", what: "Kafka → balances in Redis", unit: "messages/s", want: 50_000},
	{line: "redis", name: "memory", what: "… memory of the process at most", unit: "MiB", atMost: true, want: 1024},
	{line: "mongo", name: "rate", what: "Kafka → history in MongoDB", unit: "messages/s", want: 15_000},
	{line: "mongo", name: "memory", what: "… memory of the process at most", unit: "MiB", atMost: true, want: 1024},

	{line: "far-live", name: "alone", what: "command sent → frame received through Kafka, p50", unit: "ms", atMost: true,
		want: 25},
	{line: "far-live", name: "memory", what: "… memory of the process at most", unit: "MiB", atMost: true, want: 1024},

	{line: "pg-ops-one-key", name: "ratio", what: "one key of 10,000 fails: the rest, of the stream without", unit: "×",
		want: 0.9},
	{line: "pg-ops-lists", name: "slowest", what: "100,000 parked: the slowest list", unit: "ms", atMost: true, want: 100},
	{line: "pg-ops-lists", name: "plan", what: "… planning a replay of them", unit: "ms", noted: true},
	{line: "pg-ops-replay", name: "rate", what: "… replay of them", unit: "messages/s", want: 3000},
}

// Verdict is what a figure is worth.
type Verdict string

// The verdicts.
const (
	Pass        Verdict = "pass"
	Dream       Verdict = "dream" // better than was asked for
	Miss        Verdict = "MISS"
	Works       Verdict = "works" // measured too shortly to be judged
	Noted       Verdict = "noted" // it is there to compare with
	NotMeasured Verdict = "NOT MEASURED"
)

// Row is one figure beside its target.
type Row struct {
	Line     string   `json:"line"`
	Name     string   `json:"name"`
	What     string   `json:"what"`
	Unit     string   `json:"unit"`
	Measured *float64 `json:"measured"` // null: it was not
	AtMost   bool     `json:"at_most"`  // else at least
	Target   float64  `json:"target"`
	Dream    float64  `json:"dream,omitempty"`
	Verdict  Verdict  `json:"verdict"`
	Note     string   `json:"note,omitempty"` // what stands behind the figure, or why there is none
}

// values are the figures that a line gives, by name.
type values map[string]value

type value struct {
	figure float64
	note   string
}

// judge makes the rows of a line: one for each of its targets, whether or not it gave the figure.
func judge(line string, got values, failed error, short bool) (rows []Row) {
	for i := range targets {
		if t := &targets[i]; t.line == line {
			v, ok := got[t.name]
			rows = append(rows, t.row(v, ok && !math.IsNaN(v.figure) && !math.IsInf(v.figure, 0), failed, short))
		}
	}
	for name := range got {
		if !slices.ContainsFunc(targets, func(t target) bool { return t.line == line && t.name == name }) {
			rows = append(rows, Row{Line: line, Name: name, Verdict: Miss, Note: "there is no such target"})
		}
	}
	return rows
}

func (t *target) row(v value, measured bool, failed error, short bool) Row {
	r := Row{Line: t.line, Name: t.name, What: t.what, Unit: t.unit, AtMost: t.atMost, Target: t.want, Dream: t.dream,
		Note: v.note}
	if !measured || failed != nil {
		r.Verdict = NotMeasured
		if failed != nil {
			r.Note = failed.Error()
		}
	}
	if !measured {
		return r
	}
	r.Measured = &v.figure
	switch {
	case failed != nil: // a line with a wrong reply in it has measured something else
	case t.noted:
		r.Verdict = Noted
	case short && !t.exact:
		r.Verdict = Works
	case !t.reaches(v.figure, t.want):
		r.Verdict = Miss
	case t.dream != 0 && t.reaches(v.figure, t.dream):
		r.Verdict = Dream
	default:
		r.Verdict = Pass
	}
	return r
}

func (t *target) reaches(figure, want float64) bool {
	if t.atMost {
		return figure <= want
	}
	return figure >= want
}

// good reports whether the suite may end well with the row.
func (r *Row) good() bool {
	return r.Verdict == Pass || r.Verdict == Dream || r.Verdict == Works || r.Verdict == Noted
}

// share is how the figure stands to its target: from 1 on it is reached.
func (r *Row) share() string {
	switch {
	case r.Measured == nil, r.Verdict == Noted:
		return "–"
	case r.AtMost && *r.Measured == 0:
		return "0"
	case r.AtMost && r.Target == 0:
		return "∞"
	case r.AtMost:
		return strconv.FormatFloat(r.Target/(*r.Measured), 'f', 2, 64)
	default:
		return strconv.FormatFloat(*r.Measured/r.Target, 'f', 2, 64)
	}
}

// show writes a figure with as many digits as mean something.
func show(v float64, unit string) string {
	var text string
	switch {
	case v == math.Trunc(v) && math.Abs(v) < 1000:
		text = strconv.FormatFloat(v, 'f', 0, 64)
	case math.Abs(v) < 10:
		text = strconv.FormatFloat(v, 'f', 3, 64)
	case math.Abs(v) < 1000:
		text = strconv.FormatFloat(v, 'f', 1, 64)
	default:
		text = grouped(int64(math.Round(v)))
	}
	if unit != "" {
		text += " " + unit
	}
	return text
}

func grouped(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10)
	}
	return grouped(n/1000) + fmt.Sprintf(",%03d", n%1000)
}
