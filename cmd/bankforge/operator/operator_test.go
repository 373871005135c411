package operator

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// cli is the part of the command line that is tested.
type cli struct {
	Failures     Failures     `cmd:""`
	Handlers     Handlers     `cmd:""`
	Sequences    Sequences    `cmd:""`
	Replays      Replays      `cmd:""`
	Acts         Acts         `cmd:""`
	Trace        Trace        `cmd:""`
	DemoFailures DemoFailures `cmd:""`
	Watch        Watch        `cmd:""`
}

// fake is a bank that answers what the test says, and keeps what it was asked.
type fake struct {
	anything bool   // it answers whatever it is asked
	always   string // with this; "": with what fits

	answers map[string][]string // method and path → "status body", the last one again and again
	asked   []string            // method, path and query, If-Match, Idempotency-Key, body
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.asked = append(f.asked, strings.TrimSpace(strings.Join([]string{
		r.Method, r.URL.RequestURI(), r.Header.Get("If-Match") + r.Header.Get("Idempotency-Key"), string(body)}, " ")))
	if f.anything {
		status, text := f.anyAnswer(r)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
		return
	}
	door := r.Method + " " + r.URL.EscapedPath()
	all := f.answers[door]
	if len(all) == 0 || r.Header.Get("Authorization") != "Bearer t" {
		w.WriteHeader(http.StatusNotImplemented)
		return
	}
	status, text, _ := strings.Cut(all[0], " ")
	if len(all) > 1 {
		f.answers[door] = all[1:]
	}
	w.WriteHeader(map[string]int{"200": 200, "201": 201, "202": 202, "404": 404, "409": 409, "502": 502}[status])
	_, _ = io.WriteString(w, text)
}

// run runs a command against the bank, and returns what it prints and fails with.
func (f *fake) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	server := httptest.NewServer(f)
	defer server.Close()
	var c cli
	parser, err := kong.New(&c, kong.Exit(func(int) { t.Error("it ends the program") }))
	if err != nil {
		t.Fatal(err)
	}
	command, err := parser.Parse(append(args, "--url", server.URL, "--token", "t"))
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	command.BindTo(t.Context(), (*context.Context)(nil))
	command.BindTo(&out, (*io.Writer)(nil))
	err = command.Run()
	return out.String(), err
}

const done = `200 {"event_id":"act_1","kind":"handler.pause","status":"done"}`

