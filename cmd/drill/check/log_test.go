package check_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/journal"
	"bankforge/cmd/drill/teller"
)

// leg is one account of a forged event.
type leg struct {
	account                  string
	amount                   int64
	version                  uint64
	balance, held, overdraft int64
}

func money(n int64) string { return fmt.Sprintf(`{"amount":"%d","currency":"EUR"}`, n) }

// event forges a line of the log. what is more of its data, as JSON members.
func event(t *testing.T, seq uint64, key, what string, legs ...leg) *check.Event {
	t.Helper()
	var all []string
	for _, l := range legs {
		direction, amount := "null", l.amount
		if l.amount < 0 {
			direction, amount = `"debit"`, -l.amount
		} else if l.amount > 0 {
			direction = `"credit"`
		}
		all = append(all, fmt.Sprintf(`{"account_id":%q,"direction":%s,"amount":%s,"after":{"version":%d,"balance":%s,
			"held":%s,"overdraft_limit":%s}}`, l.account, direction, money(amount), l.version, money(l.balance),
			money(l.held), money(l.overdraft)))
	}
	line := fmt.Sprintf(`{"seq":%d,"type":"transaction.made","time":"2026-01-01T00:00:%02dZ","correlation_id":%q,
		"data":{"legs":[%s]%s}}`, seq, seq, key, strings.Join(all, ","), what)
	var e check.Event
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return &e
}

// history is a log in which all is right: two accounts, a deposit, a transfer of 30, a hold of 20.
func history(t *testing.T) events {
	t.Helper()
	return events{
		event(t, 1, "cash", `,"opening":{"type":"internal"}`, leg{"@cash:EUR", 0, 1, 0, 0, 0}),
		event(t, 2, "open-a", `,"opening":{"type":"current"}`, leg{"a", 0, 1, 0, 0, 0}),
		event(t, 3, "open-b", `,"opening":{"type":"current"}`, leg{"b", 0, 1, 0, 0, 5}),
		event(t, 4, "deposit", "", leg{"@cash:EUR", -100, 2, -100, 0, 0}, leg{"a", 100, 2, 100, 0, 0}),
		event(t, 5, "transfer", `,"transactions":[{"id":"t1"}]`, leg{"a", -30, 3, 70, 0, 0}, leg{"b", 30, 2, 30, 0, 5}),
		event(t, 6, "hold", `,"hold":{"id":"h","account_id":"a","remaining":`+money(20)+`}`, leg{"a", 0, 4, 70, 20, 0}),
	}
}

const transferred = `{"id":"t1","entries":[
	{"account_id":"a","direction":"debit","amount":{"amount":"30","currency":"EUR"},
	 "balance_after":{"amount":"70","currency":"EUR"},"version":3},
	{"account_id":"b","direction":"credit","amount":{"amount":"30","currency":"EUR"},
	 "balance_after":{"amount":"30","currency":"EUR"},"version":2}]}`

func command(kind teller.Kind, key string, fate journal.Fate, status int, body string) *teller.Command {
	return &teller.Command{Kind: kind, Key: key, Fate: fate, Reply: teller.Reply{Status: status, Body: []byte(body)}}
}

// known is what the clients of history know.
func known() commands {
	return commands{
		command(teller.Open, "open-a", journal.Acked, http.StatusCreated, "{}"),
		command(teller.Open, "open-b", journal.Acked, http.StatusCreated, "{}"),
		command(teller.Deposit, "deposit", journal.Unknown, 0, ""),
		command(teller.Transfer, "transfer", journal.Acked, http.StatusCreated, transferred),
		command(teller.Hold, "hold", journal.Acked, http.StatusCreated, "{}"),
		command(teller.Transfer, "refused", journal.Rejected, http.StatusUnprocessableEntity, "{}"),
		command(teller.Transfer, "full", journal.NotDone, http.StatusServiceUnavailable, "{}"),
		command(teller.Transfer, "lost", journal.Unknown, 0, ""),
	}
}

type (
	events   = []*check.Event
	commands = []*teller.Command
)

