package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"bankforge/adapters/snapshots"
	"bankforge/adapters/sqlite"
	"bankforge/adapters/websocket"
	"bankforge/api"
	"bankforge/app"
	"bankforge/app/fault"
	"bankforge/console"
	"bankforge/handlers/history"
	"bankforge/handlers/projection"
	"bankforge/handlers/push"
	"bankforge/ports"
	"bankforge/router"
)

// bankProcess is the bank as one process runs it: what is shared by its modules.
type bankProcess struct {
	conf    *Serve
	log     *slog.Logger
	files   *files
	metrics *metrics
	key     ports.TokenKey
	tokens  *ports.Tokens
	store   *sqlite.Log
	ledger  *app.Ledger
	head    app.Head // as the process took the log over
	app     *app.App
	hub     *websocket.Hub
	tickets *ports.Tickets
	routes  []router.Route
	routing router.Config
	views   *sqlite.Views
	ready   *readiness
}

// newBankProcess opens the stores, takes the log over, and puts everything together. close releases it.
func newBankProcess(ctx context.Context, conf *Serve, dir string, log *slog.Logger) (b *bankProcess, err error) {
	b = &bankProcess{conf: conf, log: log, metrics: newMetrics()}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.files, err = openFiles(ctx, dir); err != nil {
		return b, err
	}
	if b.key, err = ports.LoadTokenKey(b.files.signingKey()); err != nil {
		return b, err
	}
	if b.tokens, err = ports.NewTokens(time.Now, b.key.Public()); err != nil {
		return b, err
	}
	if err = b.startLedger(ctx); err != nil {
		return b, err
	}
	if b.views, err = sqlite.NewViews(ctx, b.files.views); err != nil {
		return b, err
	}
	if err = b.startApp(); err != nil {
		return b, err
	}
	if err = b.startHub(); err != nil {
		return b, err
	}
	b.routeFacts()
	if err = b.checkViews(ctx); err != nil {
		return b, err
	}
	b.watch()
	return b, b.watchFiles(ctx)
}

func (b *bankProcess) startLedger(ctx context.Context) (err error) {
	if b.store, err = b.files.openLog(ctx, b.log); err != nil {
		return err
	}
	kept := snapshots.New(b.files.snapshots(), b.log)
	began := time.Now()
	b.ledger, err = app.StartLedger(ctx, app.LedgerConfig{
		Log: b.store, Lookup: b.store.ForDecider(), Snapshots: kept, Owner: owner(), Metrics: b.metrics, Logger: b.log,
		Clock: fault.Clock(time.Now), QueueSize: b.conf.Queue, QueueWait: b.conf.QueueWait, MaxBatch: b.conf.Batch,
		SnapshotEvery: b.conf.SnapshotEvery,
	})
	if err != nil {
		return err
	}
	if b.head, err = b.store.Head(ctx); err != nil {
		return err
	}
	if err := b.files.belongs(ctx, b.head); err != nil {
		return err
	}
	b.log.Info("ledger is ready", "seq", b.head.Seq, "term", b.head.Term, "incarnation", b.head.Incarnation,
		"took", time.Since(began).Round(time.Millisecond))
	return nil
}

// owner names this process in the head of the log.
func owner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + ":" + strconv.Itoa(os.Getpid())
}

func (b *bankProcess) startApp() (err error) {
	progress := router.NewProgress()
	b.routing.Progress = progress
	b.app, err = app.New(app.Parts{
		Ledger: b.ledger, Log: b.store, Lookup: b.store,
		Balances: b.views, History: b.views, Progress: progress,
		Customers: sqlite.NewCustomers(b.files.state), MasterKey: b.files.masterKey, Publisher: app.LogIsBroker{},
	})
	return err
}

func (b *bankProcess) startHub() (err error) {
	b.tickets = ports.NewTickets(time.Now)
	b.hub, err = websocket.New(websocket.Config{
		Authenticator: ports.LiveTokens{Tickets: b.tickets, Bearer: b.tokens},
		Access:        b.app,
		History:       websocket.NewLogHistory(b.store, app.Decode),
		Log:           b.log, Origins: b.conf.Origins, MaxConnections: b.conf.LiveClients,
	})
	return err
}

