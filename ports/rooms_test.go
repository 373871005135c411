package ports

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
)

// cutOff is a stream of HTTP/2 that ends while an answer is on its way: Write fails, and still sends what it was given.
type cutOff struct {
	*httptest.ResponseRecorder

	sending []byte
}

func (w *cutOff) Write(b []byte) (int, error) {
	w.sending = b
	return 0, context.Canceled
}

func TestWhatIsStillBeingSentIsNotWrittenOver(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.odd = true
	alices, bobs := h.account("", 100), h.account("", 200)
	for range 20 {
		r := httptest.NewRequest(http.MethodGet, "/v1/accounts/"+alices, nil)
		r.Header.Set("Authorization", "Bearer "+h.token(teller))
		w := &cutOff{ResponseRecorder: httptest.NewRecorder()}
		h.handler.ServeHTTP(w, r)
		before := string(w.sending)
		h.is(h.ask(h.token(teller), http.MethodGet, "/v1/accounts/"+bobs, ""), "200")
		if before == "" || string(w.sending) != before {
			t.Fatalf("while it is sent, %q becomes %q", before, w.sending)
		}
	}
}
