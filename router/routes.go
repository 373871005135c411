package router

import (
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
}

// Kind is what a route promises.
type Kind uint8

// A kept route hands its handler every fact, with an effect of exactly once, in the order of its key. A newest
// route has no checkpoint, parking or group: every process gets what happens from now on (or behind Config.From), and
// what fails is logged and dropped.
const (
	Kept Kind = iota
	Newest
)

// Reactions are the handlers of the bank, built by cmd.
type Reactions struct {
	Balances     handlers.Func
	Entries      handlers.Func
	Transactions handlers.Func
	Push         handlers.Func
}

// Stores are the places that handlers write to.
type Stores struct {
	Views Store // can be rebuilt
}

// Routes is every reaction of the bank on one page.
func Routes(r Reactions, s Stores) []Route {
	const accounts, transactions = bank.AccountsTopic, bank.TransactionsTopic // each ordered by its own ids
	return []Route{
		{"account-query", app.BalancesHandler, accounts, r.Balances, s.Views, Kept},
		{"transaction-query", app.HistoryHandler, accounts, r.Entries, s.Views, Kept},
		{"transaction-query", app.TransactionsHandler, transactions, r.Transactions, s.Views, Kept},
		{"push", "push-accounts", accounts, r.Push, nil, Newest},
		{"push", "push-transactions", transactions, r.Push, nil, Newest},
	}
}
