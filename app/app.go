// Package app holds the use cases of the bank, the one write path to its ledger, and the interfaces
// that it drives: the log, the customers, the views. Ports ask it, it answers synchronously.
package app

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"bankforge/app/bank"
)

// App is the bank as ports see it: commands on money and accounts (which the ledger decides), customers, queries.
// It is safe for concurrent use. Every error that a caller should see is a *bank.Error; others are faults.
//
// A command with a key that is known gives the answer that it gave then; so what depends on the present,
// as whether a customer exists or an expiry is near enough, is refused only when the key is unknown.
// With a refusal, the answer's Done is still set: a refusal can be a replay, too.
type App struct {
	parts    Parts
	seals    sealer
	acking   sync.Mutex
	acked    *lru.Cache[string, bank.Seq] // subject → the last event that was acknowledged to it
	patience time.Duration
	back     bank.Seq // how many events from the end of the log Traced looks at
}

// Decider decides commands. It is safe for concurrent use.
type Decider interface {
	// Execute is as Ledger's. Where nobody decides now, it refuses with CodeUnavailable: nothing was done.
	Execute(ctx context.Context, ask Ask) (Answer, error)
}

// Parts is what an App is made of. All are needed, unless they say otherwise.
type Parts struct {
	Decider   Decider // nil: nothing is decided in this process
	Tide      *Tide
	Log       Log
	Lookup    Lookup
	Balances  Balances
	History   History
	Progress  Progress
	Customers CustomerStore
	MasterKey []byte // 32 random bytes that protect the keys of customers; losing them loses all personal data
	Publisher Publisher
	Authors   Authors          // where other processes tell callers, too; nil: this is the only one
	Above     PublishAbove     // which transfers wait for the broker without being asked to; the zero one: none
	Clock     func() time.Time // nil: time.Now
}

// Publisher knows how far the broker has acknowledged the messages of events.
type Publisher interface {
	// AwaitPublished returns once all messages of the events up to seq have been acknowledged, or
	// when ctx ends, and reports whether they have.
	AwaitPublished(ctx context.Context, seq bank.Seq) bool
}

// PublishAbove are amounts above which a transfer is answered as with Call.AckPublished. Currencies that have none wait
// only when they are asked to.
type PublishAbove struct{ amounts map[bank.Currency]int64 }

// NewPublishAbove takes one amount for each currency that has one.
func NewPublishAbove(amounts ...bank.Amount) (PublishAbove, error) {
	p := PublishAbove{map[bank.Currency]int64{}}
	for _, a := range amounts {
		if _, twice := p.amounts[a.Currency()]; twice || a.IsZero() {
			return PublishAbove{}, fmt.Errorf("%s: there is one amount for a currency", a)
		}
		p.amounts[a.Currency()] = a.Minor()
	}
	return p, nil
}

// covers reports whether one of the events is a transfer above its amount.
func (p PublishAbove) covers(events []bank.Event) bool {
	if len(p.amounts) == 0 {
		return false
	}
	for i := range events {
		for _, t := range events[i].Transactions {
			above, ok := p.amounts[t.Amount.Currency()]
			if ok && t.Kind == bank.TransferKind && t.Amount.Minor() > above {
				return true
			}
		}
	}
	return false
}

// LogIsBroker is the Publisher of a bank whose messages are read from the log itself: what is committed is published.
type LogIsBroker struct{}

// AwaitPublished reports true at once.
func (LogIsBroker) AwaitPublished(context.Context, bank.Seq) bool { return true }

const (
	rememberedReaders = 1 << 16         // subjects whose last write is remembered
	publishPatience   = 5 * time.Second // how long Call.AckPublished waits
)

// New puts the parts together.
func New(p Parts) (*App, error) {
	if p.Clock == nil {
		p.Clock = time.Now
	}
	if p.Decider == nil {
		p.Decider = nobody{}
	}
	seals, err := newSealer(p.MasterKey)
	if err != nil {
		return nil, err
	}
	acked, err := lru.New[string, bank.Seq](rememberedReaders)
	if err != nil {
		return nil, fmt.Errorf("remember readers: %w", err)
	}
	return &App{parts: p, seals: seals, acked: acked, patience: readPatience, back: tracedBack}, nil
}

