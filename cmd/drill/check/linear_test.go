package check_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/journal"
	"bankforge/cmd/drill/teller"
)

// deposited is a deposit on a that was answered with the balance after it.
func deposited(amount, after, call, ret int64) *teller.Command {
	c := command(teller.Deposit, "", journal.Acked, http.StatusCreated, fmt.Sprintf(
		`{"id":"t","entries":[{"account_id":"a","direction":"credit","amount":%s,"balance_after":%s,"version":1}]}`,
		money(amount), money(after)))
	c.Call, c.Return = call, ret
	return c
}

func refused(amount, call, ret int64) *teller.Command {
	const body = `{"code":"insufficient_funds"}`
	c := command(teller.Withdrawal, "", journal.Rejected, http.StatusUnprocessableEntity, body)
	c.Account, c.Amount, c.Call, c.Return = "a", amount, call, ret
	return c
}

func held(amount, call, ret int64) *teller.Command {
	c := command(teller.Hold, "", journal.Acked, http.StatusCreated, `{}`)
	c.Account, c.Amount, c.Call, c.Return = "a", amount, call, ret
	return c
}

type reads = []teller.Read

func saw(balance, call, ret int64) teller.Read {
	return teller.Read{Account: "a", Balance: balance, Call: call, Return: ret}
}

func TestAnswersThatNoOrderExplainsAreCaught(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]struct {
		commands      commands
		reads         reads
		balance, held int64 // as the log says in the end; the beginning is 100, with an overdraft of 10
		wrong         bool
	}{
		"one after the other": {
			commands: commands{deposited(5, 105, 1, 2), deposited(5, 110, 3, 4)},
			reads:    reads{saw(105, 2, 3), saw(110, 5, 6)}, balance: 110,
		},
		"at once, in the other order": {
			commands: commands{deposited(5, 112, 1, 9), deposited(7, 107, 2, 8)}, balance: 112,
		},
		"a lost update": {
			commands: commands{deposited(5, 105, 1, 2), deposited(5, 105, 3, 4)},
			balance:  105, wrong: true,
		},
		"an answer too old": {
			commands: commands{deposited(5, 105, 1, 2)},
			reads:    reads{saw(100, 3, 4)},
			balance:  105, wrong: true,
		},
		"a read of the future": {
			commands: commands{deposited(5, 105, 3, 4)},
			reads:    reads{saw(105, 1, 2)},
			balance:  105, wrong: true,
		},
		"back in time": {
			commands: commands{deposited(5, 105, 1, 10)},
			reads:    reads{saw(105, 2, 3), saw(100, 4, 5)}, balance: 105, wrong: true,
		},
		"not in the log": {
			commands: commands{deposited(5, 105, 1, 2)},
			balance:  100, wrong: true,
		},
		"refused, and it was not there": {
			commands: commands{refused(111, 1, 2)},
			balance:  100,
		},
		"refused, and it was there": {
			commands: commands{refused(110, 1, 2)},
			balance:  100, wrong: true,
		},
		"refused for a hold": {
			commands: commands{held(50, 1, 2), refused(61, 3, 4)},
			balance:  100, held: 50,
		},
		"more held than is there": {
			commands: commands{held(60, 1, 2), held(60, 3, 4)},
			balance:  100, held: 120, wrong: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			past := check.Past{"a": {Balance: 100, Overdraft: 10}}
			through := check.Past{"a": {Balance: h.balance, Held: h.held, Overdraft: 10}}
			findings, checked := check.Linear(past, through, h.commands, h.reads)
			if h.wrong != (len(findings) > 0) || checked == 0 {
				t.Errorf("%d checked, found %q", checked, strings.Join(findings, "; "))
			}
		})
	}
}
