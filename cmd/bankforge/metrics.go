package main

import (
	"context"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/cmd/bankforge/stores"
	"bankforge/handlers"
	"bankforge/ports"
	"bankforge/router"
)

// metrics counts for Prometheus what the ledger and the handlers do.
type metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.HistogramVec
	commands  *prometheus.CounterVec
	batches   prometheus.Histogram
	events    prometheus.Counter
	commits   prometheus.Histogram
	facts     *prometheus.CounterVec
	delivered *prometheus.HistogramVec
	failed    *prometheus.CounterVec
	parked    *prometheus.CounterVec
	replayed  *prometheus.CounterVec
	states    *prometheus.GaugeVec
	fallbacks *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "bankforge_http_seconds", Help: "Time of HTTP requests, by route and status.",
			Buckets: prometheus.ExponentialBuckets(100e-6, 2, 17),
		}, []string{"method", "route", "status"}),
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bankforge_commands_total", Help: "Commands answered, by name and code of refusal; empty: accepted.",
		}, []string{"command", "code"}),
		batches: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "bankforge_batch_commands", Help: "Commands that were committed together.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 12),
		}),
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bankforge_events_total", Help: "Events appended to the log.",
		}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "bankforge_commit_seconds", Help: "Time of one append to the log, until it was durable.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 2, 18),
		}),
		facts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bankforge_handler_facts_total", Help: "Facts that handlers took in.",
		}, []string{"handler"}),
		delivered: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "bankforge_handler_delivery_seconds", Help: "Time of one delivery, all its tries included.",
			Buckets: prometheus.ExponentialBuckets(100e-6, 2, 18),
		}, []string{"handler", "ok"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bankforge_handler_failed_tries_total", Help: "Tries of handlers that failed, by class of the error.",
		}, []string{"handler", "class"}),
		parked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bankforge_parked_messages_total",
			Help: "Messages parked (they failed) or blocked (they wait behind one).",
		}, []string{"handler", "status"}),
		replayed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bankforge_replayed_messages_total", Help: "Parked messages that were tried again, by success.",
		}, []string{"handler", "ok"}),
		states: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "bankforge_handler_state", Help: "1 for the state that the handler is in.",
		}, []string{"handler", "state"}),
		fallbacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bankforge_view_fallbacks_total", Help: "Reads that the store answered, by where they were asked first.",
		}, []string{"view", "reason"}),
	}
	m.registry.MustRegister(m.requests, m.commands, m.batches, m.events, m.commits,
		m.facts, m.delivered, m.failed, m.parked, m.replayed, m.states, m.fallbacks,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// watch adds what is asked for at each scrape.
func (m *metrics) watch(name, help string, labels prometheus.Labels, value func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: name, Help: help, ConstLabels: labels,
	}, value))
}

// watch adds the figures that are asked for at each scrape.
func (b *bankProcess) watch() {
	m := b.metrics
	if b.decider != nil {
		m.watch("bankforge_queue_commands", "Commands that wait for the decider.", nil,
			func() float64 { return float64(b.decider.Waiting()) })
	}
	if b.owners != nil {
		m.watch("bankforge_ledger_owner", "1 where the ledger is decided upon, 0 where it is not.", nil, func() float64 {
			if _, here, _ := b.owners.Owner(); here {
				return 1
			}
			return 0
		})
	}
	m.watch("bankforge_log_seq", "The last event in the log.", nil,
		func() float64 { return float64(b.tide.Committed()) })
	m.watch("bankforge_live_clients", "Live connections.", nil, func() float64 { return float64(b.hub.Clients()) })
	if b.conf.runs("monitoring") {
		m.registry.MustRegister(newLotMetrics(b.stores.Writes.Operations, time.Now))
	}
	for _, g := range b.stores.Gauges {
		m.watch(g.Name, g.Help, g.Labels, g.Value)
	}
	for _, r := range b.routes {
		if r.Kind != router.Kept || !b.conf.runs(r.Module) {
			continue
		}
		m.watch("bankforge_view_lag_events", "Events that a handler has not taken in yet.",
			prometheus.Labels{"handler": r.Name},
			func() float64 {
				at, head := b.routing.Progress.At(r.Name), b.tide.Committed()
				return float64(max(head, at) - at)
			})
	}
}

// lotWithin bounds how long a scrape asks the parking lot.
const lotWithin = 2 * time.Second

// lotMetrics tell at each scrape what waits in the parking lot. It is one for all processes of a bank, and those with
// the module monitoring tell of it.
type lotMetrics struct {
	lot      stores.Operations
	now      func() time.Time
	readable *prometheus.Desc
	replays  *prometheus.Desc
	paused   *prometheus.Desc
	each     []lotMetric
}

// lotMetric is one figure of each handler.
type lotMetric struct {
	desc  *prometheus.Desc
	value func(h *ops.Handler) float64
}

