package ports

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/ports/body"
	"bankforge/ports/render"
)

type bulkBody struct {
	Items  body.Items[transferBody] `json:"items"`
	Atomic body.Opt[body.Flag]      `json:"atomic,omitzero"`
}

// BulkAnswer says what became of each item of a bulk, in the order of the request.
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
	atomic := !in.Atomic.Given || bool(in.Atomic.Value)
	refused := refusedItems(report)
	if atomic && len(report.Refused) > 0 {
		call.Refusal = itemRefusal(report.Refused[0])
	}
	cmd := bank.Bulk{Atomic: atomic}
	for i := range in.Items {
		if atomic || refused[i] == nil {
			cmd.Items = append(cmd.Items, in.Items[i].command())
		}
	}
	var done app.BulkDone
	if len(cmd.Items) > 0 { // else there is nothing to ask the ledger, and nothing to remember
		var err error
		if done, err = q.App.BulkTransfer(q.ctx(), call, cmd); err != nil {
			return response{}, atomicRefusal(err)
		}
	}
	out := BulkAnswer{Results: make([]BulkResult, 0, len(in.Items))}
	next := 0
	for i := range in.Items {
		item := app.BulkItem{Refused: refused[i]}
		if item.Refused == nil {
			item = done.Items[next]
			next++
		}
		out.add(q, &call, item)
	}
	return response{status: http.StatusOK, body: out, done: &done.Done}, nil
}

func (b *BulkAnswer) add(q *request, call *app.Call, item app.BulkItem) {
	if item.Refused != nil {
		e := *item.Refused
		e.Item = -1 // pointers are into the item
		p := problemOf(&e, q.gin.Request.URL.Path, q.correlation)
		b.Failed++
		b.Results = append(b.Results, BulkResult{Status: p.Status, Problem: &p})
		return
	}
	t := render.TransactionOf(item.Transaction, q.reader(), call.DryRun)
	b.Succeeded++
	status := statusOf(item.Transaction)
	if call.DryRun {
		status = http.StatusOK
	}
	b.Results = append(b.Results, BulkResult{Status: status, Transaction: &t})
}

// refusedItems are the items that are well formed but cannot be, by their index.
func refusedItems(report *body.Report) map[int]*bank.Error {
	out := map[int]*bank.Error{}
	for _, p := range report.Refused {
		if e := itemRefusal(p); out[e.Item] == nil {
			out[e.Item] = e
		}
	}
	return out
}

// itemRefusal is a problem at /items/1/amount/amount as the refusal of item 1.
func itemRefusal(p body.Problem) *bank.Error {
	rest := strings.TrimPrefix(p.Pointer, "/items/")
	index, field, _ := strings.Cut(rest, "/")
	item, err := strconv.Atoi(index)
	if err != nil {
		item = -1
	}
	return &bank.Error{Code: p.Code, Field: field, Detail: p.Detail, Item: item}
}

// atomicRefusal is 422 whatever the first refused item's code is alone.
func atomicRefusal(err error) error {
	var e *bank.Error
	if errors.As(err, &e) && e.Item >= 0 {
		return &refusal{Error: e, status: http.StatusUnprocessableEntity}
	}
	return err
}
