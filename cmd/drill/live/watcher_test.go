package live_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"bankforge/cmd/drill/live"
	"bankforge/cmd/drill/teller"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// push is a version as a bank sends it.
func push(version int) string {
	return fmt.Sprintf(`{"push":{"channel":"account:a","pub":%s}}`, pub(version))
}

func pub(version int) string {
	const data = `{"version":%d,"data":{` +
		`"balance":{"amount":"%d","currency":"EUR"},"held":{"amount":"0","currency":"EUR"}}}`
	return fmt.Sprintf(`{"offset":%d,"data":`+data+`}`, version, version, 10*version)
}

// subscribed answers who comes from somewhere.
func subscribed(recovered bool, epoch string, offset int, pubs ...string) string {
	return fmt.Sprintf(`{"id":2,"subscribe":{"recovered":%t,"epoch":%q,"offset":%d,"publications":[%s]}}`,
		recovered, epoch, offset, strings.Join(pubs, ","))
}

// watch lets a client that has seen version 5 listen to what a forged bank says, each time that it connects.
func watch(t *testing.T, habit live.Habit, enough func(live.Report) bool, says ...[]string) live.Report {
	t.Helper()
	connections := make(chan []string, len(says))
	for _, s := range says {
		connections <- s
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow() //nolint:errcheck // the client has seen enough
		if _, _, err := conn.Read(r.Context()); err != nil {
			return
		}
		select {
		case lines := <-connections:
			for _, line := range lines {
				if err := conn.Write(r.Context(), websocket.MessageText, []byte(line)); err != nil {
					return
				}
			}
		default:
		}
		_, _, _ = conn.Read(r.Context()) // until the client is gone
	}))
	defer server.Close()
	from := &teller.Seen{ID: "a"}
	from.Stream.Epoch, from.Stream.Offset = "e1", 5
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	w := live.New(server.URL, "token", from, habit)
	done := make(chan struct{})
	go func() { defer close(done); w.Watch(ctx) }()
	for ctx.Err() == nil && !enough(w.Report()) {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Errorf("it has only seen %+v", w.Report())
		}
	}
	cancel()
	<-done
	return w.Report()
}

func at(offset uint64) func(live.Report) bool {
	return func(r live.Report) bool { return r.Offset == offset }
}

func TestEachVersionOnceIsFine(t *testing.T) {
	t.Parallel()
	r := watch(t, live.Good, at(9),
		[]string{subscribed(true, "e1", 7, pub(6), pub(7)), "{}", push(8) + "\n" + push(9)})
	if len(r.Findings) > 0 || r.Seen != 4 || r.Balance != 90 || r.Blank {
		t.Errorf("%+v", r)
	}
}

func TestWhatABankMustNotSendIsFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		says []string
		want string
	}{
		"a gap":             {[]string{subscribed(true, "e1", 5), push(7)}, "where 6 belongs"},
		"a version twice":   {[]string{subscribed(true, "e1", 5), push(6), push(6)}, "where 7 belongs"},
		"a step back":       {[]string{subscribed(true, "e1", 6, pub(6)), push(5)}, "where 7 belongs"},
		"a gap in recovery": {[]string{subscribed(true, "e1", 8, pub(6), pub(8))}, "where 7 belongs"},
		"no recovery":       {[]string{subscribed(false, "e1", 8)}, "not brought what it missed"},
		"no JSON":           {[]string{"hello"}, "not JSON"},
		"an error":          {[]string{`{"id":2,"error":{"code":103}}`}, "error 103"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := watch(t, live.Good, func(r live.Report) bool { return len(r.Findings) > 0 }, c.says)
			if !strings.Contains(strings.Join(r.Findings, "; "), c.want) {
				t.Errorf("found %q, want %q", r.Findings, c.want)
			}
		})
	}
}

func TestAnotherEpochIsLoadedAnew(t *testing.T) {
	t.Parallel()
	r := watch(t, live.Good, at(3), []string{subscribed(false, "e2", 3)})
	if len(r.Findings) > 0 || r.Reloads != 1 || r.Epoch != "e2" || !r.Blank {
		t.Errorf("%+v", r)
	}
}

func TestARudeClientComesBackToWhereItWas(t *testing.T) {
	t.Parallel()
	var many []string
	for v := 6; v <= 40; v++ {
		many = append(many, push(v))
	}
	first := append([]string{subscribed(true, "e1", 5)}, many...)
	r := watch(t, live.Rude, func(r live.Report) bool { return r.Connects >= 2 }, first)
	if len(r.Findings) > 0 || r.Offset < 20 || r.Offset > 40 {
		t.Errorf("%+v", r)
	}
}
