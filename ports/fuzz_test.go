package ports

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzTransferBody sends any bytes as the body of a transfer, and expects an answer that is no fault of ours.
func FuzzTransferBody(f *testing.F) {
	h := open(f)
	a, b := h.account("", 1000), h.account("", 0)
	token := h.token(teller)
	for _, seed := range []string{
		move(a, b, 1), `{}`, `[]`, `{"from_account_id":1}`,
		strings.Replace(move(a, b, 1), "{", `{"metadata":{"a":"b"},"value_date":"2026-01-01",`, 1),
		`{"amount":{"amount":"99999999999999999999","currency":"EUR"}}`, "\xff", strings.Repeat("[", 50), `{"a":1,"a":2}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/v1/transfers", bytes.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", newKey())
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, r)
		switch w.Code {
		case 201, 400, 409, 422:
		default:
			t.Errorf("%q: %d %s", body, w.Code, w.Body)
		}
	})
}
