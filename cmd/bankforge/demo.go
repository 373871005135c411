package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/handlers"
)

const (
	demoSubject = "demo"
	demoPace    = 700 * time.Millisecond // between two transactions
	demoFunds   = 5_000_00               // minor units that each account starts with
)

// demo fills a bank that has no demo accounts yet, and then keeps a trickle of transactions going; both only while this
// process decides, so that of many processes one does.
type demo struct {
	bank     *app.App
	log      *slog.Logger
	decides  func() bool
	fails    bool // there are accounts whose history fails
	filled   bool
	accounts []bank.AccountID
	seq      int
}

var demoCustomers = []struct {
	details  app.CustomerDetails
	accounts []string // currency:type:label
}{
	{app.CustomerDetails{Name: "Ada Lovelace", Email: "ada@example.com", Locale: "en-GB", ExternalID: "demo-ada"},
		[]string{"EUR:current:Household", "EUR:savings:Holidays"}},
	{app.CustomerDetails{Name: "Emmy Noether", Email: "emmy@example.com", Locale: "de-DE", ExternalID: "demo-emmy"},
		[]string{"EUR:current:Everyday", "EUR:savings:Bicycle"}},
	{app.CustomerDetails{Name: "Katherine Johnson", Email: "kat@example.com", Locale: "en-US", ExternalID: "demo-kat"},
		[]string{"EUR:current:Shop", "USD:current:Travel"}},
	{app.CustomerDetails{Name: "Hedwig Bleuler", Phone: "+41 44 000 00 00", Locale: "de-CH", ExternalID: "demo-hedwig"},
		[]string{"EUR:current:Rent", "EUR:savings:Emergency"}},
}

