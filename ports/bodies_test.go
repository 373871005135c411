package ports

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"bankforge/app"
)

// TestBodiesAreNotMixed: requests share memory for their bodies, one after the other, and never at once.
func TestBodiesAreNotMixed(t *testing.T) {
	t.Parallel()
	owner, front := pair(t)
	a := owner.is(owner.post("/v1/accounts", `{"currency":"EUR"}`), "201").str("id")
	for name, h := range map[string]*house{"decided": owner, "forwarded": front} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token := h.token(app.RoleTeller)
			var all sync.WaitGroup
			for client := range 8 {
				all.Go(func() {
					for n := range 40 {
						mine := fmt.Sprintf("%s-%d", strings.Repeat(string(rune('a'+client)), 1+10*client), n)
						body := fmt.Sprintf(`{"account_id":%q,"amount":{"amount":"1","currency":"EUR"},"reference":%q}`, a, mine)
						got := h.ask(token, "POST", "/v1/deposits", body, "Idempotency-Key: "+newKey())
						if got.StatusCode != 201 || got.str("reference") != mine {
							t.Errorf("sent %s, got %s", body, got.text)
							return
						}
					}
				})
			}
			all.Wait()
		})
	}
}
