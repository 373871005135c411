package ports

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
)

// script is a hub that sends what it is told to, from after on.
type script struct {
	last  uint64
	fails error
	ended chan error // what ended a stream
}

func (s *script) Serve(http.ResponseWriter, *http.Request) error { return nil }

func (s *script) Follow(
	ctx context.Context, _, _ string, after *uint64, _ time.Duration, send func(uint64, []byte) error,
) error {
	if s.fails != nil {
		return s.fails
	}
	next := s.last + 1
	if after != nil {
		next = *after + 1
	}
	if err := send(0, nil); err != nil {
		return err
	}
	for ; next <= s.last; next++ {
		if err := send(next, []byte(`{"n":1}`)); err != nil {
			return err
		}
	}
	<-ctx.Done()
	s.ended <- ctx.Err()
	return ctx.Err()
}

func (s *script) MaySubscribe(_ context.Context, _ app.Principal, channel string) (bool, error) {
	return channel == "account:mine", nil
}

// readWithin is how long a request may take to arrive. Streams outlive it.
const readWithin = time.Second

func streams(t *testing.T, s *script, p app.Principal) *httptest.Server {
	t.Helper()
	s.ended = make(chan error, 1)
	l := &Live{Hub: s, Access: s}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := l.accountStream(w, r, p, r.URL.Query().Get("id")); err != nil {
			http.Error(w, err.Error(), http.StatusTeapot)
		}
	}))
	server.Config.ReadTimeout = readWithin
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// stream is an answer that is being read.
type stream struct {
	status int
	header http.Header
	body   io.Reader
	hangUp context.CancelFunc
}

func openStream(t *testing.T, server *httptest.Server, id, last string) stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"?id="+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return stream{resp.StatusCode, resp.Header, resp.Body, cancel}
}

func TestAnEventStreamGoesOnFromTheLastEvent(t *testing.T) {
	t.Parallel()
	s := &script{last: 7}
	got := openStream(t, streams(t, s, app.Principal{Subject: "ann"}), "mine", "5")
	if got.status != http.StatusOK || got.header.Get("Content-Type") != "text/event-stream" ||
		got.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("answered %d %v", got.status, got.header)
	}
	want := "retry: 1000\n\n: alive\n\nid: 6\ndata: {\"n\":1}\n\nid: 7\ndata: {\"n\":1}\n\n"
	text := make([]byte, len(want))
	if _, err := io.ReadFull(bufio.NewReader(got.body), text); err != nil || string(text) != want {
		t.Errorf("got %q (%v)", text, err)
	}
	got.hangUp()
	if err := <-s.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestAnEventStreamEndsWithItsToken(t *testing.T) {
	t.Parallel()
	s := &script{}
	server := streams(t, s, app.Principal{Subject: "ann", Expires: time.Now().Add(3 * readWithin / 2)})
	got := openStream(t, server, "mine", "")
	if _, err := io.ReadAll(got.body); err != nil {
		t.Errorf("the stream broke off: %v", err)
	}
	if err := <-s.ended; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ended with %v", err)
	}
}

func TestWhatCannotBeStreamedIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		id, last, want string
		fails          error
	}{
		"a foreign account":  {id: "theirs", want: string(bank.NotFound)},
		"no account":         {id: "", want: string(bank.NotFound)},
		"not a version":      {id: "mine", last: "x", want: "invalid_request"},
		"a negative version": {id: "mine", last: "-1", want: "invalid_request"},
		"a huge version":     {id: "mine", last: "9223372036854775808", want: "invalid_request"},
		"too many":           {id: "mine", want: "overloaded", fails: bank.Refuse(app.CodeOverloaded, "", "full")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := openStream(t, streams(t, &script{fails: c.fails}, app.Principal{Subject: "ann"}), c.id, c.last)
			text, err := io.ReadAll(got.body)
			if err != nil || got.status != http.StatusTeapot || !strings.Contains(string(text), c.want) {
				t.Errorf("answered %d %s (%v)", got.status, text, err)
			}
		})
	}
}
