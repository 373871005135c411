package ports

import (
	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/ports/body"
	"bankforge/ports/cursor"
	"bankforge/ports/render"
)

type openAccountBody struct {
	Currency        body.Currency              `json:"currency"`
	CustomerID      body.Opt[body.Customer]    `json:"customer_id,omitzero"`
	Type            body.Opt[body.AccountType] `json:"type,omitzero"`
	Label           body.Opt[body.Label]       `json:"label,omitzero"`
	ExternalID      body.Opt[body.ExternalID]  `json:"external_id,omitzero"`
	Metadata        body.Opt[body.Metadata]    `json:"metadata,omitzero"`
	OverdraftLimit  body.Opt[body.Limit]       `json:"overdraft_limit,omitzero"`
	DailyDebitLimit body.Opt[body.Limit]       `json:"daily_debit_limit,omitzero"`
}

func openAccount(q *request, call app.Call, in *openAccountBody) (response, error) {
	cmd := bank.OpenAccount{
		Opening: bank.Opening{
			Customer: in.CustomerID.Value.CustomerID, Currency: in.Currency.Currency, Type: bank.Current,
		},
		Details: bank.Details{
			Label:      string(in.Label.Value),
			ExternalID: string(in.ExternalID.Value),
			Metadata:   in.Metadata.Value.Metadata,
		},
		OverdraftLimit:  bank.Limit(in.OverdraftLimit.Value.Minor),
		DailyDebitLimit: bank.NoLimit,
	}
	if in.Type.Given {
		cmd.Type = in.Type.Value.AccountType
	}
	if in.DailyDebitLimit.Given {
		cmd.DailyDebitLimit = bank.Limit(in.DailyDebitLimit.Value.Minor)
	}
	if call.Refusal == nil {
		call.Refusal = limitsIn(cmd.Currency, &in.OverdraftLimit, &in.DailyDebitLimit)
	}
	done, err := q.App.OpenAccount(q.ctx(), call, cmd)
	return q.accountDone(201, &done, err)
}

// limitsIn refuses limits in another currency than the account's.
func limitsIn(c bank.Currency, overdraft, daily *body.Opt[body.Limit]) *bank.Error {
	for _, limit := range []struct {
		field string
		given *body.Opt[body.Limit]
	}{{"overdraft_limit", overdraft}, {"daily_debit_limit", daily}} {
		if limit.given.Given && limit.given.Value.Currency != c {
			return bank.Refuse(bank.CurrencyMismatch, limit.field+"/currency", "The account is in "+c.String()+".")
		}
	}
	return nil
}

type changeAccountBody struct {
	Label           body.Opt[body.Label]      `json:"label,omitzero"`
	ExternalID      body.Opt[body.ExternalID] `json:"external_id,omitzero"`
	Metadata        body.Opt[body.Metadata]   `json:"metadata,omitzero"`
	OverdraftLimit  body.Opt[body.Limit]      `json:"overdraft_limit,omitzero"`
	DailyDebitLimit body.Opt[body.Limit]      `json:"daily_debit_limit,omitzero"`
}

func changeAccount(q *request, call app.Call, in *changeAccountBody) (response, error) {
	id, version, err := q.accountInPath()
	if err != nil {
		return response{}, err
	}
	cmd := bank.ChangeAccount{ID: id, IfVersion: version}
	if in.Label.Pointer() != nil {
		label := string(in.Label.Value)
		cmd.Label = &label
	}
	if in.ExternalID.Pointer() != nil {
		externalID := string(in.ExternalID.Value)
		cmd.ExternalID = &externalID
	}
	if m := in.Metadata.Pointer(); m != nil {
		cmd.Metadata = &m.Metadata
	}
	if l := in.OverdraftLimit.Pointer(); l != nil {
		limit := bank.Limit(l.Minor)
		cmd.OverdraftLimit = &limit
	}
	if l := in.DailyDebitLimit.Pointer(); l != nil {
		limit := bank.Limit(l.Minor)
		if in.DailyDebitLimit.Null {
			limit = bank.NoLimit
		}
		cmd.DailyDebitLimit = &limit
	}
	if call.Refusal == nil && (in.OverdraftLimit.Given || in.DailyDebitLimit.Given) {
		a, err := q.App.AccountAtVersion(q.ctx(), q.principal, id, 1) // the currency never changes
		if err != nil {
			return response{}, err
		}
		call.Refusal = limitsIn(a.Currency, &in.OverdraftLimit, &in.DailyDebitLimit)
	}
	done, err := q.App.ChangeAccount(q.ctx(), call, cmd)
	return q.accountDone(200, &done, err)
}

