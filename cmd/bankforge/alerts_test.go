package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"

	"bankforge/app/ops"
	"bankforge/cmd/bankforge/stores"
	"bankforge/router/repair"
)

// The rules that are shipped are Prometheus' own, and name metrics and labels that a running bank serves.
func TestAlertRulesFitARunningBank(t *testing.T) {
	t.Parallel()
	const file = "../../deploy/alerts.yml"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	served := scrape(t)
	if err := fit(text, served); err != nil {
		t.Error(err)
	}
	about, err := os.ReadFile("../../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	rules, errs := rulefmt.Parse(text, false, model.UTF8Validation)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if !strings.Contains(string(about), "`"+r.Alert+"`") {
				t.Errorf("docs/alerts.md does not say what to do about %s", r.Alert)
			}
		}
	}
	for name, spoil := range map[string][2]string{
		"another metric":   {"bankforge_diverged_keys", "bankforge_diverged_accounts"},
		"another label":    {`{by="cap"}`, `{cause="cap"}`},
		"another value":    {`{by="cap"}`, `{by="limit"}`},
		"no PromQL":        {"> 900", "> > 900"},
		"no such function": {"delta(", "difference("},
		"no rule":          {"expr:", "expression:"},
		"no template":      {"{{ $value | humanizeDuration }}", "{{ $value | humaniseDuration }}"},
	} {
		spoilt := strings.Replace(string(text), spoil[0], spoil[1], 1)
		if spoilt == string(text) {
			t.Errorf("%s: there is no %s to spoil", name, spoil[0])
		}
		if err := fit([]byte(spoilt), served); err == nil {
			t.Errorf("%s: nobody notices", name)
		}
	}
}

// fit holds rules against what is served.
func fit(rules []byte, served map[string]*dto.MetricFamily) error {
	all, errs := rulefmt.Parse(rules, false, model.UTF8Validation)
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	var wrong []error
	for _, g := range all.Groups {
		for _, r := range g.Rules {
			expr, err := parser.ParseExpr(r.Expr)
			if err != nil {
				return err
			}
			if r.Alert == "" || r.Annotations["summary"] == "" || r.Labels["severity"] == "" {
				wrong = append(wrong, fmt.Errorf("rule %s %q needs a severity and a summary", r.Alert, r.Expr))
			}
			for _, selected := range parser.ExtractSelectors(expr) {
				if !serves(served, selected) {
					wrong = append(wrong, fmt.Errorf("alert %s: the bank serves no %v", r.Alert, selected))
				}
			}
		}
	}
	return errors.Join(wrong...)
}

// serves reports whether there is a series that all matchers fit.
func serves(served map[string]*dto.MetricFamily, matchers []*labels.Matcher) bool {
	for name, family := range served {
		for _, series := range family.Metric {
			said := map[string]string{model.MetricNameLabel: name}
			for _, l := range series.Label {
				said[l.GetName()] = l.GetValue()
			}
			if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(said[m.Name]) }) {
				return true
			}
		}
	}
	return false
}

// scrape is what a bank serves soon after its start.
func scrape(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	admin, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"serve", "--http", "127.0.0.1:0", "--admin", admin, "--data", t.TempDir()}, nil,
			io.Discard, io.Discard)
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	var all map[string]*dto.MetricFamily
	if !until(patience, func() bool {
		all, err = metricsAt("http://" + admin + "/metrics")
		return err == nil && all["bankforge_handler_paused"] != nil
	}) {
		t.Fatalf("the bank serves no metrics of handlers: %v", err)
	}
	return all
}

func metricsAt(url string) (map[string]*dto.MetricFamily, error) {
	resp, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	parse := expfmt.NewTextParser(model.UTF8Validation)
	return parse.TextToMetricFamilies(resp.Body)
}

// desk is what of a parking lot metrics ask for.
type desk struct {
	stores.Operations
	all []ops.Handler
	err error
}

func (d *desk) Handlers(context.Context) ([]ops.Handler, error) { return d.all, d.err }

func (d *desk) Running(context.Context) ([]repair.Running, error) {
	return make([]repair.Running, 2), nil
}

func TestTheParkingLotIsTold(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	d := &desk{all: []ops.Handler{
		{Name: "history", Parked: 9, Keys: 4, Failing: 3, Groups: 2, Diverged: 1, Oldest: now.Add(-90 * time.Second),
			Outage: true, Paused: true, PausedBy: ops.ByCap},
		{Name: "balances", Paused: true, PausedBy: "act_1"},
		{Name: "transactions"},
	}}
	m := newMetrics()
	m.registry.MustRegister(newLotMetrics(d, func() time.Time { return now }))
	for series, want := range map[string][3]float64{
		"bankforge_parked_waiting_messages":      {9, 0, 0},
		"bankforge_parked_sequences":             {4, 0, 0},
		"bankforge_parked_failing_sequences":     {3, 0, 0},
		"bankforge_parked_groups":                {2, 0, 0},
		"bankforge_parked_oldest_seconds":        {90, 0, 0},
		"bankforge_diverged_keys":                {1, 0, 0},
		"bankforge_handler_outage":               {1, 0, 0},
		`bankforge_handler_paused by="cap"`:      {1, 0, 0},
		`bankforge_handler_paused by="operator"`: {0, 1, 0},
	} {
		for i, handler := range []string{"history", "balances", "transactions"} {
			name, by, _ := strings.Cut(series, " ")
			if got := figure(t, m, name, by, `handler="`+handler+`"`); got != want[i] {
				t.Errorf("%s of %s is %v, want %v", series, handler, got, want[i])
			}
		}
	}
	if got := figure(t, m, "bankforge_replays_running"); got != 2 {
		t.Errorf("%v replays run", got)
	}
	if got := figure(t, m, "bankforge_parking_lot_readable"); got != 1 {
		t.Errorf("it is readable: %v", got)
	}
	d.err = errors.New("the store is away")
	if got := figure(t, m, "bankforge_parking_lot_readable"); got != 0 {
		t.Errorf("it is readable: %v", got)
	}
}

// figure is the value of the one series with the name and these labels.
func figure(t *testing.T, m *metrics, name string, labels ...string) float64 {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found, value := 0, 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, series := range family.Metric {
			var said []byte
			for _, l := range series.Label {
				said = fmt.Appendf(said, "%s=%q ", l.GetName(), l.GetValue())
			}
			if !slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(string(said), l) }) {
				found, value = found+1, series.Gauge.GetValue()
			}
		}
	}
	if found != 1 {
		t.Errorf("there are %d series %s of %v", found, name, labels)
	}
	return value
}
