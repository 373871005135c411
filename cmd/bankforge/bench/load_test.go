package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// answering is a server that gives the same answers in turn.
func answering(t *testing.T, with ...http.HandlerFunc) string {
	t.Helper()
	var n atomic.Uint64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the connection is used again
		with[(n.Add(1)-1)%uint64(len(with))](w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func says(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const posted = `{"id":"txn_1","status":"posted"}`

func TestLoadCountsEveryAnswer(t *testing.T) {
	t.Parallel()
	hangUp := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	url := answering(t,
		says(201, posted),
		says(503, `{"code":"overloaded"}`, "Retry-After", "1"),
		says(503, `{"code":"overloaded"}`),
		says(429, `no json`, "Retry-After", "0"),
		says(201, posted, "Idempotency-Replayed", "true"),
		says(201, `{"status":"rejected"}`),
		says(200, posted),
		hangUp)
	l := Load{URL: url, Token: "t", Kind: Transfers, Accounts: []string{"a", "b"}, Connections: 1, Duration: time.Second}
	o, err := l.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	round := int(o.Sent / 8)
	if round < 1 || o.Accepted == 0 || o.Accepted != o.Latency.Count() {
		t.Fatalf("%d sent, %d accepted", o.Sent, o.Accepted)
	}
	for _, code := range []string{"503 overloaded", "429", codeReplayed, codeWrong, "200", codeConnection} {
		n := o.Errors[code]
		if code == "503 overloaded" {
			n /= 2
		}
		if n < round || n > round+1 {
			t.Errorf("%s: %d in %d rounds", code, o.Errors[code], round)
		}
	}
	if o.NoRetryAfter < 2*round || o.NoRetryAfter > 2*round+2 {
		t.Errorf("%d refusals without Retry-After in %d rounds", o.NoRetryAfter, round)
	}
	var out bytes.Buffer
	if err := o.Print(&out, "table"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"transfers/s", "p50", "p95", "p99", "503 overloaded: ", "connection: "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %s", want, out.String())
		}
	}
}

func TestLoadKeepsItsRate(t *testing.T) {
	t.Parallel()
	var marked sync.Map
	l := Load{URL: answering(t, says(201, posted)), Token: "t", Kind: Hot, Accounts: []string{"a", "b", "c"},
		Connections: 4, Duration: time.Second, Rate: 100, Mark: func(n uint64, _ time.Time) string {
			if _, twice := marked.LoadOrStore(n, true); twice {
				t.Errorf("number %d was given twice", n)
			}
			return fmt.Sprint("bench-", n)
		}}
	o, err := l.Run(t.Context())
	if err != nil || o.Accepted == 0 || o.Accepted > 104 || len(o.Errors) > 0 {
		t.Errorf("100 a second are %+v, %v", o, err)
	}
}

func TestLoadRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	for want, l := range map[string]Load{
		"--url":      {URL: "127.0.0.1:1", Accounts: []string{"a", "b"}, Connections: 1, Duration: time.Second},
		"refused":    {URL: "http://127.0.0.1:1", Accounts: []string{"a", "b"}, Connections: 1, Duration: time.Second},
		"--accounts": {URL: "http://127.0.0.1:1", Accounts: []string{"a"}, Connections: 1, Duration: time.Second},
	} {
		if _, err := l.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", l, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := Load{URL: answering(t, says(201, posted)), Accounts: []string{"a", "b"}, Connections: 1, Duration: time.Minute}
	if _, err := l.Run(ctx); err == nil {
		t.Error("it runs on though its context has ended")
	}
}

var sentTransfer = regexp.MustCompile(`^\{"from_account_id":"(\w)","to_account_id":"(\w)",` +
	`"amount":\{"amount":"1","currency":"EUR"\}\}$`)

func TestRequests(t *testing.T) {
	t.Parallel()
	base, err := parseURL("http://bank.example:8080")
	if err != nil {
		t.Fatal(err)
	}
	version4 := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	keys := map[string]bool{}
	for _, kind := range []Kind{Transfers, Hot} {
		w := newWriter(kind, base, "secret", []string{"a", "b", "c"}, nil)
		for range 1000 {
			r := parse(t, w.next("bench-1"))
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			m := sentTransfer.FindSubmatch(body)
			if m == nil || bytes.Equal(m[1], m[2]) || kind == Hot && m[1][0] != 'a' && m[2][0] != 'a' {
				t.Fatalf("%s sends %s", kind, body)
			}
			key := r.Header.Get("Idempotency-Key")
			if !version4.MatchString(key) || keys[key] {
				t.Fatalf("key %s", key)
			}
			keys[key] = true
			if r.URL.Path != "/v1/transfers" || r.Header.Get("Authorization") != "Bearer secret" ||
				r.Host != "bank.example:8080" || r.Header.Get("X-Correlation-Id") != "bench-1" {
				t.Fatalf("%s sends %+v", kind, r)
			}
		}
	}
	r := parse(t, newWriter(Reads, base, "secret", []string{"a"}, nil).next(""))
	if r.Method != http.MethodGet || r.URL.Path != "/v1/accounts/a" {
		t.Errorf("reads send %+v", r)
	}
	r = parse(t, newWriter(Bulk, base, "secret", nil, bulks([]string{"a", "b"})).next(""))
	body, err := io.ReadAll(r.Body)
	if err != nil || r.URL.Path != "/v1/transfers/bulk" || bytes.Count(body, []byte("from_account_id")) != bulkItems {
		t.Errorf("bulks send %+v, %v", r, err)
	}
}

func parse(t *testing.T, wire []byte) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(wire)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}
