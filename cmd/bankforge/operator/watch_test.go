package operator

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/coder/websocket"
)

// watching runs the command against a live connection on which frames are told, and then closed says how it ends. It
// returns what was printed and what the client has sent.
func watching(t *testing.T, frames []string, end websocket.StatusCode, args ...string) (out, sent string, err error) {
	t.Helper()
	got := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil || r.URL.Path != "/v1/live" {
			t.Errorf("%s: %v", r.URL, err)
			return
		}
		var all bytes.Buffer
		defer func() { got <- all.String() }()
		_, first, err := conn.Read(r.Context())
		all.Write(first)
		for _, frame := range frames {
			if err == nil {
				err = conn.Write(r.Context(), websocket.MessageText, []byte(frame))
			}
		}
		if end != 0 {
			_ = conn.Close(end, "no\x1bmore")
			return
		}
		for err == nil {
			var text []byte
			_, text, err = conn.Read(r.Context())
			all.Write(text)
		}
	}))
	defer server.Close()
	var c struct {
		Watch Watch `cmd:""`
	}
	parser, err := kong.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	command, err := parser.Parse(append(append([]string{"watch"}, args...), "--url", server.URL, "--token", "t"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	command.BindTo(t.Context(), (*context.Context)(nil))
	command.BindTo(&b, (*io.Writer)(nil))
	err = command.Run()
	return b.String(), <-got, err
}

func pub(channel, data string) string {
	return `{"push":{"channel":"` + channel + `","pub":{"data":` + data + `}}}`
}

func TestWhatHappensIsWatched(t *testing.T) {
	t.Parallel()
	frames := []string{
		`{"id":1,"connect":{}}` + "\n" + `{"id":2,"subscribe":{}}`, "{}",
		pub("failures", `{"type":"failure.parked","occurred_at":"2026-05-31T12:00:00.5Z","data":{"id":"fail_1","class":null,
			"head":true,"key":"a\u001bb"}}`) + "\n" +
			pub("ops", `{"type":"handler.held","occurred_at":"2026-05-31T12:00:01Z","data":{"handler":"h","state":"held"}}`),
	}
	for i := range frames {
		frames[i] = strings.ReplaceAll(frames[i], "\n\t\t\t", "")
	}
	out, sent, err := watching(t, frames, 0, "--count", "2")
	want := "2026-05-31T12:00:00Z failures failure.parked head=true id=fail_1 key=a b\n" +
		"2026-05-31T12:00:01Z ops handler.held handler=h state=held\n"
	if err != nil || out != want {
		t.Errorf("%v: %q, want %q", err, out, want)
	}
	for _, part := range []string{
		`{"id":1,"connect":{"token":"t"}}`, `"channel":"failures"`, `"channel":"ops"`, "\n", "}{}",
	} {
		if !strings.Contains(sent, part) {
			t.Errorf("%q is not in %q", part, sent)
		}
	}
	out, sent, err = watching(t, frames, 0, "replay:rpl_1", "-o", "json", "--count", "1")
	if err != nil || !strings.HasPrefix(out, `{"channel":"failures","told":{"type":"failure.parked"`) ||
		!strings.Contains(sent, `"replay:rpl_1"`) || strings.Contains(sent, `"ops"`) {
		t.Errorf("%v: %s, %s", err, out, sent)
	}
}

func TestWatchingEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		frames []string
		end    websocket.StatusCode
		want   string
	}{
		"denied":    {[]string{`{"id":3,"error":{"code":103,"message":"denied"}}`}, 0, "103: ops: denied"},
		"no token":  {nil, 3500, "3500: no more"},
		"an error":  {[]string{`{"id":1,"error":{"code":100,"message":"internal"}}`}, 0, "100: internal"},
		"no JSON":   {[]string{`<html>`}, 0, "invalid character"},
		"no object": {[]string{pub("ops", `[]`)}, 0, "cannot unmarshal"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, _, err := watching(t, c.frames, c.end); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}
