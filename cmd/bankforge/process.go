package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"bankforge/adapters/websocket"
	"bankforge/api"
	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/fault"
	"bankforge/app/succession"
	"bankforge/cmd/bankforge/stores"
	"bankforge/console"
	"bankforge/handlers/push"
	"bankforge/ports"
	"bankforge/ports/forward"
	"bankforge/router"
	"bankforge/router/repair"
)

// bankProcess is the bank as one process runs it: what is shared by its modules.
type bankProcess struct {
	conf      *Serve
	log       *slog.Logger
	stores    *stores.Stores
	metrics   *metrics
	tokens    *ports.Tokens
	tide      *app.Tide
	decider   decider                // nil: nothing is decided here, nor forwarded
	owners    *succession.Succession // nil: no other process could own the ledger
	head      app.Head               // as the process found the log, or took it over
	app       *app.App
	hub       *websocket.Hub
	tickets   *ports.Tickets
	routes    []router.Route
	routing   router.Config
	published *router.Published // nil: what is committed is published
	ready     *readiness
	forward   *forward.Forward // nil: there is nobody to forward to
}

// decider is a ledger, or a succession of owners of one.
type decider interface {
	app.Decider
	Ready() error
	Waiting() int
	Close(ctx context.Context) error
}

// newBankProcess opens the stores, takes the log over or stands by, and puts everything together. close releases it.
func newBankProcess(ctx context.Context, conf *Serve, where *Where, log *slog.Logger) (b *bankProcess, err error) {
	b = &bankProcess{conf: conf, log: log, metrics: newMetrics(), tide: app.NewTide()}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	b.routing.Progress = router.NewProgress()
	self := stores.Process{
		Address: conf.Advertise, Lease: conf.Lease, Log: log, Runs: conf.runs,
		Progress: b.routing.Progress, FellBack: b.metrics.fellBack,
	}
	if b.stores, err = where.keeper().Open(ctx, self); err != nil {
		return b, err
	}
	if b.tokens, err = ports.NewTokens(time.Now, b.stores.TokenKey.Public()); err != nil {
		return b, err
	}
	if err = b.startLedger(ctx); err != nil {
		return b, err
	}
	if err = b.startApp(); err != nil {
		return b, err
	}
	if err = b.startHub(); err != nil {
		return b, err
	}
	b.routeFacts()
	if b.routes, err = disturbed(ctx, b.routes, b.stores.Writes.Operations); err != nil {
		return b, err
	}
	if err = b.checkViews(ctx); err != nil {
		return b, err
	}
	if err = b.introduce(ctx); err != nil {
		return b, err
	}
	b.watch()
	return b, nil
}

