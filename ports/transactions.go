package ports

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/ports/body"
	"bankforge/ports/cursor"
	"bankforge/ports/render"
)

type depositBody struct {
	AccountID   body.Account               `json:"account_id"`
	Amount      body.Money                 `json:"amount"`
	Reference   body.Opt[body.Reference]   `json:"reference,omitzero"`
	Description body.Opt[body.Description] `json:"description,omitzero"`
	Metadata    body.Opt[body.Metadata]    `json:"metadata,omitzero"`
	ValueDate   body.Opt[body.Date]        `json:"value_date,omitzero"`
}

func deposit(q *request, call app.Call, in *depositBody) (response, error) {
	done, err := q.App.Deposit(q.ctx(), call, bank.Deposit{
		Terms:   termsOf(&in.Reference, &in.Description, &in.Metadata, &in.ValueDate),
		Account: in.AccountID.AccountID, Amount: in.Amount.Amount,
	})
	return q.transactionMade(&call, &done, err)
}

type withdrawalBody struct {
	AccountID       body.Account               `json:"account_id"`
	Amount          body.Money                 `json:"amount"`
	Reference       body.Opt[body.Reference]   `json:"reference,omitzero"`
	Description     body.Opt[body.Description] `json:"description,omitzero"`
	Metadata        body.Opt[body.Metadata]    `json:"metadata,omitzero"`
	ValueDate       body.Opt[body.Date]        `json:"value_date,omitzero"`
	ExpectedVersion body.Opt[body.Version]     `json:"expected_version,omitzero"`
}

func withdraw(q *request, call app.Call, in *withdrawalBody) (response, error) {
	done, err := q.App.Withdraw(q.ctx(), call, bank.Withdraw{
		Terms:   termsOf(&in.Reference, &in.Description, &in.Metadata, &in.ValueDate),
		Account: in.AccountID.AccountID, Amount: in.Amount.Amount, ExpectedVersion: in.ExpectedVersion.Value.Version,
	})
	return q.transactionMade(&call, &done, err)
}

type transferBody struct {
	From            body.Account               `json:"from_account_id"`
	To              body.Account               `json:"to_account_id"`
	Amount          body.Money                 `json:"amount"`
	Reference       body.Opt[body.Reference]   `json:"reference,omitzero"`
	Description     body.Opt[body.Description] `json:"description,omitzero"`
	Metadata        body.Opt[body.Metadata]    `json:"metadata,omitzero"`
	ValueDate       body.Opt[body.Date]        `json:"value_date,omitzero"`
	ExpectedVersion body.Opt[body.Version]     `json:"expected_version,omitzero"`
}

func (b *transferBody) command() bank.Transfer {
	return bank.Transfer{
		Terms: termsOf(&b.Reference, &b.Description, &b.Metadata, &b.ValueDate),
		From:  b.From.AccountID, To: b.To.AccountID, Amount: b.Amount.Amount,
		ExpectedVersion: b.ExpectedVersion.Value.Version,
	}
}

func transfer(q *request, call app.Call, in *transferBody) (response, error) {
	done, err := q.App.Transfer(q.ctx(), call, in.command())
	return q.transactionMade(&call, &done, err)
}

func termsOf(
	r *body.Opt[body.Reference], d *body.Opt[body.Description], m *body.Opt[body.Metadata], v *body.Opt[body.Date],
) bank.Terms {
	return bank.Terms{
		Reference: string(r.Value), Description: string(d.Value), Metadata: m.Value.Metadata, ValueDate: v.Value.Date,
	}
}

type reversalBody struct {
	Amount body.Opt[body.Money] `json:"amount,omitzero"`
	Reason body.Reason          `json:"reason"`
}

func reverse(q *request, call app.Call, in *reversalBody) (response, error) {
	id, err := pathID(q, bank.ParseID[bank.Transaction])
	if err != nil {
		return response{}, err
	}
	done, err := q.App.Reverse(q.ctx(), call, bank.Reverse{
		Of: id, Amount: in.Amount.Value.Amount, Reason: string(in.Reason),
	})
	return q.transactionMade(&call, &done, err)
}