func newLotMetrics(lot stores.Operations, now func() time.Time) *lotMetrics {
	m := &lotMetrics{
		lot: lot, now: now,
		readable: prometheus.NewDesc("bankforge_parking_lot_readable",
			"0 where the parking lot could not be asked: then nothing else is told of it.", nil, nil),
		replays: prometheus.NewDesc("bankforge_replays_running", "Replays that run.", nil, nil),
		paused: prometheus.NewDesc("bankforge_handler_paused",
			"1 where the handler is paused, by an operator or by a cap that it is over.", []string{"handler", "by"}, nil),
	}
	add := func(name, help string, value func(h *ops.Handler) float64) {
		m.each = append(m.each, lotMetric{prometheus.NewDesc(name, help, []string{"handler"}, nil), value})
	}
	add("bankforge_parked_waiting_messages", "Messages that are parked and wait.",
		func(h *ops.Handler) float64 { return float64(h.Parked) })
	add("bankforge_parked_sequences", "Keys that have messages that wait.",
		func(h *ops.Handler) float64 { return float64(h.Keys) })
	add("bankforge_parked_failing_sequences", "Keys whose first message that waits has failed.",
		func(h *ops.Handler) float64 { return float64(h.Failing) })
	add("bankforge_parked_groups", "Reasons why they have failed.",
		func(h *ops.Handler) float64 { return float64(h.Groups) })
	add("bankforge_parked_oldest_seconds", "How long the oldest has waited; 0: none waits.", m.oldest)
	add("bankforge_diverged_keys", "Keys whose view lacks what was discarded, until they are rebuilt.",
		func(h *ops.Handler) float64 { return float64(h.Diverged) })
	add("bankforge_handler_outage", "1 where a process holds the handler because something that it needs is down.",
		func(h *ops.Handler) float64 { return one(h.Outage) })
	return m
}

// Describe implements prometheus.Collector.
func (m *lotMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{m.readable, m.replays, m.paused} {
		to <- desc
	}
	for _, e := range m.each {
		to <- e.desc
	}
}

// Collect implements prometheus.Collector.
func (m *lotMetrics) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), lotWithin)
	defer cancel()
	tell := func(desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	all, err := m.lot.Handlers(ctx)
	running, again := m.lot.Running(ctx)
	if err != nil || again != nil {
		tell(m.readable, 0)
		return
	}
	tell(m.readable, 1)
	tell(m.replays, float64(len(running)))
	for i := range all {
		h := &all[i]
		byCap := h.Paused && h.PausedBy == ops.ByCap
		tell(m.paused, one(byCap), h.Name, "cap")
		tell(m.paused, one(h.Paused && !byCap), h.Name, "operator")
		for _, e := range m.each {
			tell(e.desc, e.value(h), h.Name)
		}
	}
}

func (m *lotMetrics) oldest(h *ops.Handler) float64 {
	if h.Oldest.IsZero() {
		return 0
	}
	return max(0, m.now().Sub(h.Oldest).Seconds())
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// fellBack counts a read that was not answered where views are fast.
func (m *metrics) fellBack(view, reason string) { m.fallbacks.WithLabelValues(view, reason).Inc() }

// observe counts one request.
func (m *metrics) observe(o ports.Observation) {
	m.requests.WithLabelValues(o.Method, o.Route, strconv.Itoa(o.Status)).Observe(o.Took.Seconds())
}

// Committed implements app.Metrics.
func (m *metrics) Committed(commands, events int, took time.Duration) {
	m.batches.Observe(float64(commands))
	m.events.Add(float64(events))
	m.commits.Observe(took.Seconds())
}

// Answered implements app.Metrics.
func (m *metrics) Answered(command string, code bank.Code) {
	m.commands.WithLabelValues(command, string(code)).Inc()
}

// Delivered implements router.Metrics.
func (m *metrics) Delivered(handler string, facts int, took time.Duration, ok bool) {
	m.facts.WithLabelValues(handler).Add(float64(facts))
	outcome := "true"
	if !ok {
		outcome = "false"
	}
	m.delivered.WithLabelValues(handler, outcome).Observe(took.Seconds())
}

// Tried implements router.Metrics.
func (m *metrics) Tried(handler string, class handlers.Class, _ time.Duration) {
	m.failed.WithLabelValues(handler, class.String()).Inc()
}

// Parked implements router.Metrics.
func (m *metrics) Parked(handler string, as router.Status) {
	m.parked.WithLabelValues(handler, string(as)).Inc()
}

// Replayed implements repair.Metrics.
func (m *metrics) Replayed(handler string, ok bool) {
	m.replayed.WithLabelValues(handler, strconv.FormatBool(ok)).Inc()
}

// Became implements router.Metrics.
func (m *metrics) Became(handler string, state router.State) {
	for _, s := range []router.State{router.Stopped, router.Running, router.Paused, router.Held} {
		value := 0.0
		if s == state {
			value = 1
		}
		m.states.WithLabelValues(handler, string(s)).Set(value)
	}
}

// handler serves /metrics and /debug/pprof. It is for operators: it asks nobody who they are.
func (m *metrics) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
