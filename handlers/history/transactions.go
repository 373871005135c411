package history

import (
	"context"

	"bankforge/app/bank"
	"bankforge/handlers"
)

// TransactionStore is where transactions stand. It writes within the transaction that the context carries.
type TransactionStore interface {
	// TransactionVersions returns the versions of those of the transactions that the view has.
	TransactionVersions(
		ctx context.Context, ids []bank.TransactionID,
	) (map[bank.TransactionID]bank.Version, error)
	// SaveTransactions writes all of them, each once. New ones that the view has are left out.
	SaveTransactions(ctx context.Context, transactions []Transaction) error
}

// Transaction is a transaction as it stands.
type Transaction struct {
	bank.Transaction
	Payer          bank.CustomerID // whose account From is; zero when it is none
	New            bool            // the view did not have it, or was not asked: its first version is all there is
	IdempotencyKey string          // of the command that made it; only when it is New
}

// Transactions is the handler that keeps the newest version of each transaction. A version that the view has
// already is left out, and one that does not follow is a *handlers.GapError.
func Transactions(store TransactionStore) handlers.Func {
	return func(ctx context.Context, facts []handlers.Fact) error {
		var have map[bank.TransactionID]bank.Version
		if ids := transactionsOf(facts); len(ids) > 0 {
			var err error
			if have, err = store.TransactionVersions(ctx, ids); err != nil {
				return err
			}
		}
		rows, err := fold(facts, have)
		if err != nil || len(rows) == 0 {
			return err
		}
		return store.SaveTransactions(ctx, rows)
	}
}

// transactionsOf are those that the view must be asked about. Nearly all are told of by their first version alone, and
// need no question: the view leaves it out if it has it.
func transactionsOf(facts []handlers.Fact) []bank.TransactionID {
	var ids []bank.TransactionID
	for i := range facts {
		if t := changed(&facts[i]); t != nil && t.Version != 1 {
			ids = append(ids, t.ID)
		}
	}
	return ids
}

// changed is the transaction that the fact is about. Facts about accounts also carry one, but say nothing new of it.
func changed(f *handlers.Fact) *bank.Transaction {
	if f.Leg != nil {
		return nil
	}
	return f.Transaction
}

// fold leaves of each transaction only the newest version.
func fold(facts []handlers.Fact, have map[bank.TransactionID]bank.Version) ([]Transaction, error) {
	rows := make([]Transaction, 0, len(facts))
	place := make(map[bank.TransactionID]int, len(facts)) // in rows
	for i := range facts {
		t := changed(&facts[i])
		if t == nil {
			continue
		}
		at, known := place[t.ID]
		version := have[t.ID]
		if known {
			version = rows[at].Version
		}
		take, err := handlers.Next(t.ID, version, t.Version)
		if err != nil {
			return nil, err
		}
		if !take {
			continue
		}
		if !known {
			at = len(rows)
			place[t.ID] = at
			rows = append(rows, Transaction{})
		}
		row := &rows[at]
		row.Transaction, row.Payer = *t, facts[i].Payer
		if t.Version == 1 {
			row.New, row.IdempotencyKey = true, facts[i].IdempotencyKey
		}
	}
	return rows, nil
}