// decidePending makes the handlers of approve and reject.
func decidePending(approve bool) func(*request, app.Call, *reasonBody) (response, error) {
	return func(q *request, call app.Call, in *reasonBody) (response, error) {
		id, err := pathID(q, bank.ParseID[bank.Transaction])
		if err != nil {
			return response{}, err
		}
		cmd := bank.DecidePending{ID: id, Approve: approve, Reason: string(in.Reason)}
		done, err := q.App.DecidePending(q.ctx(), call, cmd)
		if err != nil {
			return response{done: &done.Done}, err
		}
		return response{
			status: http.StatusOK, body: q.show(&done.Transaction, false), version: done.Transaction.Version, done: &done.Done,
		}, nil
	}
}

// transactionMade answers 201; 202 while it waits for review; 200 when it only would be made.
func (q *request) transactionMade(call *app.Call, done *app.TransactionDone, err error) (response, error) {
	if err != nil {
		return response{done: &done.Done}, err
	}
	t := &done.Transaction
	shown := q.show(t, call.DryRun)
	if call.DryRun {
		return response{status: http.StatusOK, body: shown, done: &done.Done}, nil
	}
	return response{
		status: statusOf(t), body: shown, version: t.Version, done: &done.Done,
		location: "/v1/transactions/" + t.ID.String(),
	}, nil
}

func statusOf(t *bank.Transaction) int {
	if t.Status == bank.PendingReview {
		return http.StatusAccepted
	}
	return http.StatusCreated
}

// show is transaction for an answer that is nothing else.
func (q *request) show(t *bank.Transaction, projected bool) render.TransactionJSON {
	return render.TransactionJSON{Of: t, To: q.reader(), Projected: projected}
}

func (q *request) transaction(t *bank.Transaction) render.Transaction {
	return render.TransactionOf(t, q.reader(), false)
}

// reader is zero for those who see everything, else the customer that the caller is.
func (q *request) reader() render.Reader {
	if q.principal.MayRead(bank.CustomerID{}) {
		return render.Reader{}
	}
	return render.Reader{Customer: q.principal.Customer}
}

func getTransaction(q *request) (response, error) {
	id, err := pathID(q, bank.ParseID[bank.Transaction])
	if err != nil {
		return response{}, err
	}
	if params := q.query(); params.err != nil {
		return response{}, params.err
	}
	t, fresh, err := q.App.Transaction(q.ctx(), q.principal, id)
	if err != nil {
		return response{}, err
	}
	return response{
		status: http.StatusOK, body: q.show(&t, false), version: t.Version, stale: fresh.Stale, tags: true,
	}, nil
}

func listTransactions(q *request) (response, error) {
	params := q.query()
	page := q.page(params)
	f := app.TransactionFilter{
		Page:           page.Page,
		Account:        parse(params, "account_id", bank.ParseID[bank.Account]),
		Customer:       parse(params, "customer_id", bank.ParseID[bank.Customer]),
		Kind:           parse(params, "kind", bank.ParseTransactionKind),
		Status:         parse(params, "status", bank.ParseTransactionStatus),
		Reference:      params.text("reference"),
		Hold:           parse(params, "hold_id", bank.ParseID[bank.Hold]),
		CorrelationID:  params.text("correlation_id"),
		IdempotencyKey: params.text("idempotency_key"),
	}
	if params.err != nil {
		return response{}, params.err
	}
	f.Limit++ // one more tells whether there is a next page
	found, fresh, err := q.App.Transactions(q.ctx(), q.principal, f)
	if err != nil {
		return response{}, err
	}
	return response{status: http.StatusOK, body: listOf(page, found, q.transaction, placeOf), stale: fresh.Stale}, nil
}

func placeOf(t *bank.Transaction) cursor.Place {
	if t.PostedAt == 0 {
		return cursor.Place{Time: t.CreatedAt, ID: t.ID.String()}
	}
	return cursor.Place{Time: t.PostedAt, ID: t.ID.String()}
}