type reasonBody struct {
	Reason body.Reason `json:"reason"`
}

// setStatus makes the handlers of freeze, unfreeze and close.
func setStatus(to bank.AccountStatus) func(*request, app.Call, *reasonBody) (response, error) {
	return func(q *request, call app.Call, in *reasonBody) (response, error) {
		id, version, err := q.accountInPath()
		if err != nil {
			return response{}, err
		}
		cmd := bank.SetStatus{ID: id, IfVersion: version, To: to, Reason: string(in.Reason)}
		done, err := q.App.SetStatus(q.ctx(), call, cmd)
		return q.accountDone(200, &done, err)
	}
}

type reviewBody struct {
	Above  body.Required[body.Limit] `json:"above"`
	Reason body.Reason               `json:"reason"`
}

func setReview(q *request, call app.Call, in *reviewBody) (response, error) {
	id, version, err := q.accountInPath()
	if err != nil {
		return response{}, err
	}
	cmd := bank.SetReview{ID: id, IfVersion: version, Reason: string(in.Reason)}
	if in.Above.Given {
		cmd.Above = &bank.Review{Minor: in.Above.Value.Minor, Currency: in.Above.Value.Currency}
	}
	done, err := q.App.SetReview(q.ctx(), call, cmd)
	return q.accountDone(200, &done, err)
}

func (q *request) accountInPath() (id bank.AccountID, version bank.Version, err error) {
	if id, err = pathID(q, bank.ParseID[bank.Account]); err == nil {
		version, err = q.ifVersion(id)
	}
	return id, version, err
}

func (q *request) accountDone(status int, done *app.AccountDone, err error) (response, error) {
	if err != nil {
		return response{done: &done.Done}, err
	}
	out := response{
		status: status, body: q.showAccount(&done.Account), version: done.Account.Version, done: &done.Done,
	}
	if status == 201 {
		out.location = "/v1/accounts/" + done.Account.ID.String()
	}
	return out, nil
}

// showAccount is account for an answer that is nothing else.
func (q *request) showAccount(a *bank.Account) render.AccountJSON {
	return render.AccountJSON{Of: a, Epoch: q.Epoch}
}

func (q *request) account(a *bank.Account) render.Account { return render.AccountOf(a, q.Epoch) }

// getAccount shows an account as it is, or as it was.
func getAccount(q *request) (response, error) {
	id, err := pathID(q, bank.ParseID[bank.Account])
	if err != nil {
		return response{}, err
	}
	params := q.query()
	at, past := params.instant("at")
	version := bank.Version(params.number("at_version", 1, maxVersion))
	least := bank.Version(params.number("min_version", 1, maxVersion))
	if past && version != 0 {
		params.fail("at_version", "conflict", "at and at_version cannot both be given")
	}
	if params.err != nil {
		return response{}, params.err
	}
	var a bank.Account
	var fresh app.Freshness
	switch {
	case past:
		a, err = q.App.AccountAt(q.ctx(), q.principal, id, at)
	case version != 0:
		a, err = q.App.AccountAtVersion(q.ctx(), q.principal, id, version)
	default:
		a, fresh, err = q.App.Account(q.ctx(), q.principal, id, least)
	}
	if err != nil {
		return response{}, err
	}
	return response{status: 200, body: q.showAccount(&a), version: a.Version, stale: fresh.Stale, tags: true}, nil
}

const maxVersion = 1 << 53

func listAccounts(q *request) (response, error) {
	params := q.query()
	page := q.page(params)
	f := app.AccountFilter{
		Page:       page.Page,
		Customer:   parse(params, "customer_id", bank.ParseID[bank.Customer]),
		Status:     parse(params, "status", bank.ParseAccountStatus),
		Currency:   parse(params, "currency", bank.ParseCurrency),
		ExternalID: params.text("external_id"),
	}
	if params.err != nil {
		return response{}, params.err
	}
	f.Limit++ // one more tells whether there is a next page
	found, fresh, err := q.App.Accounts(q.ctx(), q.principal, f)
	if err != nil {
		return response{}, err
	}
	out := listOf(page, found, q.account, func(a *bank.Account) cursor.Place {
		return cursor.Place{Time: a.OpenedAt, ID: a.ID.String()}
	})
	return response{status: 200, body: out, stale: fresh.Stale}, nil
}
