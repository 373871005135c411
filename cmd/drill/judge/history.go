package judge

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/teller"
)

// histories waits until the histories of accounts and transactions have come as far as the log, and compares them with
// it: all entries of all accounts, and some transactions.
func (c *Case) histories(ctx context.Context) error {
	for _, a := range c.Office.Accounts() {
		var shown []check.Entry
		wanted := c.Log.History(a.ID)
		var last error
		err := teller.Until(ctx, Patience, func() bool {
			shown, last = c.entries(ctx, a.ID)
			return last == nil && len(shown) >= len(wanted)
		})
		if err != nil && last != nil {
			return fmt.Errorf("the history of %s cannot be read: %w", a.ID, last)
		}
		c.Log.Entries(a.ID, shown)
	}
	ids := c.Log.Transactions()
	all := slices.Sorted(maps.Keys(ids))
	for range min(someTransactions, len(all)) {
		if err := c.transaction(ctx, all[c.Random.IntN(len(all))], ids); err != nil {
			return err
		}
	}
	return nil
}

// someTransactions are asked for.
const someTransactions = 40

func (c *Case) transaction(ctx context.Context, id string, versions map[string]uint64) error {
	var shown struct {
		ID      string `json:"id"`
		Version uint64 `json:"version"`
	}
	var last error
	err := teller.Until(ctx, Patience, func() bool {
		last = c.Client.GetInto(ctx, "/v1/transactions/"+id, &shown)
		return last == nil && shown.Version >= versions[id]
	})
	if err != nil || shown.ID != id || shown.Version != versions[id] {
		return fmt.Errorf("the view has transaction %s at version %d, and the log at %d: %v", id, shown.Version,
			versions[id], last)
	}
	return nil
}

// entries reads all of an account, the oldest first.
func (c *Case) entries(ctx context.Context, account string) (all []check.Entry, err error) {
	const page = 200
	for after := uint64(0); ; {
		var list struct {
			Data []struct {
				Version   uint64       `json:"version"`
				Direction string       `json:"direction"`
				Amount    teller.Money `json:"amount"`
				After     teller.Money `json:"balance_after"`
			} `json:"data"`
		}
		path := fmt.Sprintf("/v1/accounts/%s/entries?order=asc&after_version=%d&limit=%d", account, after, page)
		if err := c.Client.GetInto(ctx, path, &list); err != nil {
			return nil, err
		}
		for _, e := range list.Data {
			amount := int64(e.Amount.Minor)
			if e.Direction == "debit" {
				amount = -amount
			}
			all = append(all, check.Entry{Version: e.Version, Amount: amount, Balance: int64(e.After.Minor)})
			after = e.Version
		}
		if len(list.Data) < page {
			return all, nil
		}
	}
}