// routeFacts says which handlers there are, and what they write to.
func (b *bankProcess) routeFacts() {
	b.routes = router.Routes(router.Reactions{
		Balances: projection.Balances(b.views), Entries: history.Entries(b.views),
		Transactions: history.Transactions(b.views), Push: push.Func(b.hub),
	}, router.Stores{Views: sqlite.NewHandlerStore(b.files.views)})
	policy := router.DefaultPolicy()
	policy.PerKey = b.conf.ParkedPerKey
	b.routing.Source = router.FromLog(b.store.Following())
	b.routing.Hints = router.NewHints()
	b.routing.From = &b.head.Seq
	b.routing.Poll, b.routing.Batch, b.routing.Policy = b.conf.Poll, b.conf.Delivery, policy
	b.routing.Classify = []router.Classifier{sqlite.Classify}
	b.routing.Metrics, b.routing.Log, b.routing.Grace = b.metrics, b.log, reactionGrace
	b.ready = &readiness{ledger: b.ledger, log: b.store, runs: b.conf.runs}
}

// checkViews refuses views that are not of this log, and a log that has lost events which views have seen.
func (b *bankProcess) checkViews(ctx context.Context) error {
	for _, r := range b.routes {
		if r.Kind != router.Kept {
			continue
		}
		at, err := r.Store.Checkpoint(ctx, router.Stream{Handler: r.Name, Topic: r.Topic})
		switch {
		case err != nil:
			return err
		case at.Incarnation != "" && at.Incarnation != b.head.Incarnation:
			return fmt.Errorf("--data: views.db is of another log (%s, not %s); delete it, and it is built anew",
				at.Incarnation, b.head.Incarnation)
		case at.Position.Whole() > b.head.Seq:
			return fmt.Errorf("--data: bank.db has lost its end: it ends at event %d, but view %s has seen %d; "+
				"put the log back from a backup", b.head.Seq, r.Name, at.Position.Whole())
		}
	}
	return nil
}

// reactionGrace is how long what is being handled may take at the end, after --grace.
const reactionGrace = 4 * time.Second

// watch adds the figures that are asked for at each scrape.
func (b *bankProcess) watch() {
	m := b.metrics
	m.watch("bankforge_queue_commands", "Commands that wait for the decider.", nil,
		func() float64 { return float64(b.ledger.Waiting()) })
	m.watch("bankforge_log_seq", "The last event in the log.", nil,
		func() float64 { return float64(b.ledger.Committed()) })
	m.watch("bankforge_live_clients", "Live connections.", nil, func() float64 { return float64(b.hub.Clients()) })
	for _, r := range b.routes {
		if r.Kind != router.Kept || !b.conf.runs(r.Module) {
			continue
		}
		m.watch("bankforge_view_lag_events", "Events that a handler has not taken in yet.",
			prometheus.Labels{"handler": r.Name},
			func() float64 {
				at, head := b.routing.Progress.At(r.Name), b.ledger.Committed()
				return float64(max(head, at) - at)
			})
	}
}

// watchFiles tells how commits are flushed, as SQLite itself says on the connection that writes: sqlite.Open has
// refused files that are not flushed as they must be.
func (b *bankProcess) watchFiles(ctx context.Context) error {
	for name, db := range map[string]*sqlite.DB{"bank": b.files.bank, "state": b.files.state, "views": b.files.views} {
		n, err := db.Synchronous(ctx)
		if err != nil {
			return fmt.Errorf("ask %s.db how it is flushed: %w", name, err)
		}
		b.metrics.watch("bankforge_store_synchronous", "SQLite's synchronous: 2 (FULL) is flushed at each commit.",
			prometheus.Labels{"file": name}, func() float64 { return float64(n) })
	}
	return nil
}

// doors are the ways in.
func (b *bankProcess) doors() (http.Handler, error) {
	conf := ports.Config{
		App: b.app, Auth: b.tokens, Readiness: b.ready, Log: b.log, Observe: b.metrics.observe,
		AsyncAPI: api.AsyncAPI, Epoch: b.head.Incarnation, Runs: b.conf.runs,
		Rate: ports.Rate{PerSecond: b.conf.RateLimit, Burst: b.conf.RateBurst},
	}
	if b.conf.runs("push") {
		conf.Live = &ports.Live{Hub: b.hub, Access: b.app, Tickets: b.tickets}
	}
	if b.conf.runs("console") {
		conf.Page = console.Handler()
	}
	return ports.New(conf)
}

// close releases what newBankProcess took. What serve has ended already stays ended.
func (b *bankProcess) close() error {
	grace, cancel := context.WithTimeout(context.Background(), b.conf.Grace)
	defer cancel()
	var err error
	if b.hub != nil {
		err = errors.Join(err, b.hub.Shutdown(grace))
	}
	if b.ledger != nil {
		err = errors.Join(err, b.ledger.Close(grace))
	}
	if b.files != nil {
		err = errors.Join(err, b.files.Close())
	}
	if err != nil {
		return fmt.Errorf("end: %w", err)
	}
	return nil
}