// execute sends a command to the ledger, and remembers for the caller's reads what it has been told.
func (a *App) execute(ctx context.Context, ask Ask) (Answer, error) {
	if ask.Refusal == nil {
		ask.Refusal = ask.Call.Refusal
	}
	got, err := a.parts.Decider.Execute(ctx, ask)
	if err == nil && !ask.Call.DryRun {
		a.acknowledge(ask.Call.Principal.Subject, got.Seq)
	}
	if ask.Call.AckPublished || a.parts.Above.covers(got.Events) {
		a.awaitPublished(ctx, &ask, &got, err)
	}
	return got, err
}

// awaitPublished waits for what the command has made. Where that is nothing, there is nothing to wait for.
func (a *App) awaitPublished(ctx context.Context, ask *Ask, got *Answer, err error) {
	if err != nil {
		got.Published = decided(refusal(err).Code)
		return
	}
	if ask.Call.DryRun || len(got.Events) == 0 {
		got.Published = true
		return
	}
	start := time.Now()
	wait, cancel := context.WithTimeout(ctx, publishPatience)
	defer cancel()
	got.Published = a.parts.Publisher.AwaitPublished(wait, got.Seq)
	got.Timing.Publish = time.Since(start)
}

// decided reports whether a refusal is an answer to the command; else it was not decided, or nobody knows.
func decided(c bank.Code) bool {
	return c != CodeUnavailable && c != CodeOverloaded && c != CodeOutcomeUnknown
}

// nobody is the Decider of a process that decides nothing.
type nobody struct{}

var errDecidesNothing = errors.New("this process decides nothing")

func (nobody) Execute(context.Context, Ask) (Answer, error) {
	return Answer{}, unavailable(errDecidesNothing)
}

// Acknowledge remembers that another process has told the subject of everything up to seq, so that its reads here
// wait for that.
func (a *App) Acknowledge(subject string, seq bank.Seq) { a.acknowledge(subject, seq) }

// acknowledge never lets the memory of a subject go back: answers may overtake one another.
func (a *App) acknowledge(subject string, seq bank.Seq) {
	a.acking.Lock()
	defer a.acking.Unlock()
	if last, ok := a.acked.Peek(subject); !ok || last < seq {
		a.acked.Add(subject, seq)
	}
}

func (a *App) now() bank.Time { return bank.TimeOf(a.parts.Clock()) }

// newID makes the bytes of an id: 48 bits of milliseconds, so that ids sort by time, and 80 random bits.
func (a *App) newID() (id [16]byte) {
	binary.BigEndian.PutUint64(id[:8], uint64(a.parts.Clock().UnixMilli())<<16)
	_, _ = rand.Read(id[6:]) // never fails, it says
	return id
}

// terms completes what every movement of money carries.
func (a *App) terms(c Call, t bank.Terms) bank.Terms {
	t.ID = bank.MakeID[bank.Transaction](a.newID())
	t.CorrelationID = c.CorrelationID
	if t.ValueDate == 0 {
		t.ValueDate = a.now().Date()
	}
	return t
}

// Has reports whether the principal has one of the roles.
func (p Principal) Has(roles ...Role) bool {
	for _, have := range p.Roles {
		if slices.Contains(roles, have) {
			return true
		}
	}
	return false
}

// by is who a command on money is done for: nobody in particular for staff, else the caller's own customer.
func (p Principal) by() (bank.CustomerID, error) { return p.within(RoleTeller, RoleService) }

// within is zero for those who see everything because of one of the roles, else the customer that the caller is.
func (p Principal) within(roles ...Role) (bank.CustomerID, error) {
	if p.Has(roles...) {
		return bank.CustomerID{}, nil
	}
	if p.Has(RoleCustomer) && !p.Customer.IsZero() {
		return p.Customer, nil
	}
	return bank.CustomerID{}, bank.Refuse(CodeForbidden, "", "This is not allowed to you.")
}

// scope is within for reading.
func (p Principal) scope() (bank.CustomerID, error) {
	return p.within(RoleTeller, RoleService, RoleFraud, RoleAuditor)
}

// MayRead reports whether the principal may read what belongs to the customer (zero: to nobody).
func (p Principal) MayRead(owner bank.CustomerID) bool {
	mine, err := p.scope()
	return err == nil && (mine.IsZero() || mine == owner)
}

// refusal is err as the refusal that it is, or else a fault of the bank.
func refusal(err error) *bank.Error {
	if e, ok := errors.AsType[*bank.Error](err); ok {
		return e
	}
	return &bank.Error{Code: CodeUnavailable, Detail: "The bank cannot do this now.", Item: -1, Cause: err}
}
