package ports

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"iter"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/ports/cursor"
	"bankforge/ports/render"
)

// EntryRow is one entry of an account's history.
type EntryRow struct {
	PostedAt      string       `json:"posted_at" format:"date-time"`
	ValueDate     string       `json:"value_date" format:"date"`
	TransactionID string       `json:"transaction_id"`
	Kind          string       `json:"kind" enum:"deposit,withdrawal,transfer,capture,reversal"`
	Direction     string       `json:"direction" enum:"debit,credit"`
	Amount        render.Money `json:"amount"`
	BalanceAfter  render.Money `json:"balance_after"`
	Version       uint64       `json:"version" minimum:"1" doc:"The account's version."`
	Reference     *string      `json:"reference"`
	Description   *string      `json:"description"`
}

func entryShown(e *app.EntryRow) EntryRow {
	return EntryRow{
		PostedAt: render.Time(e.PostedAt), ValueDate: e.ValueDate.String(), TransactionID: e.Transaction.String(),
		Kind: e.Kind.String(), Direction: render.Direction(e.Amount), Amount: render.MoneyOf(magnitude(e.Amount), e.Currency),
		BalanceAfter: render.MoneyOf(e.BalanceAfter, e.Currency), Version: uint64(e.Version),
		Reference: render.Maybe(e.Reference), Description: render.Maybe(e.Description),
	}
}

func magnitude(n int64) int64 { return max(n, -n) }

// listEntries pages by the account's version. after_version is the last one that the caller has, in either order.
func listEntries(q *request) (response, error) {
	id, err := pathID(q, bank.ParseID[bank.Account])
	if err != nil {
		return response{}, err
	}
	params := q.query()
	page := q.page(params)
	have := bank.Version(params.number("after_version", 0, maxVersion))
	if params.err != nil {
		return response{}, params.err
	}
	f := app.EntryFilter{
		Account: id, AfterVersion: bank.Version(max(page.AfterTime, 0)), Limit: page.Limit + 1, Ascending: page.Ascending,
		From: page.From, To: page.To,
	}
	if page.Ascending {
		f.AfterVersion = max(f.AfterVersion, have)
	}
	found, fresh, err := q.App.Entries(q.ctx(), q.principal, f)
	if err != nil {
		return response{}, err
	}
	for i := range found { // newest first: it ends where the caller's own knowledge begins
		if found[i].Version <= have {
			found = found[:i]
			break
		}
	}
	at := func(e *app.EntryRow) cursor.Place {
		return cursor.Place{Time: bank.Time(e.Version)}
	}
	return response{status: http.StatusOK, body: listOf(page, found, entryShown, at), stale: fresh.Stale}, nil
}

// Statement is what happened on an account in a time.
type Statement struct {
	Account        render.Account `json:"account" doc:"As it is at the end, or as it was opened when that came later."`
	From           *string        `json:"from" format:"date-time" doc:"null: from the beginning"`
	To             *string        `json:"to" format:"date-time" doc:"null: until now"`
	OpeningBalance render.Money   `json:"opening_balance"`
	ClosingBalance render.Money   `json:"closing_balance"`
	Entries        []EntryRow     `json:"entries" nullable:"false" doc:"Ascending."`
}

