package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/cmd/bankforge/stores"
	"bankforge/router"
)

const (
	// A batch touches thousands of pages that are far apart, and nobody waits for it: a busy disk is no fault here.
	generatePatience = 10 * time.Minute

	generators  = 2048                 // commands that are under way at once
	largeFunds  = 1_000_000_000        // minor units that each account starts with
	accountList = "bench-accounts.txt" // written last: the bank is complete when it is there
)

// generator fills a bank by the one write path, as requests would, but without HTTP.
type generator struct {
	ledger   *app.Ledger
	accounts []bank.AccountID
	currency bank.Currency
}

// generateBank adds so many accounts, each with money, and so many events, the rest being transfers among them, to a
// bank that has onto events. Each command has a random key, as clients send them.
func generateBank(ctx context.Context, where *Where, accounts, events, onto int) error {
	if events < 2*accounts {
		return fmt.Errorf("--generate %d: opening and filling %d accounts are %d events", events, accounts, 2*accounts)
	}
	return where.alone(ctx, func(f *stores.Stores) error { return where.generate(ctx, f, accounts, events, onto) })
}

// alone opens the stores of a bank that nobody serves.
func (w *Where) alone(ctx context.Context, do func(*stores.Stores) error) (err error) {
	f, err := w.keeper().Open(ctx, stores.Process{
		Log: slog.New(slog.DiscardHandler), Runs: func(string) bool { return false }, Progress: router.NewProgress(),
		Address: "http://generator", Lease: generatePatience,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return do(f)
}

func (w *Where) generate(ctx context.Context, f *stores.Stores, accounts, events, onto int) (err error) {
	g := &generator{accounts: make([]bank.AccountID, accounts)}
	if g.currency, err = bank.ParseCurrency("EUR"); err != nil {
		return err
	}
	g.ledger, err = app.StartLedger(ctx, app.LedgerConfig{
		Log: f.Log, Lookup: f.Deciding, Snapshots: f.Snapshots,
		Owner: owner(), CommitWithin: generatePatience, ResolveWithin: generatePatience,
	})
	if err != nil {
		return err
	}
	if begun := g.ledger.Committed(); begun != bank.Seq(onto) {
		return errors.Join(fmt.Errorf("--data %s has a bank with %d events, not %d: the suite fills only what it knows; "+
			"remove what an interrupted run has left", w.Data, begun, onto), g.ledger.Close(ctx))
	}
	if err := g.fill(ctx, events); err != nil {
		return errors.Join(err, g.ledger.Close(context.WithoutCancel(ctx)))
	}
	if err := g.ledger.Close(ctx); err != nil {
		return err
	}
	if f.Lease != nil { // who serves the bank next need not wait
		if err := f.Lease.Release(ctx); err != nil {
			return err
		}
	}
	head, err := f.Log.Head(ctx)
	if err != nil {
		return err
	}
	if err := f.Begin(ctx, head); err != nil {
		return err
	}
	return g.list(filepath.Join(w.Data, accountList))
}

// fill opens accounts, then fills them, then moves money.
func (g *generator) fill(ctx context.Context, events int) error {
	n := len(g.accounts)
	for _, step := range []struct {
		count int
		do    func(context.Context, int) error
	}{{n, g.open}, {n, g.deposit}, {events - 2*n, g.transfer}} {
		if err := each(ctx, step.count, step.do); err != nil {
			return fmt.Errorf("generate: %w", err)
		}
	}
	return nil
}

// each calls do for every number, many at once.
func each(ctx context.Context, count int, do func(context.Context, int) error) error {
	work, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range generators {
		work.Go(func() error {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= count {
					return nil
				}
				if err := do(ctx, i); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	return work.Wait()
}

func (g *generator) open(ctx context.Context, i int) error {
	g.accounts[i] = bank.MakeID[bank.Account](g.id())
	return g.execute(ctx, "open_account", bank.OpenAccount{
		ID: g.accounts[i], Opening: bank.Opening{Currency: g.currency, Type: bank.Current}, DailyDebitLimit: bank.NoLimit,
	})
}

func (g *generator) deposit(ctx context.Context, i int) error {
	amount, err := bank.NewAmount(largeFunds, g.currency)
	if err != nil {
		return err
	}
	return g.execute(ctx, "deposit", bank.Deposit{Terms: g.terms(), Account: g.accounts[i], Amount: amount})
}

func (g *generator) transfer(ctx context.Context, _ int) error {
	amount, err := bank.NewAmount(1, g.currency)
	if err != nil {
		return err
	}
	from := mrand.IntN(len(g.accounts))                                //nolint:gosec // which account is no secret
	to := (from + 1 + mrand.IntN(len(g.accounts)-1)) % len(g.accounts) //nolint:gosec // the same
	return g.execute(ctx, "transfer", bank.Transfer{
		Terms: g.terms(), From: g.accounts[from], To: g.accounts[to], Amount: amount,
	})
}

func (g *generator) terms() bank.Terms {
	return bank.Terms{ID: bank.MakeID[bank.Transaction](g.id()), ValueDate: bank.TimeOf(time.Now()).Date()}
}

// id is one that sorts by time, as those of the bank do.
func (*generator) id() (id [16]byte) {
	binary.BigEndian.PutUint64(id[:8], uint64(time.Now().UnixMilli())<<16)
	_, _ = rand.Read(id[6:]) // never fails, it says
	return id
}

func (g *generator) execute(ctx context.Context, name string, c bank.Command) error {
	call := app.Call{Principal: app.Principal{Subject: "generator", Roles: []app.Role{app.RoleTeller}}}
	call.IdempotencyKey, call.CorrelationID = uuid.NewString(), rand.Text()
	call.Key = sha256.Sum256([]byte(call.Principal.Subject + call.IdempotencyKey))
	call.Fingerprint = app.Hash(call.Key)
	_, err := g.ledger.Execute(ctx, app.Ask{Call: call, Name: name, Command: c})
	return err
}

// list writes the ids of all accounts.
func (g *generator) list(path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	for _, id := range g.accounts {
		if _, err := w.WriteString(id.String() + "\n"); err != nil {
			return err
		}
	}
	return w.Flush()
}
