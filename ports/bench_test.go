package ports

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
)

// BenchmarkTransfer is a whole transfer in memory: doors, decision, answer.
func BenchmarkTransfer(b *testing.B) {
	h := open(b)
	from, to := h.account("", 1_000_000_000), h.account("", 0)
	benchmark(b, h.handler, h.token(teller), move(from, to, 1), http.StatusCreated)
}

// BenchmarkMalformedTransfer ends at the doors.
func BenchmarkMalformedTransfer(b *testing.B) {
	h := open(b)
	benchmark(b, h.handler, h.token(teller), `{"from_account_id":"a","to_account_id":"b"}`, http.StatusBadRequest)
}

// BenchmarkBareGin is what the engine costs that does nothing.
func BenchmarkBareGin(b *testing.B) {
	e := gin.New()
	e.POST("/v1/transfers", func(c *gin.Context) { c.Data(http.StatusCreated, "application/json", []byte("{}")) })
	benchmark(b, e, "token", "{}", http.StatusCreated)
}

func benchmark(b *testing.B, handler http.Handler, token, body string, status int) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, "/v1/transfers", strings.NewReader(body))
		r.Header["Authorization"] = []string{"Bearer " + token}
		r.Header["Content-Type"] = []string{"application/json"}
		r.Header["Idempotency-Key"] = []string{newKey()}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != status {
			b.Fatal(w.Code, w.Body)
		}
	}
}