// run returns when ctx ends.
func (d *demo) run(ctx context.Context) error {
	tick := time.NewTicker(demoPace)
	defer tick.Stop()
	for {
		if err := d.step(ctx); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// step fills the bank the first time that this process decides, and moves money from then on.
func (d *demo) step(ctx context.Context) error {
	switch {
	case !d.decides():
		return nil
	case d.filled:
		d.move(ctx)
		return nil
	}
	err := d.fill(ctx)
	var refused *bank.Error
	if errors.As(err, &refused) && notDecided[refused.Code] || ctx.Err() != nil {
		return nil //nolint:nilerr // another process owns the ledger by now, or the next step asks again
	}
	d.filled = err == nil
	return err
}

// notDecided are the refusals that say nothing about the command.
var notDecided = map[bank.Code]bool{app.CodeUnavailable: true, app.CodeOutcomeUnknown: true, app.CodeOverloaded: true}

// fill asks for everything under fixed keys, so that a second start finds what the first has made, and what was
// repaired since stays so.
func (d *demo) fill(ctx context.Context) error {
	d.accounts = nil
	if d.fails {
		if err := d.breakHistory(ctx); err != nil {
			return err
		}
	}
	for i, c := range demoCustomers {
		customer, err := d.customer(ctx, c.details)
		if err != nil {
			return err
		}
		for j, spec := range c.accounts {
			if err := d.open(ctx, customer, fmt.Sprintf("demo-%d-%d", i+1, j+1), spec); err != nil {
				return err
			}
		}
	}
	if d.fails {
		return d.openFailing(ctx)
	}
	return nil
}

func (d *demo) breakHistory(ctx context.Context) error {
	body, err := ops.Canonical(ops.DemoBody{Enabled: true})
	if err != nil {
		return err
	}
	_, err = d.bank.Act(ctx, d.call("break history"),
		bank.Act{Kind: bank.DemoFailuresSet, Body: body, Reason: "--demo-failures"})
	return err
}

const (
	demoFailing = 3   // accounts at least whose history fails
	demoTenths  = 200 // accounts that are opened at most to get them
)

// openFailing opens accounts until some have a history that fails. Of the others no more is heard.
func (d *demo) openFailing(ctx context.Context) error {
	customer, err := d.customer(ctx, app.CustomerDetails{
		Name: "Grace Hopper", Email: "grace@example.com", Locale: "en-US", ExternalID: "demo-grace",
	})
	if err != nil {
		return err
	}
	failing := 0
	for _, id := range d.accounts {
		if everyTenth(id) {
			failing++
		}
	}
	for i := 1; failing < demoFailing && i <= demoTenths; i++ {
		number := strconv.Itoa(i)
		if err := d.open(ctx, customer, "demo-tenth-"+number, "EUR:current:Desk "+number); err != nil {
			return err
		}
		last := len(d.accounts) - 1
		if everyTenth(d.accounts[last]) {
			failing++
		} else {
			d.accounts = d.accounts[:last]
		}
	}
	return nil
}

// everyTenth is true for about one account in ten, and always for the same ones.
func everyTenth(id bank.AccountID) bool {
	sum := sha256.Sum256([]byte(id.String()))
	return !bank.IsInternal(id) && binary.BigEndian.Uint32(sum[:])%10 == 0
}

// failing has a handler fail for every tenth account while broken says so. It is asked within the handler's
// transaction, so that whoever tries again after the repair does not meet the failure once more.
func failing(next handlers.Func, broken func(context.Context) (bool, error)) handlers.Func {
	if next == nil {
		return nil
	}
	return func(ctx context.Context, facts []handlers.Fact) error {
		at := slices.IndexFunc(facts, func(f handlers.Fact) bool { return f.Leg != nil && everyTenth(f.Leg.Account) })
		if at < 0 {
			return next(ctx, facts)
		}
		switch fails, err := broken(ctx); {
		case err != nil:
			return err
		case fails:
			return fmt.Errorf("the view cannot take account %s: the column booked_on is null (--demo-failures)",
				facts[at].Leg.Account)
		}
		return next(ctx, facts)
	}
}

func (d *demo) customer(ctx context.Context, details app.CustomerDetails) (bank.CustomerID, error) {
	found, err := d.bank.Customers(ctx, d.principal(),
		app.CustomerFilter{Page: app.Page{Limit: 1}, ExternalID: details.ExternalID})
	if err != nil {
		return bank.CustomerID{}, err
	}
	if len(found) > 0 {
		return found[0].ID, nil
	}
	made, err := d.bank.CreateCustomer(ctx, d.call("customer "+details.ExternalID), details)
	return made.Customer.ID, err
}

func (d *demo) open(ctx context.Context, customer bank.CustomerID, name, spec string) error {
	currency, err := bank.ParseCurrency(spec[:3])
	if err != nil {
		return err
	}
	kind, label := bank.Current, spec[len("EUR:current:"):]
	if spec[4:7] == "sav" {
		kind = bank.Savings
	}
	opened, err := d.bank.OpenAccount(ctx, d.call("open "+name), bank.OpenAccount{
		Opening:         bank.Opening{Customer: customer, Currency: currency, Type: kind},
		Details:         bank.Details{Label: label, ExternalID: name},
		DailyDebitLimit: bank.NoLimit,
	})
	if err != nil {
		return err
	}
	amount, err := bank.NewAmount(demoFunds, currency)
	if err != nil {
		return err
	}
	_, err = d.bank.Deposit(ctx, d.call("fund "+name), bank.Deposit{
		Terms: bank.Terms{Reference: "opening deposit"}, Account: opened.Account.ID, Amount: amount,
	})
	if currency.String() == "EUR" {
		d.accounts = append(d.accounts, opened.Account.ID)
	}
	return err
}

// move makes one transfer; a refusal (no funds left, frozen by hand) is part of the show.
func (d *demo) move(ctx context.Context) {
	from, to := rand.IntN(len(d.accounts)), rand.IntN(len(d.accounts)-1) //nolint:gosec // a show, not a secret
	if to >= from {
		to++
	}
	eur, err := bank.ParseCurrency("EUR")
	if err != nil {
		return
	}
	amount, err := bank.NewAmount(1+rand.Int64N(50_00), eur) //nolint:gosec // likewise
	if err != nil {
		return
	}
	d.seq++
	key := "transfer " + strconv.FormatInt(time.Now().UnixNano(), 36) + " " + strconv.Itoa(d.seq)
	_, err = d.bank.Transfer(ctx, d.call(key), bank.Transfer{
		Terms: bank.Terms{Reference: "demo " + strconv.Itoa(d.seq)},
		From:  d.accounts[from], To: d.accounts[to], Amount: amount,
	})
	var refused *bank.Error
	if err != nil && !errors.As(err, &refused) && ctx.Err() == nil {
		d.log.Warn("demo transfer failed", "error", err)
	}
}

func (*demo) principal() app.Principal {
	return app.Principal{Subject: demoSubject, Roles: []app.Role{app.RoleTeller}}
}

func (d *demo) call(key string) app.Call {
	name := sha256.Sum256([]byte(demoSubject + "\n" + key))
	return app.Call{
		Principal: d.principal(), Key: name, IdempotencyKey: key, Fingerprint: sha256.Sum256([]byte(key)),
		CorrelationID: "demo-" + hex.EncodeToString(name[:8]), // so that a trace shows this command alone
	}
}