// getStatement streams: a long statement needs no more memory than a short one.
func getStatement(q *request) (response, error) {
	id, err := pathID(q, bank.ParseID[bank.Account])
	if err != nil {
		return response{}, err
	}
	params := q.query()
	from, _ := params.instant("from")
	to, _ := params.instant("to")
	if params.err != nil {
		return response{}, params.err
	}
	format := accepted(q.gin.Request.Header.Values("Accept"), "application/json", "text/csv")
	if format == "" {
		return response{}, refuse(codeNotAcceptable, "Statements are application/json or text/csv.")
	}
	s, fresh, err := q.App.Statement(q.ctx(), q.principal, id, from, to)
	if err != nil {
		return response{}, err
	}
	h := q.gin.Writer.Header()
	if fresh.Stale {
		h.Set("Bankforge-Stale", "true")
	}
	h.Set("Content-Type", format)
	h.Set("Vary", "Accept")
	q.gin.Status(http.StatusOK)
	if format == "text/csv" {
		err = writeCSV(q.gin.Writer, s.Entries)
	} else {
		err = q.writeStatement(&s)
	}
	if err != nil {
		q.Log.Error("a statement broke off", "correlation_id", q.correlation, "error", err)
		panic(http.ErrAbortHandler) // so that the caller does not take it for whole
	}
	return response{}, nil
}

func (q *request) writeStatement(s *app.Statement) error {
	c := s.Account.Currency
	head, err := json.Marshal(Statement{
		Account: q.account(&s.Account), From: render.MaybeTime(s.From), To: render.MaybeTime(s.To),
		OpeningBalance: render.MoneyOf(s.Opening, c), ClosingBalance: render.MoneyOf(s.Closing, c), Entries: []EntryRow{},
	})
	if err != nil {
		return err
	}
	w := q.gin.Writer
	if _, err := w.Write(head[:len(head)-len("]}")]); err != nil {
		return err
	}
	first := true
	for e, err := range s.Entries {
		if err != nil {
			return err
		}
		line, err := json.Marshal(entryShown(&e))
		if err != nil {
			return err
		}
		if !first {
			line = append([]byte{','}, line...)
		}
		first = false
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	_, err = w.WriteString("]}")
	return err
}

var csvHeader = []string{
	"posted_at", "value_date", "transaction_id", "kind", "direction", "amount", "currency", "balance_after", "version",
	"reference", "description",
}

func writeCSV(w io.Writer, entries iter.Seq2[app.EntryRow, error]) error {
	out := csv.NewWriter(w)
	if err := out.Write(csvHeader); err != nil {
		return err
	}
	for e, err := range entries {
		if err != nil {
			return err
		}
		err := out.Write([]string{
			render.Time(e.PostedAt), e.ValueDate.String(), e.Transaction.String(), e.Kind.String(), render.Direction(e.Amount),
			strconv.FormatInt(magnitude(e.Amount), 10), e.Currency.String(), strconv.FormatInt(e.BalanceAfter, 10),
			strconv.FormatUint(uint64(e.Version), 10), cell(e.Reference), cell(e.Description),
		})
		if err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// cell keeps spreadsheets from taking a text for a formula: OWASP's advice is an apostrophe in front.
func cell(s string) string {
	if s != "" && strings.IndexByte("=+-@\t\r", s[0]) >= 0 {
		return "'" + s
	}
	return s
}

// accepted is the one of the formats that the Accept header prefers, the first when it does not say, or "".
func accepted(header []string, formats ...string) string {
	value := strings.Join(header, ",")
	if strings.TrimSpace(value) == "" {
		return formats[0]
	}
	best, bestQ := "", 0.0
	for _, f := range formats {
		quality, exact := 0.0, -1
		for part := range strings.SplitSeq(value, ",") {
			t, params, err := mime.ParseMediaType(strings.TrimSpace(part))
			if err != nil {
				continue
			}
			how := specific(t, f)
			if how <= exact {
				continue
			}
			exact, quality = how, 1
			if q, given := params["q"]; given {
				quality, _ = strconv.ParseFloat(q, 64)
			}
		}
		if quality > bestQ {
			best, bestQ = f, quality
		}
	}
	return best
}

// specific is how closely a media range names a format: -1 not, 0 as anything, 1 by its kind, 2 exactly.
func specific(mediaRange, format string) int {
	kind, _, _ := strings.Cut(format, "/")
	switch mediaRange {
	case format:
		return 2
	case kind + "/*":
		return 1
	case "*/*":
		return 0
	}
	return -1
}
