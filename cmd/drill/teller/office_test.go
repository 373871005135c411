package teller_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"bankforge/cmd/drill/journal"
	"bankforge/cmd/drill/teller"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// forged is a bank that answers what it is told to.
type forged struct {
	mu     sync.Mutex
	asked  []string // the keys, in order
	answer func(n int, w http.ResponseWriter)
}

func (f *forged) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	f.mu.Lock()
	f.asked = append(f.asked, r.Header.Get("Idempotency-Key"))
	n := len(f.asked)
	f.mu.Unlock()
	f.answer(n, w)
}

func office(t *testing.T, f *forged) (o *teller.Office, journalPath string) {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	journalPath = filepath.Join(t.TempDir(), "journal")
	j, err := journal.Open(journalPath)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	c := teller.NewClient(server.URL, "token")
	t.Cleanup(c.Close)
	return teller.NewOffice(c, j, 7), journalPath
}

func say(status int, body string) func(int, http.ResponseWriter) {
	return func(_ int, w http.ResponseWriter) {
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "1")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func problem(status int, code string) string {
	return fmt.Sprintf(`{"status":%d,"code":%q}`, status, code)
}

func TestWhatAnAnswerSays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer func(int, http.ResponseWriter)
		fate   journal.Fate
		found  string
	}{
		"done":         {say(201, `{"id":"acc_1"}`), journal.Acked, ""},
		"refused":      {say(422, problem(422, "insufficient_funds")), journal.Rejected, ""},
		"not done":     {say(503, problem(503, "unavailable")), journal.NotDone, ""},
		"overloaded":   {say(503, problem(503, "overloaded")), journal.NotDone, ""},
		"unknown":      {say(503, problem(503, "outcome_unknown")), journal.Unknown, ""},
		"broken off":   {func(int, http.ResponseWriter) { panic(http.ErrAbortHandler) }, journal.Unknown, ""},
		"a failure":    {say(500, problem(500, "internal_error")), journal.Unknown, "unexpected: 500"},
		"no problem":   {say(503, "sorry"), journal.Unknown, "without a problem"},
		"a key's twin": {say(422, problem(422, "idempotency_key_reused")), journal.Unknown, "a key is taken"},
		"impatient": {func(_ int, w http.ResponseWriter) {
			http.Error(w, problem(503, "unavailable"), http.StatusServiceUnavailable)
		}, journal.Unknown, "without Retry-After"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, _ := office(t, &forged{answer: c.answer})
			_ = o.Setup(t.Context()) // which only "done" lets come to its end
			if got := o.Commands()[0].Fate; got != c.fate {
				t.Errorf("it is %s, want %s", got, c.fate)
			}
			if found := strings.Join(o.Findings(), "; "); c.found == "" && found != "" || !strings.Contains(found, c.found) {
				t.Errorf("found %q, want %q", found, c.found)
			}
		})
	}
}

func TestTheSameKeyMustGiveTheSameBytes(t *testing.T) {
	t.Parallel()
	f := &forged{answer: say(201, `{"id":"acc_1"}`)}
	o, path := office(t, f)
	if err := o.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := o.Commands()[0]
	if err := o.Ask(t.Context(), c); err == nil || !strings.Contains(err.Error(), "does not say that it is replayed") {
		t.Errorf("done again: %v", err)
	}
	f.answer = func(_ int, w http.ResponseWriter) {
		w.Header().Set("Idempotency-Replayed", "true")
		say(201, `{"id":"acc_1"}`)(0, w)
	}
	if err := o.Ask(t.Context(), c); err != nil {
		t.Errorf("replayed: %v", err)
	}
	f.answer = say(201, `{"id":"acc_2"}`)
	if err := o.Ask(t.Context(), c); err == nil || !strings.Contains(err.Error(), "the same key gives") {
		t.Errorf("another answer: %v", err)
	}
	lines := journalOf(t, path)
	if len(lines) != 2*len(o.Commands()) || lines[0].Fate != journal.Intent || lines[0].Key != c.Key ||
		lines[1].Fate != journal.Acked || lines[1].Body != `{"id":"acc_1"}` {
		t.Errorf("the journal has %+v", lines)
	}
}

func TestTheSameSeedDoesTheSame(t *testing.T) {
	t.Parallel()
	var keys [2]string
	for i := range keys {
		f := &forged{answer: say(201, `{"id":"acc_1"}`)}
		o, _ := office(t, f)
		if err := o.Setup(t.Context()); err != nil {
			t.Fatal(err)
		}
		keys[i] = strings.Join(f.asked, " ")
	}
	if keys[0] != keys[1] || keys[0] == "" {
		t.Errorf("asked %q, then %q", keys[0], keys[1])
	}
}

func TestMoneyIsText(t *testing.T) {
	t.Parallel()
	var m teller.Money
	if err := json.Unmarshal([]byte(`{"amount":"-12","currency":"EUR"}`), &m); err != nil || m.Minor != -12 {
		t.Errorf("%v, %v", m, err)
	}
	if json.Unmarshal([]byte(`{"amount":12}`), &m) == nil {
		t.Error("a number was read as money")
	}
}

func journalOf(t *testing.T, path string) []journal.Line {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := journal.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}
