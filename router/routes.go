package router

import (
	"context"
	"slices"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/handlers"
)

// Route says which facts a handler gets, and where its checkpoint and its parked messages stand.
type Route struct {
	Module  string // which module runs it; each has a Router of its own, so that none holds up another
	Name    string // the consumer group: permanent
	Topic   bank.Topic
	Handler handlers.Func
	Store   Store // of the file that the handler writes to
	Kind    Kind
	Outside Marks // of a handler that writes elsewhere than in Store: nil, if it does not
	// Forget has the handler's view of one key be written anew by the handler itself, Mend by somebody who compares it
	// with what the log says. Both nil: that cannot be done.
	Forget Forget
	Mend   Mend
}

// Forget takes away all that a view has of a key, in the transaction that ctx carries. known is false when the view can
// have nothing of such a key, whatever the log holds.
type Forget func(ctx context.Context, key string) (known bool, err error)

// Forgets are those of the views in a store.
type Forgets struct{ Balances, Entries, Transactions Forget }

// Mend looks at what a view has of a key, where no transaction can take that away and write it anew: readers go on
// reading it. ctx carries a Fence. known is as of Forget.
type Mend func(ctx context.Context, key string) (m Mending, known bool, err error)

// Mending makes what a view has of a key what the log says. It is used once, by one goroutine, and may end after any
// step: the next one begins with what it finds.
type Mending interface {
	// Take is handed what the log has of the key, as its handler would be: what is missing is added, and what is wrong
	// replaced. What is right is left alone, so nobody ever reads less than before.
	Take(ctx context.Context, facts []handlers.Fact) error
	// End takes away what else the view had of the key. last is the newest version that was handed out; what a handler
	// that is in the midst of its step has written behind it stays: find finds it in the log.
	End(ctx context.Context, last bank.Version, find Find) error
}

// Find is the event by which a subject came to a version; ok is false when the log has none.
type Find func(ctx context.Context, subject string, v bank.Version) (e app.Recorded, ok bool, err error)

// Mends are those of the views outside.
type Mends struct{ RedisBalances, MongoEntries, MongoTransactions Mend }

// Kind is what a route promises.
type Kind uint8

// A kept route hands its handler every fact, with an effect of exactly once, in the order of its key. A newest
// route has no checkpoint, parking or group: every process gets what happens from now on (or behind Config.From), and
// what fails is logged and dropped.
const (
	Kept Kind = iota
	Newest
)

// Reactions are the handlers of the bank, built by cmd. One that is nil is not part of this bank.
type Reactions struct {
	Balances     handlers.Func
	Entries      handlers.Func
	Transactions handlers.Func
	Push         handlers.Func
	Operations   handlers.Func // executes what operators want

	RedisBalances     handlers.Func
	MongoEntries      handlers.Func
	MongoTransactions handlers.Func
}

// OperationsHandler executes what operators want. It reads the log itself, whatever the broker is: operators must be
// able to act while that is down.
const OperationsHandler = "operations"

// The handlers whose views stand outside. They are beside the others, so that a bank can go from one to the other and
// back: each goes on where it was.
const (
	RedisBalancesHandler     = "balances-redis"
	MongoHistoryHandler      = "history-mongo"
	MongoTransactionsHandler = "transactions-mongo"
)

// Stores are the places that handlers write to.
type Stores struct {
	Views  Store // can be rebuilt
	Forget Forgets
	Mend   Mends

	RedisBalances Marks
	MongoHistory  Marks
}

// Routes is every reaction of the bank on one page.
func Routes(r Reactions, s Stores) []Route {
	const accounts, transactions = bank.AccountsTopic, bank.TransactionsTopic // each ordered by its own ids
	const mongoTransactions = MongoTransactionsHandler
	const balances, queries = "account-query", "transaction-query"
	f, m, outside := s.Forget, s.Mend, s.MongoHistory
	all := []Route{
		{balances, app.BalancesHandler, accounts, r.Balances, s.Views, Kept, nil, f.Balances, nil},
		{balances, RedisBalancesHandler, accounts, r.RedisBalances, s.Views, Kept, s.RedisBalances, nil, m.RedisBalances},
		{queries, app.HistoryHandler, accounts, r.Entries, s.Views, Kept, nil, f.Entries, nil},
		{queries, app.TransactionsHandler, transactions, r.Transactions, s.Views, Kept, nil, f.Transactions, nil},
		{queries, MongoHistoryHandler, accounts, r.MongoEntries, s.Views, Kept, outside, nil, m.MongoEntries},
		{queries, mongoTransactions, transactions, r.MongoTransactions, s.Views, Kept, outside, nil, m.MongoTransactions},
		{"monitoring", OperationsHandler, bank.OpsTopic, r.Operations, s.Views, Kept, nil, nil, nil},
		{"push", "push-accounts", accounts, r.Push, nil, Newest, nil, nil, nil},
		{"push", "push-transactions", transactions, r.Push, nil, Newest, nil, nil, nil},
	}
	return slices.DeleteFunc(all, func(r Route) bool { return r.Handler == nil })
}