type bulkBody struct {
	Items  body.Items[transferBody] `json:"items"`
	Atomic body.Opt[body.Flag]      `json:"atomic,omitzero"`
}

// BulkAnswer says what became of each item of a bulk, in the order of the request. bulkJSON writes it.
type BulkAnswer struct {
	Succeeded int          `json:"succeeded"`
	Failed    int          `json:"failed"`
	Results   []BulkResult `json:"results" nullable:"false"`
}

// BulkResult is what became of one item: a transaction, or a problem.
type BulkResult struct {
	Status      int                 `json:"status" example:"201"`
	Transaction *render.Transaction `json:"transaction,omitempty"`
	Problem     *Problem            `json:"problem,omitempty"`
}

func bulk(q *request, call app.Call, in *bulkBody, report *body.Report) (response, error) {
	cmd := bank.Bulk{
		Items: make([]bank.Transfer, len(in.Items)), Refused: refusedItems(report, len(in.Items)),
		Atomic: !in.Atomic.Given || bool(in.Atomic.Value),
	}
	for i := range in.Items {
		cmd.Items[i] = in.Items[i].command()
	}
	done, err := q.App.BulkTransfer(q.ctx(), call, cmd)
	if err != nil {
		return response{done: &done.Done}, atomicRefusal(err)
	}
	answer := &bulkJSON{q, done.Items, call.DryRun}
	return response{status: http.StatusOK, body: answer, done: &done.Done}, nil
}

// bulkJSON is a BulkAnswer, ready to be written.
type bulkJSON struct {
	q         *request
	items     []app.BulkItem
	projected bool
}

// usualResult is how many bytes are enough for nearly all results.
const usualResult = 1 << 10

// AppendJSON appends what encoding/json makes of the BulkAnswer.
func (j *bulkJSON) AppendJSON(b []byte) []byte {
	failed := 0
	for i := range j.items {
		if j.items[i].Refused != nil {
			failed++
		}
	}
	b = slices.Grow(b, usualResult*len(j.items))
	b = strconv.AppendInt(append(b, `{"succeeded":`...), int64(len(j.items)-failed), 10)
	b = strconv.AppendInt(append(b, `,"failed":`...), int64(failed), 10)
	b = append(b, `,"results":[`...)
	for i := range j.items {
		if i > 0 {
			b = append(b, ',')
		}
		b = j.appendResult(b, &j.items[i])
	}
	return append(b, `]}`...)
}

func (j *bulkJSON) appendResult(b []byte, item *app.BulkItem) []byte {
	b = append(b, `{"status":`...)
	if item.Refused != nil {
		e := *item.Refused
		e.Item = -1 // pointers are into the item
		p := problemOf(&e, j.q.gin.Request.URL.Path, j.q.correlation)
		b = append(strconv.AppendInt(b, int64(p.Status), 10), `,"problem":`...)
		return append(append(b, encode(nil, p)...), '}')
	}
	status := statusOf(item.Transaction)
	if j.projected {
		status = http.StatusOK
	}
	b = append(strconv.AppendInt(b, int64(status), 10), `,"transaction":`...)
	return append(j.q.show(item.Transaction, j.projected).AppendJSON(b), '}')
}

// refusedItems has for each item that is well formed but cannot be the first reason: a problem at
// /items/1/amount/amount is one of item 1. nil: all can be.
func refusedItems(report *body.Report, items int) []*bank.Error {
	if len(report.Refused) == 0 {
		return nil
	}
	out := make([]*bank.Error, items)
	for _, p := range report.Refused {
		index, field, _ := strings.Cut(strings.TrimPrefix(p.Pointer, "/items/"), "/")
		if i, err := strconv.Atoi(index); err == nil && out[i] == nil {
			out[i] = bank.Refuse(p.Code, field, p.Detail)
		}
	}
	return out
}

// atomicRefusal is 422 whatever the first refused item's code is alone.
func atomicRefusal(err error) error {
	var e *bank.Error
	if errors.As(err, &e) && e.Item >= 0 {
		return &refusal{what: e, status: http.StatusUnprocessableEntity}
	}
	return err
}
