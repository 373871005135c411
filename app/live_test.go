package app_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"bankforge/app"
	"bankforge/app/bank"
)

func TestWhoMayWatchWhat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		defer shut(t, h.ledger)
		done, err := h.Transfer(t.Context(), call(h.ann, "t"), bank.Transfer{From: h.anns, To: h.bobs, Amount: euros(10)})
		if err != nil {
			t.Fatal(err)
		}
		own, err := h.Deposit(t.Context(), call(teller, "d"), bank.Deposit{Account: h.anns, Amount: euros(5)})
		if err != nil {
			t.Fatal(err)
		}
		role := func(r app.Role) app.Principal { return app.Principal{Subject: string(r), Roles: []app.Role{r}} }
		auditor, operator, fraud := role(app.RoleAuditor), role(app.RoleOperator), role(app.RoleFraud)
		admin := role(app.RoleAdmin)
		shared, anns := "transaction:"+done.Transaction.ID.String(), "transaction:"+own.Transaction.ID.String()
		const replay = "replay:rpl_06h09h3q657ss5pr9u4kq9irho"
		for _, c := range []struct {
			channel string
			yes     []app.Principal
			no      []app.Principal
		}{
			{"account:" + h.anns.String(), []app.Principal{h.ann, teller, auditor, fraud}, []app.Principal{h.bob, operator, {}}},
			{"account:" + h.none.String(), []app.Principal{teller}, []app.Principal{h.ann, operator}},
			{"account:@cash:EUR", []app.Principal{teller, auditor}, []app.Principal{h.ann, operator}},
			{shared, []app.Principal{h.ann, h.bob, teller}, []app.Principal{operator, {}}},
			{anns, []app.Principal{h.ann, teller}, []app.Principal{h.bob}},
			{"customer:" + h.ann.Customer.String(), []app.Principal{h.ann, teller}, []app.Principal{h.bob, operator}},
			{"ops", []app.Principal{operator, admin, auditor}, []app.Principal{h.ann, teller, fraud}},
			{"failures", []app.Principal{operator, admin, auditor}, []app.Principal{h.ann, teller, fraud}},
			{"fraud", []app.Principal{fraud, auditor}, []app.Principal{h.ann, teller, operator}},
			{replay, []app.Principal{operator, admin, auditor}, []app.Principal{h.ann, teller, fraud}},
		} {
			for _, p := range c.yes {
				if ok, err := h.MaySubscribe(t.Context(), p, c.channel); err != nil || !ok {
					t.Errorf("%s may not watch %s (%v)", p.Subject, c.channel, err)
				}
			}
			for _, p := range c.no {
				if ok, err := h.MaySubscribe(t.Context(), p, c.channel); err != nil || ok {
					t.Errorf("%s may watch %s (%v)", p.Subject, c.channel, err)
				}
			}
		}
	})
}

func TestNobodyWatchesWhatDoesNotExist(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		defer shut(t, h.ledger)
		everything := app.Principal{Subject: "root", Roles: []app.Role{
			app.RoleTeller, app.RoleOperator, app.RoleFraud, app.RoleAuditor,
		}}
		for _, channel := range []string{
			"", ":", "account", "account:", "account:acc_x", "account:" + accountID(99).String(), "account:@cash:JPY",
			"Account:" + h.anns.String(), "account:" + h.anns.String() + " ", "transaction:" + h.anns.String(),
			"transaction:" + transactionID(99).String(), "customer:", "customer:x",
			"ops:", "ops:x", "replay", "replay:", "replay:rpl_1",
			"replay:rpl_06h09h3q657ss5pr9u4kq9ir\x00o", "replay:act_06h09h3q657ss5pr9u4kq9irho", "nonsense",
		} {
			if ok, err := h.MaySubscribe(t.Context(), everything, channel); err != nil || ok {
				t.Errorf("%q can be watched (%v)", channel, err)
			}
		}
	})
}

// blind finds nothing, because its store is down.
type blind struct{ app.Lookup }

func (blind) Latest(context.Context, []string) (map[string]app.Row, error) {
	return nil, errors.New("the store is down")
}

func TestNotKnowingIsNoRefusal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(p *app.Parts) { p.Lookup = blind{p.Lookup} })
		defer shut(t, h.ledger)
		for _, channel := range []string{"account:" + h.anns.String(), "transaction:" + transactionID(1).String()} {
			if ok, err := h.MaySubscribe(t.Context(), teller, channel); err == nil || ok {
				t.Errorf("%s: %v, %v", channel, ok, err)
			}
		}
	})
}
