package ports

import (
	"net/http"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/ports/body"
	"bankforge/ports/cursor"
	"bankforge/ports/render"
)

type holdBody struct {
	AccountID       body.Account             `json:"account_id"`
	Amount          body.Money               `json:"amount"`
	ExpiresAt       body.Opt[body.Instant]   `json:"expires_at,omitzero" doc:"At most 31 days ahead; default: 7."`
	Reference       body.Opt[body.Reference] `json:"reference,omitzero"`
	ExpectedVersion body.Opt[body.Version]   `json:"expected_version,omitzero"`
}

func placeHold(q *request, call app.Call, in *holdBody) (response, error) {
	done, err := q.App.PlaceHold(q.ctx(), call, bank.PlaceHold{
		Account: in.AccountID.AccountID, Amount: in.Amount.Amount, ExpiresAt: in.ExpiresAt.Value.Time,
		Reference: string(in.Reference.Value), ExpectedVersion: in.ExpectedVersion.Value.Version,
	})
	if err != nil {
		return response{done: &done.Done}, err
	}
	out := holdDone(&call, &done)
	if !call.DryRun {
		out.status, out.location = http.StatusCreated, "/v1/holds/"+done.Hold.ID.String()
	}
	return out, nil
}

type captureBody struct {
	Amount          body.Opt[body.Money]   `json:"amount,omitzero" doc:"Default: all that remains."`
	ToAccountID     body.Opt[body.Account] `json:"to_account_id,omitzero" doc:"Absent: the money goes out."`
	Final           body.Opt[body.Flag]    `json:"final,omitzero" doc:"Whether the rest is released; default: true."`
	ExpectedVersion body.Opt[body.Version] `json:"expected_version,omitzero"`
}

func capture(q *request, call app.Call, in *captureBody) (response, error) {
	id, err := pathID(q, bank.ParseID[bank.Hold])
	if err != nil {
		return response{}, err
	}
	done, err := q.App.Capture(q.ctx(), call, bank.Capture{
		Hold: id, To: in.ToAccountID.Value.AccountID, Amount: in.Amount.Value.Amount,
		Final: !in.Final.Given || bool(in.Final.Value), ExpectedVersion: in.ExpectedVersion.Value.Version,
	})
	return q.transactionMade(&call, &done, err)
}

type emptyBody struct{}

func voidHold(q *request, call app.Call, _ *emptyBody) (response, error) {
	id, err := pathID(q, bank.ParseID[bank.Hold])
	if err != nil {
		return response{}, err
	}
	done, err := q.App.VoidHold(q.ctx(), call, bank.VoidHold{ID: id})
	if err != nil {
		return response{done: &done.Done}, err
	}
	return holdDone(&call, &done), nil
}

func holdDone(call *app.Call, done *app.HoldDone) response {
	out := response{status: http.StatusOK, body: render.HoldOf(&done.Hold, call.DryRun), done: &done.Done}
	if !call.DryRun {
		out.version = done.Hold.Version
	}
	return out
}

func getHold(q *request) (response, error) {
	id, err := pathID(q, bank.ParseID[bank.Hold])
	if err != nil {
		return response{}, err
	}
	if params := q.query(); params.err != nil {
		return response{}, params.err
	}
	h, fresh, err := q.App.Hold(q.ctx(), q.principal, id)
	if err != nil {
		return response{}, err
	}
	return response{status: http.StatusOK, body: holdShown(&h), version: h.Version, stale: fresh.Stale, tags: true}, nil
}

func holdShown(h *bank.Hold) render.Hold { return render.HoldOf(h, false) }

func listHolds(q *request) (response, error) {
	params := q.query()
	page := q.page(params)
	f := app.HoldFilter{
		Page:    page.Page,
		Account: parse(params, "account_id", bank.ParseID[bank.Account]),
		Status:  parse(params, "status", bank.ParseHoldStatus),
	}
	if params.err != nil {
		return response{}, params.err
	}
	f.Limit++ // one more tells whether there is a next page
	found, fresh, err := q.App.Holds(q.ctx(), q.principal, f)
	if err != nil {
		return response{}, err
	}
	out := listOf(page, found, holdShown, func(h *bank.Hold) cursor.Place {
		return cursor.Place{Time: h.CreatedAt, ID: h.ID.String()}
	})
	return response{status: http.StatusOK, body: out, stale: fresh.Stale}, nil
}