func TestActsOfOperators(t *testing.T) {
	t.Parallel()
	policy := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(policy, []byte(`{"timeout_ms":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	const set = "PUT /ops/v1/handlers/h/policy "
	for args, want := range map[string]string{
		"failures retry fail_1":                       `POST /ops/v1/failures/fail_1/retry  {"reason":"x"}`,
		"failures retry --handler h --key a/b?":       `POST /ops/v1/sequences/h/a%2Fb%3F/retry  {"reason":"x"}`,
		"failures retry --fingerprint fp_1":           `POST /ops/v1/failure-groups/fp_1/retry  {"reason":"x"}`,
		"failures discard fail_1":                     `POST /ops/v1/failures/fail_1/discard  {"reason":"x"}`,
		"handlers pause h":                            `POST /ops/v1/handlers/h/pause  {"reason":"x"}`,
		"handlers resume h":                           `POST /ops/v1/handlers/h/resume  {"reason":"x"}`,
		"handlers policy h --set F --if-version 3":    set + `"3" {"reason":"x","policy":{"timeout_ms":1}}`,
		"handlers policy h --set F --output json":     set + ` {"reason":"x","policy":{"timeout_ms":1}}`,
		"handlers pause h -o json":                    `POST /ops/v1/handlers/h/pause  {"reason":"x"}`,
		"failures retry fail_1 --output=table":        `POST /ops/v1/failures/fail_1/retry  {"reason":"x"}`,
		"failures retry --key k --handler h -o json":  `POST /ops/v1/sequences/h/k/retry  {"reason":"x"}`,
		"failures rebuild --handler h --key k --wait": `POST /ops/v1/sequences/h/k/rebuild  {"reason":"x"}`,
		"failures schedule fail_1 --at 2031-05-01T06:00:00Z": `POST /ops/v1/failures/fail_1/schedule  ` +
			`{"reason":"x","at":"2031-05-01T06:00:00Z"}`,
		"sequences retry h a/b":                     `POST /ops/v1/sequences/h/a%2Fb/retry  {"reason":"x"}`,
		"sequences rebuild h k":                     `POST /ops/v1/sequences/h/k/rebuild  {"reason":"x"}`,
		"sequences pause h k":                       `POST /ops/v1/sequences/h/k/pause  {"reason":"x"}`,
		"sequences resume h k --idempotency-key i1": `POST /ops/v1/sequences/h/k/resume i1 {"reason":"x"}`,
		"replays start rpl_1":                       `POST /ops/v1/replays/rpl_1/start  {"reason":"x"}`,
		"replays cancel rpl_1":                      `POST /ops/v1/replays/rpl_1/cancel  {"reason":"x"}`,
		"demo-failures on":                          `POST /ops/v1/demo-failures  {"reason":"x","enabled":true}`,
		"demo-failures off -o json":                 `POST /ops/v1/demo-failures  {"reason":"x","enabled":false}`,
	} {
		method, rest, _ := strings.Cut(want, " ")
		path, _, _ := strings.Cut(rest, " ")
		f := &fake{answers: map[string][]string{method + " " + path: {done}}}
		out, err := f.run(t, append(strings.Fields(strings.ReplaceAll(args, " F", " "+policy)), "--reason", "x")...)
		if err != nil || !strings.Contains(out, "act_1") || strings.Join(f.asked, "\n") != want {
			t.Errorf("%s: %v, asks %v, prints %s", args, err, f.asked, out)
		}
	}
}

func TestWrongCalls(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"failures retry --reason x": "give the id", "failures retry f --key k --handler h --reason x": "give the id",
		"failures retry --key k --reason x": "give the id", "failures retry f": "--reason",
		"failures retry f --fingerprint p --reason x": "give the id", "failures discard --reason x": "expected",
		"failures ls --limit x": "--limit", "failures ls -o yaml": "--output", "handlers pause --reason x": "expected",
		"handlers policy h --set f": "--set needs --reason", "handlers policy h --reason x": "for --set",
		"handlers policy h --set f --reason x --if-version -1": "--if-version",
		"handlers policy h --set f --reason x --if-version 0":  "--if-version", "failures ls --url x": "--url",
		"failures ls --token=": "--token", "failures rebuild --handler h --reason x": "--key",
		"failures schedule f --reason x": "--at", "sequences retry h --reason x": "expected",
		"sequences pause h k": "--reason",
		// What is empty selects nothing, and must not select everything.
		"failures replay --fingerprint= --reason x": "--fingerprint", "failures ls --handler=": "--handler",
		"failures retry f --reason=": "--reason", "handlers resume h --reason x --idempotency-key=": "--idempotency-key",
		"failures ls --limit 0": "--limit", "failures groups --limit=-1": "--limit", "sequences ls --limit=0": "--limit",
		"sequences show h k --limit=0": "--limit", "acts ls --limit 0": "--limit", "replays ls --limit 0": "--limit",
		"watch --count=-1":         "--count",
		"replays start --reason x": "expected", "acts show": "expected", "trace": "expected", "demo-failures off": "--reason",
	} {
		f := &fake{}
		var c cli
		parser, err := kong.New(&c)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(args, "--token") {
			args += " --token t"
		}
		if _, err := parser.Parse(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
		if len(f.asked) > 0 {
			t.Errorf("%s asks %v", args, f.asked)
		}
	}
}

// What is refused, or failed, is an error, whatever is printed of it; and nothing of it reaches the terminal raw.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		`409 {"code":"not_head","detail":"\u001b[2Jno","event_id":"act_1"}`:                  "2Jno (recorded as act_1)",
		`200 {"event_id":"act_1","status":"failed","code":"failed_again","detail":"no row"}`: "failed_again: no row",
		`200 {"event_id":"act_1","status":"refused","code":"not_head","detail":"late"}`:      "not_head: late",
		`502 <html>`: "502 Bad Gateway", `200 {`: "unexpected end", `200 []`: "cannot unmarshal",
	} {
		for _, format := range []string{"table", "json"} {
			f := &fake{answers: map[string][]string{"POST /ops/v1/failures/f/retry": {answer}}}
			out, err := f.run(t, "failures", "retry", "f", "--reason", "x", "-o", format)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", answer, err, want)
			}
			if strings.Contains(out, "\x1b") {
				t.Errorf("%s: prints %q", answer, out)
			}
			if code := strings.Contains(out, `"not_head"`); format == "json" && code != strings.Contains(answer, "not_head") {
				t.Errorf("%s: prints %s", answer, out)
			}
		}
	}
}

func TestListsOfOperators(t *testing.T) {
	t.Parallel()
	row := func(id, text string) string {
		return `{"id":"` + id + `","status":"parked","handler":"h","key":"k","error":"` + text +
			`","parked_at":"2026-05-31T12:00:00.5Z"}`
	}
	f := &fake{answers: map[string][]string{"GET /ops/v1/failures": {
		`200 {"data":[` + row("fail_1", `a\nb\u001b[31m`) + `],"next_cursor":"c&1"}`,
		`200 {"data":[` + row("fail_2", strings.Repeat("x", 500)) + `],"next_cursor":null}`,
	}}}
	out, err := f.run(t, "failures", "ls", "--class", "poison", "--limit", "201")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err != nil || len(lines) != 3 || !strings.HasPrefix(lines[1], "fail_1  parked") ||
		!strings.HasSuffix(lines[1], "a b [31m") || !strings.Contains(lines[1], "2026-05-31T12:00:00Z") ||
		!strings.HasSuffix(lines[2], "x…") {
		t.Errorf("%v: %q", err, out)
	}
	want := "GET /ops/v1/failures?class=poison&limit=200&waiting=true\n" +
		"GET /ops/v1/failures?class=poison&cursor=c%261&limit=200&waiting=true"
	if got := strings.Join(f.asked, "\n"); got != want {
		t.Errorf("asks %s", got)
	}
	for args, path := range map[string]string{
		"failures groups": "/failure-groups", "failures ls --all": "/failures", "failures ls --status resolved": "/failures",
		"handlers ls": "/handlers", "failures show f": "/failures/f", "handlers policy h": "/handlers/h/policy",
		"sequences ls --paused": "/sequences", "sequences show h k": "/sequences/h/k", "replays ls": "/replays",
		"replays show r": "/replays/r", "acts ls": "/acts", "acts show a": "/acts/a", "trace c": "/trace/c",
		"demo-failures show": "/demo-failures",
	} {
		for _, format := range []string{"table", "json"} {
			f := &fake{answers: map[string][]string{"GET /ops/v1" + path: {`200 {"data":[],"next_cursor":null}`}}}
			out, err := f.run(t, append(strings.Fields(args), "-o", format)...)
			if err != nil || out == "" || (out[0] == '{') != (format == "json") {
				t.Errorf("%s: %v: %s", args, err, out)
			}
		}
	}
}

func TestReplaysAreWatched(t *testing.T) {
	t.Parallel()
	at := func(status, more string) string { return `200 {"id":"rpl_1","status":"` + status + `"` + more + `}` }
	for _, c := range []struct {
		name, args string
		seen       []string
		want, asks string
	}{
		{"done", "", []string{at("running", ""), at("done", `,"handled":2`)}, "", "PSGG"},
		{"failed again", "", []string{at("done", `,"failed":1`)}, "1 sequences failed again", "PSG"},
		{"stopped", "", []string{at("stopped", "")}, "the replay is stopped", "PSG"},
		{"gone", "", []string{`409 {"code":"wrong_state","detail":"x"}`}, "wrong_state: x", "PSG"},
		{"planned only", "--plan", nil, "", "P"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := &fake{answers: map[string][]string{
				"POST /ops/v1/replays": {"201 " + at("planned", "")[4:]}, "POST /ops/v1/replays/rpl_1/start": {done},
				"GET /ops/v1/replays/rpl_1": c.seen,
			}}
			_, err := f.run(t, append(strings.Fields("failures replay --handler h --rate 9 "+c.args), "--reason", "x")...)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			asks := ""
			for _, a := range f.asked {
				switch {
				case strings.HasPrefix(a, "GET "):
					asks += "G"
				case strings.Contains(a, "/start"):
					asks += "S"
				default:
					asks += "P"
				}
			}
			body := `{"reason":"x","filter":{"handler":"h"},"rate":9,"concurrency":4,"stop_after_errors":0}`
			if asks != c.asks || !strings.HasSuffix(f.asked[0], body) {
				t.Errorf("asks %s: %v", asks, f.asked)
			}
		})
	}
}
