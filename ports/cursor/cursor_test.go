package cursor

import (
	"net/url"
	"testing"

	"pgregory.net/rapid"

	"bankforge/app/bank"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := Of(rapid.String().Draw(t, "path"), url.Values{"status": {rapid.String().Draw(t, "status")}})
		p := Place{
			Time: bank.Time(rapid.Int64().Draw(t, "time")),
			ID:   rapid.StringMatching(`[!-~]{0,64}`).Draw(t, "id"),
		}
		got, ok := l.Decode(l.Encode(p))
		if !ok || got != p {
			t.Fatalf("%+v came back as %+v, %v", p, got, ok)
		}
	})
}

func TestACursorBelongsToItsList(t *testing.T) {
	t.Parallel()
	of := func(path, query string) List {
		v, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		return Of(path, v)
	}
	own := of("/v1/accounts", "status=active&currency=EUR&limit=5&cursor=x")
	text := own.Encode(Place{7, "acc_1"})
	for query, fits := range map[string]bool{
		"currency=EUR&status=active": true, "status=active&currency=EUR&limit=9": true, "status=active": false,
		"status=activecurrency=EUR": false, "status=frozen&currency=EUR": false,
		"status=active&currency=EUR&order=asc": false, "status=active&currency=EUR&order=desc": true,
	} {
		if _, ok := of("/v1/accounts", query).Decode(text); ok != fits {
			t.Errorf("%q: %v", query, ok)
		}
	}
	if _, ok := of("/v1/holds", "status=active&currency=EUR").Decode(text); ok {
		t.Error("it fits another path")
	}
}

// FuzzCursor reads any text: what is accepted is what Encode makes.
func FuzzCursor(f *testing.F) {
	l := Of("/v1/accounts", nil)
	f.Add(l.Encode(Place{1, "acc_06h09h3q657ss5pr9u4kq9irho"}))
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		if p, ok := l.Decode(text); ok && l.Encode(p) != text {
			t.Errorf("%q is read as %+v, which is %q", text, p, l.Encode(p))
		}
	})
}