// startLedger makes this process one that decides, or stands by, or forwards; or none of these.
func (b *bankProcess) startLedger(ctx context.Context) (err error) {
	began := time.Now()
	decides := b.conf.decides()
	conf := app.LedgerConfig{
		Log: b.stores.Log, Lookup: b.stores.Deciding, Snapshots: b.stores.Snapshots, Tide: b.tide, Owner: owner(),
		Metrics: b.metrics, Logger: b.log, Clock: fault.Clock(time.Now), QueueSize: b.conf.Queue,
		QueueWait: b.conf.QueueWait, MaxBatch: b.conf.Batch, SnapshotEvery: b.conf.SnapshotEvery,
	}
	if b.stores.Lease != nil {
		err = b.succeed(ctx, conf)
	} else if decides {
		err = b.decideAlone(ctx, conf)
	}
	if err != nil {
		return err
	}
	if err := b.findLog(ctx); err != nil {
		return err
	}
	b.tide.Begin(b.head.Seq)
	if err := b.stores.Begin(ctx, b.head); err != nil {
		return err
	}
	b.log.Info("the log is open", "seq", b.head.Seq, "term", b.head.Term, "incarnation", b.head.Incarnation,
		"decides", decides, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// succeed makes this process one of many that share the ledger.
func (b *bankProcess) succeed(ctx context.Context, conf app.LedgerConfig) error {
	conf.Owner += "/" + strings.ToLower(rand.Text()[:8]) // the name and number of a container are the same at each start
	s, err := succession.Start(ctx, succession.Config{
		Lease: b.stores.Lease, Ledger: conf, Address: b.conf.Advertise, Watches: !b.conf.decides(),
		Term: b.conf.Lease, Logger: b.log,
	})
	if err == nil {
		b.decider, b.owners = s, s
	}
	return err
}

func (b *bankProcess) decideAlone(ctx context.Context, conf app.LedgerConfig) error {
	l, err := app.StartLedger(ctx, conf)
	if err == nil {
		b.decider = l
	}
	return err
}

// firstOwner is how long a process waits for the first one that makes the ledger.
const firstOwner = 30 * time.Second

// findLog finds out which log this is. Where processes share it, the first owner may only be about to make it.
func (b *bankProcess) findLog(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, firstOwner)
	defer cancel()
	again := time.NewTicker(b.conf.Watch)
	defer again.Stop()
	for {
		if b.head, err = b.stores.Log.Head(ctx); err != nil || b.head.Incarnation != "" {
			return err
		}
		none := fmt.Errorf("%s: there is no ledger in %s yet; a process with a command module makes it",
			b.stores.Names.Where, b.stores.Names.Log)
		if b.owners == nil {
			return none
		}
		select {
		case <-ctx.Done():
			return none
		case <-again.C:
		}
	}
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
	parts := app.Parts{
		Decider: b.decider, Tide: b.tide, Log: b.stores.Log, Lookup: b.stores.Lookup,
		Balances: b.stores.Balances, History: b.stores.History, Progress: b.stores.Progress,
		Customers: b.stores.Customers, MasterKey: b.stores.MasterKey, Publisher: app.LogIsBroker{}, Above: b.conf.above,
	}
	b.routing.Source = router.FromLog(b.stores.Following)
	if b.owners != nil {
		parts.Authors = authors{b.routing.Source}
	}
	if broker := b.stores.Broker; broker != nil {
		b.published = router.NewPublished(router.PublishedConfig{Cursors: broker.Cursors, Log: b.log})
		b.routing.Broker = &router.Broker{
			Subscribe: broker.Subscribe, Partitions: broker.Partitions, Published: b.published,
		}
		parts.Publisher = b.published
	} else if b.stores.Follow != nil {
		b.routing.Broker = &router.Broker{Follow: b.stores.Follow}
	}
	b.app, err = app.New(parts)
	return err
}

// logAndLookup is both ways into the log.
type logAndLookup struct {
	app.Log
	app.Lookup
}

func (b *bankProcess) startHub() (err error) {
	b.tickets = ports.NewTickets(time.Now)
	b.hub, err = websocket.New(websocket.Config{
		Authenticator: ports.LiveTokens{Tickets: b.tickets, Bearer: b.tokens},
		Access:        b.app,
		History:       websocket.NewLogHistory(logAndLookup{b.stores.Log, b.stores.Lookup}, app.Decode),
		Log:           b.log, Origins: b.conf.Origins, MaxConnections: b.conf.LiveClients,
	})
	return err
}

// routeFacts says which handlers there are, and what they write to.
func (b *bankProcess) routeFacts() {
	reactions := b.stores.Writes.Reactions
	reactions.Push = push.Func(b.hub)
	reactions.Operations = repair.Executor(b.stores.Writes.Operations)
	if b.conf.DemoFailures {
		broken := b.stores.Writes.Operations.Demo
		reactions.Entries = failing(reactions.Entries, broken)
		reactions.MongoEntries = failing(reactions.MongoEntries, broken)
	}
	b.routing.Controls, b.routing.Process = b.stores.Writes.Operations, owner()
	b.routing.Versions = b.stores.Lookup
	b.routes = router.Routes(reactions, b.stores.Writes.Stores)
	policy := router.DefaultPolicy()
	policy.PerKey = b.conf.ParkedPerKey
	b.routing.Hints = router.NewHints()
	b.routing.From = &b.head.Seq
	b.routing.Poll, b.routing.Batch, b.routing.Policy = b.conf.Poll, b.conf.Delivery, policy
	b.routing.Classify = b.stores.Classify
	b.routing.Metrics, b.routing.Log, b.routing.Grace = b.metrics, b.log, reactionGrace
	b.ready = &readiness{
		published: b.published, tide: b.tide, decider: b.decider, owners: b.owners, log: b.stores.Ready, runs: b.conf.runs,
	}
}

// checkViews refuses views that are not of this log, and a log that has lost events which views have seen.
func (b *bankProcess) checkViews(ctx context.Context) error {
	names := b.stores.Names
	for _, r := range b.routes {
		if r.Kind != router.Kept || !b.conf.runs(r.Module) {
			continue
		}
		at, err := r.Store.Checkpoint(ctx, router.Stream{Handler: r.Name, Topic: r.Topic})
		switch {
		case err != nil:
			return err
		case r.Name == router.OperationsHandler && at.Incarnation != b.head.Incarnation:
			continue // it begins anew
		case at.Incarnation != "" && at.Incarnation != b.head.Incarnation:
			return fmt.Errorf("%s: %s is of another log (%s, not %s); %s",
				names.Where, names.Views, at.Incarnation, b.head.Incarnation, names.Anew)
		}
		if at.Position.Whole() <= b.head.Seq {
			continue
		}
		// Other processes append and write views meanwhile: what a view has seen by now, the log has by now.
		head, err := b.stores.Log.Head(ctx)
		if err != nil {
			return err
		}
		if at.Position.Whole() > head.Seq {
			return fmt.Errorf("%s: %s has lost its end: it ends at event %d, but view %s has seen %d; "+
				"put the log back from a backup", names.Where, names.Log, head.Seq, r.Name, at.Position.Whole())
		}
	}
	return nil
}

// introduce tells the parking lot which handlers run here, before any does: where views are built anew, operators' acts
// come from the log once more, and one about a handler that nobody has heard of would be refused.
func (b *bankProcess) introduce(ctx context.Context) error {
	var all []router.Report
	for _, r := range b.routes {
		if r.Kind == router.Kept && b.conf.runs(r.Module) {
			all = append(all, router.Report{HandlerStatus: router.HandlerStatus{
				Handler: r.Name, Topic: r.Topic, State: router.Stopped,
			}})
		}
	}
	return b.stores.Writes.Operations.Report(ctx, owner(), all, time.Now())
}

// reactionGrace is how long what is being handled may take at the end, after --grace.
const reactionGrace = 4 * time.Second

// doors are the ways in.
func (b *bankProcess) doors() (http.Handler, error) {
	conf := ports.Config{
		App: b.app, Auth: b.tokens, Readiness: b.ready, Log: b.log, Observe: b.metrics.observe,
		AsyncAPI: api.AsyncAPI, Epoch: b.head.Incarnation, Runs: b.conf.runs,
		Rate: ports.Rate{PerSecond: b.conf.RateLimit, Burst: b.conf.RateBurst},
		Ops: &ports.Operations{
			Lot: b.stores.Writes.Operations, Check: router.Readable, Partition: b.partition, Demo: b.conf.DemoFailures,
		},
	}
	if b.owners != nil {
		b.forward = forward.New(b.owners, b.conf.roots)
		conf.Forward = b.forward
	}
	if b.conf.runs("push") {
		conf.Live = &ports.Live{Hub: b.hub, Access: b.app, Tickets: b.tickets}
	}
	if b.conf.runs("console") {
		conf.Page = console.Handler()
	}
	return ports.New(conf)
}

// partition is where a topic has a key. Operators' acts are followed in the log itself, whatever the broker.
func (b *bankProcess) partition(topic bank.Topic, key string) int {
	if b.stores.Broker == nil || topic == bank.OpsTopic {
		return 0
	}
	return router.PartitionOf(key, b.stores.Broker.Partitions[topic])
}

// close releases what newBankProcess took. What serve has ended already stays ended.
func (b *bankProcess) close() error {
	grace, cancel := context.WithTimeout(context.Background(), b.conf.Grace)
	defer cancel()
	var err error
	if b.hub != nil {
		err = errors.Join(err, b.hub.Shutdown(grace))
	}
	if b.forward != nil {
		b.forward.Close()
	}
	if b.decider != nil {
		err = errors.Join(err, b.decider.Close(grace))
	}
	if b.stores != nil {
		err = errors.Join(err, b.stores.Close())
	}
	if err != nil {
		return fmt.Errorf("end: %w", err)
	}
	return nil
}
