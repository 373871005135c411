package ports

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/codec"
	"bankforge/ports/render"
)

const ndjson = "application/x-ndjson"

// listEvents reads the log as it is: one line for each event, ascending.
func listEvents(q *request) (response, error) {
	params := q.query()
	after := bank.Seq(params.number("after_seq", 0, maxVersion))
	page := q.page(params)
	if params.err != nil {
		return response{}, params.err
	}
	found, err := q.App.Events(q.ctx(), after, page.Limit)
	if err != nil {
		return response{}, err
	}
	return response{}, q.writeEvents(found)
}

// listAccountEvents reads what happened to one account: one line for each version, ascending.
func listAccountEvents(q *request) (response, error) {
	id, err := pathID(q, bank.ParseID[bank.Account])
	if err != nil {
		return response{}, err
	}
	params := q.query()
	page := q.page(params)
	f := app.EventFilter{
		Account: id, AfterVersion: bank.Version(params.number("after_version", 0, maxVersion)),
		Limit: page.Limit, Ascending: true, From: page.From, To: page.To,
	}
	if params.err != nil {
		return response{}, params.err
	}
	found, err := q.App.AccountEvents(q.ctx(), q.principal, f)
	if err != nil {
		return response{}, err
	}
	return response{}, q.writeEvents(found)
}

func (q *request) writeEvents(found []app.Recorded) error {
	reader := q.reader()
	var out []byte
	for i := range found {
		e := &found[i]
		line, err := json.Marshal(render.EventLine{
			Seq: uint64(e.Seq), Type: codec.Name(e.Type), Time: render.Time(e.Time),
			CorrelationID: e.Meta.CorrelationID, Chain: hex.EncodeToString(e.Chain[:]), Data: render.EventOf(e, reader),
		})
		if err != nil {
			return fmt.Errorf("event %d: %w", e.Seq, err)
		}
		out = append(append(out, line...), '\n')
	}
	q.gin.Data(http.StatusOK, ndjson, out)
	return nil
}

// Head is where the log ends.
type Head struct {
	Seq         uint64  `json:"seq" example:"42" doc:"Of the last event; 0: there is none."`
	Chain       string  `json:"chain" doc:"The last event's, in hexadecimal."`
	Term        uint64  `json:"term" doc:"Changes with each process that takes the ledger over."`
	Incarnation string  `json:"incarnation" doc:"Changes when the log may have lost events: restore, failover."`
	Time        *string `json:"time" format:"date-time" doc:"Of the last event; null when there is none."`
}

func getHead(q *request) (response, error) {
	if params := q.query(); params.err != nil {
		return response{}, params.err
	}
	h, last, err := q.App.Head(q.ctx())
	if err != nil {
		return response{}, err
	}
	out := Head{
		Seq: uint64(h.Seq), Chain: hex.EncodeToString(h.Chain[:]), Term: h.Term, Incarnation: h.Incarnation,
		Time: render.MaybeTime(last),
	}
	return response{status: http.StatusOK, body: out}, nil
}

// Currency is one that accounts can be in.
type Currency struct {
	Code     string `json:"code" pattern:"^[A-Z]{3}$" example:"EUR"`
	Exponent int    `json:"exponent" minimum:"0" maximum:"4" example:"2" doc:"Decimal places of the major unit."`
}

// Currencies is a list that has only one page.
type Currencies struct {
	Data []Currency `json:"data" nullable:"false"`
}

func listCurrencies(q *request) (response, error) {
	if params := q.query(); params.err != nil {
		return response{}, params.err
	}
	all := bank.Currencies()
	out := Currencies{make([]Currency, len(all))}
	for i, c := range all {
		out.Data[i] = Currency{c.String(), c.Exponent()}
	}
	return response{status: http.StatusOK, body: out}, nil
}