// forgery is what is wrong with a history, and what must be found.
type forgery struct {
	forge func(events, commands) (events, commands)
	want  string // "": nothing is wrong
}

// forgedLogs are histories in which the log is wrong by itself.
func forgedLogs(t *testing.T) map[string]forgery {
	t.Helper()
	return map[string]forgery{
		"overdrawn": {func(e events, c commands) (events, commands) {
			return append(e, event(t, 7, "lost", "", leg{"b", -36, 3, -6, 0, 5}, leg{"a", 36, 5, 106, 20, 0})), c
		}, "event 7: b is below its limit: balance -6, held 0, overdraft 5"},
		"overdrawn with what is held": {func(e events, c commands) (events, commands) {
			return append(e, event(t, 7, "lost", "", leg{"a", -51, 5, 19, 20, 0}, leg{"b", 51, 3, 81, 0, 5})), c
		}, "event 7: a is below its limit: balance 19, held 20, overdraft 0"},
		"a gap in versions": {func(e events, c commands) (events, commands) {
			return append(e, event(t, 7, "lost", "", leg{"a", 0, 6, 70, 20, 0})), c
		}, "event 7: version 6 of a follows version 4"},
		"a version twice": {func(e events, c commands) (events, commands) {
			return append(e, event(t, 7, "lost", "", leg{"a", 0, 4, 70, 20, 0})), c
		}, "event 7: version 4 of a follows version 4"},
		"a gap in the log": {func(e events, c commands) (events, commands) {
			return append(e, event(t, 8, "lost", "", leg{"a", 0, 5, 70, 20, 0})), c
		}, "event 8 follows event 6"},
		"money out of nowhere": {func(e events, c commands) (events, commands) {
			return append(e, event(t, 7, "lost", "", leg{"a", 1, 5, 71, 20, 0})), c
		}, "event 7: its legs sum to 1 EUR"},
		"a balance that does not follow": {func(e events, c commands) (events, commands) {
			return append(e, event(t, 7, "lost", "", leg{"a", 0, 5, 90, 20, 0})), c
		}, "event 7: a has 90, and should have 70"},
		"held for nothing": {func(e events, c commands) (events, commands) {
			what := `,"hold":{"id":"h","account_id":"a","remaining":` + money(0) + `}`
			return append(e, event(t, 7, "lost", what, leg{"a", 0, 5, 70, 20, 0})), c
		}, "event 7: a holds 20, and its holds sum to 0"},
		"a transaction twice": {func(e events, c commands) (events, commands) {
			return append(e, event(t, 7, "lost", `,"transactions":[{"id":"t1"}]`, leg{"a", 0, 5, 70, 20, 0})), c
		}, "event 7: transaction t1 was there before"},
		"time goes back": {func(e events, c commands) (events, commands) {
			e[5].Time = "2026-01-01T00:00:04Z"
			return e, c
		}, "event 6: its time is"},
	}
}

// forgedFates are histories in which the log and the clients do not agree.
func forgedFates(t *testing.T) map[string]forgery {
	t.Helper()
	return map[string]forgery{
		"all is right": {func(e events, c commands) (events, commands) {
			return e, c
		}, ""},
		"a lost acknowledgement": {func(e events, c commands) (events, commands) {
			return e[:5], c
		}, "hold was acknowledged (201), and is there 0 times instead of 1"},
		"an effect twice": {func(e events, c commands) (events, commands) {
			return append(e, event(t, 7, "transfer", "", leg{"a", -30, 5, 40, 20, 0}, leg{"b", 30, 3, 60, 0, 5})), c
		}, "transfer was acknowledged (201), and is there 2 times instead of 1"},
		"an unknown one twice": {func(e events, c commands) (events, commands) {
			return append(e, event(t, 7, "lost", "", leg{"a", 0, 5, 70, 20, 0}),
				event(t, 8, "lost", "", leg{"a", 0, 6, 70, 20, 0})), c
		}, "transfer lost was never answered, and is there 2 times"},
		"refused, and there": {func(e events, c commands) (events, commands) {
			return append(e, event(t, 7, "refused", "", leg{"a", 0, 5, 70, 20, 0})), c
		}, "transfer refused is rejected"},
		"not done, and there": {func(e events, c commands) (events, commands) {
			return append(e, event(t, 7, "full", "", leg{"a", 0, 5, 70, 20, 0})), c
		}, "transfer full is not-done"},
		"another answer than the log has": {func(e events, c commands) (events, commands) {
			c[3].Reply.Body = []byte(strings.Replace(transferred, `"70"`, `"71"`, 1))
			return e, c
		}, "transfer was told a-30=71@3"},
		"nobody asked for it": {func(e events, c commands) (events, commands) {
			return append(e, event(t, 7, "stranger", "", leg{"a", 0, 5, 70, 20, 0})), c
		}, `"stranger" is there 1 times, and nobody has asked for it`},
	}
}

