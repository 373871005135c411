package bank_test

import (
	"fmt"
	"time"

	"bankforge/app/bank"
)

// The whole domain is two functions: Decide makes events of a command, or refuses it; Evolve takes them in.
func ExampleDecide() {
	eur, _ := bank.ParseCurrency("EUR")
	account := bank.MakeID[bank.Account]([16]byte{1})
	five, _ := bank.NewAmount(500, eur)
	six, _ := bank.NewAmount(600, eur)
	terms := func(n byte) bank.Terms { return bank.Terms{ID: bank.MakeID[bank.Transaction]([16]byte{n})} }
	state := bank.NewState()
	now := bank.TimeOf(time.Date(2026, 1, 2, 9, 0, 0, 0, time.UTC))
	for _, c := range []bank.Command{
		bank.OpenAccount{
			ID: account, Opening: bank.Opening{Currency: eur, Type: bank.Current}, DailyDebitLimit: bank.NoLimit,
		},
		bank.Deposit{Terms: terms(1), Account: account, Amount: five},
		bank.Withdraw{Terms: terms(2), Account: account, Amount: six},
	} {
		events, err := bank.Decide(state, c, now)
		if err != nil {
			fmt.Println(err)
		}
		for _, e := range events {
			state.Evolve(e)
			for _, change := range e.Changes() {
				fmt.Println(e.Seq, change.Name, change.Key())
			}
		}
		state.Settle()
	}
	// Output:
	// 1 account.opened acc_04000000000000000000000000
	// 2 account.opened @cash:EUR
	// 3 account.debited @cash:EUR
	// 3 account.credited acc_04000000000000000000000000
	// 3 transaction.posted txn_04000000000000000000000000
	// insufficient_funds (amount): The amount is more than what is available on the account.
}