// acted is event with an act in it.
func acted(t *testing.T, seq uint64, id string, legs ...leg) *check.Event {
	t.Helper()
	e := event(t, seq, "act", fmt.Sprintf(`,"act":{"id":%q}`, id), legs...)
	e.Type = "operator.acted"
	return e
}

// forgedActs are histories in which operators act.
func forgedActs(t *testing.T) map[string]forgery {
	t.Helper()
	return map[string]forgery{
		"an act": {func(e events, c commands) (events, commands) {
			return append(e, acted(t, 7, "act_1"), acted(t, 8, "act_2")), c
		}, ""},
		"an act twice": {func(e events, c commands) (events, commands) {
			return append(e, acted(t, 7, "act_1"), acted(t, 8, "act_1")), c
		}, "event 8: act act_1 was there before, as event 7"},
		"an act that moves money": {func(e events, c commands) (events, commands) {
			return append(e, acted(t, 7, "act_1", leg{"a", 0, 5, 70, 20, 0})), c
		}, "event 7: it is not an act alone"},
		"an act in the guise of a movement": {func(e events, c commands) (events, commands) {
			e = append(e, acted(t, 7, "act_1"))
			e[6].Type = "transaction.made"
			return e, c
		}, "event 7: it is not an act alone"},
		"an act of nothing": {func(e events, c commands) (events, commands) {
			e = append(e, event(t, 7, "act", ""))
			e[6].Type = "operator.acted"
			return e, c
		}, "event 7: it is not an act alone"},
	}
}

func TestForgedHistoriesAreCaught(t *testing.T) {
	t.Parallel()
	forgeries := forgedLogs(t)
	maps.Copy(forgeries, forgedFates(t))
	maps.Copy(forgeries, forgedActs(t))
	for name, forge := range forgeries {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			events, asked := forge.forge(history(t), known())
			l := check.NewLog()
			for _, e := range events {
				l.Take(e)
			}
			l.Commands(asked)
			l.Strangers(asked)
			findings := strings.Join(l.Findings(), "; ")
			if forge.want == "" && findings != "" || !strings.Contains(findings, forge.want) {
				t.Errorf("found %q, want %q", findings, forge.want)
			}
		})
	}
}

func TestViewsAreHeldAgainstTheLog(t *testing.T) {
	t.Parallel()
	l := check.NewLog()
	for _, e := range history(t) {
		l.Take(e)
	}
	right := teller.Seen{
		ID: "a", Version: 4, Balance: teller.Money{Minor: 70, Currency: "EUR"},
		Held: teller.Money{Minor: 20, Currency: "EUR"},
	}
	if l.Seen(&right); len(l.Findings()) > 0 {
		t.Error("a right view is refused")
	}
	for name, change := range map[string]func(*teller.Seen){
		"version": func(s *teller.Seen) { s.Version = 3 },
		"balance": func(s *teller.Seen) { s.Balance.Minor = 71 },
		"held":    func(s *teller.Seen) { s.Held.Minor = 0 },
		"account": func(s *teller.Seen) { s.ID = "c" },
	} {
		wrong := right
		change(&wrong)
		if l.Seen(&wrong); len(l.Findings()) == 0 {
			t.Errorf("a wrong %s is not found", name)
		}
	}
}
