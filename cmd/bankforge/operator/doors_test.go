package operator

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// commands are ways to each door of operators.
var commands = []string{
	"failures ls", "failures show p1", "failures retry p1 --reason x", "failures discard p1 --reason x",
	"failures schedule p1 --at 1h --reason x", "failures groups", "failures retry --fingerprint p1 --reason x",
	"failures replay --reason x", "failures rebuild --handler p1 --key p2 --reason x", "sequences ls --diverged",
	"sequences show p1 p2", "sequences retry p1 p2 --reason x", "sequences rebuild p1 p2 --reason x",
	"sequences pause p1 p2 --reason x", "sequences resume p1 p2 --reason x", "replays ls", "replays plan --reason x",
	"replays show p1", "replays start p1 --reason x", "replays cancel p1 --reason x", "handlers ls",
	"handlers pause p1 --reason x", "handlers resume p1 --reason x", "handlers policy p1",
	"handlers policy p1 --set testdata/policy.json --reason x", "trace p1", "acts ls", "acts show p1",
	"demo-failures show", "demo-failures on --reason x", "demo-failures off --reason x",
}

// Everything that can be done by the API can be done on the command line, and the other way round.
func TestEveryDoorHasACommand(t *testing.T) {
	t.Parallel()
	var document struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	text, err := os.ReadFile("../../../api/openapi.yaml")
	if err == nil {
		err = yaml.Unmarshal(text, &document)
	}
	if err != nil {
		t.Fatal(err)
	}
	doors := map[string]bool{} // method and path → a command opens it
	for path, methods := range document.Paths {
		for method := range methods {
			if strings.HasPrefix(path, "/ops/v1/") {
				doors[strings.ToUpper(method)+" "+path] = false
			}
		}
	}
	if len(doors) < 25 {
		t.Fatalf("the document has only %d doors of operators", len(doors))
	}
	for _, command := range commands {
		f := &fake{anything: true}
		if _, err := f.run(t, strings.Fields(command)...); err != nil {
			t.Errorf("%s: %v", command, err)
		}
		for _, asked := range f.asked {
			door := doorOf(doors, asked)
			if door == "" {
				t.Errorf("%s asks %s, which is no door", command, asked)
			}
			doors[door] = true
		}
	}
	for _, door := range slices.Sorted(maps.Keys(doors)) {
		if !doors[door] {
			t.Errorf("no command for %s", door)
		}
	}
}

// doorOf is the door that was asked; "": none.
func doorOf(doors map[string]bool, asked string) string {
	method, rest, _ := strings.Cut(asked, " ")
	path, _, _ := strings.Cut(rest, " ")
	path, _, _ = strings.Cut(path, "?")
	steps := strings.Split(path, "/")
	for door := range doors {
		m, p, _ := strings.Cut(door, " ")
		of := strings.Split(p, "/")
		if m == method && slices.EqualFunc(of, steps, func(a, b string) bool { return a == b || a[:min(1, len(a))] == "{" }) {
			return door
		}
	}
	return ""
}

// What is pending is waited for, also while nobody has come to it in the log, if that is wanted.
func TestActsAreWaitedFor(t *testing.T) {
	t.Parallel()
	pending := `200 {"event_id":"act_1","kind":"sequence.rebuild","status":"pending"}`
	for _, c := range []struct {
		name, flags string
		seen        []string
		want        string
		looks       int
	}{
		{"done", "--wait", []string{`404 {"code":"not_found"}`, pending, done}, "", 3},
		{"failed", "--wait", []string{`200 {"event_id":"act_1","status":"failed","code":"failed_again","detail":"no row"}`},
			"failed_again: no row", 1},
		{"away", "--wait", []string{`502 <html>`}, "502", 1},
		{"not waited for", "", nil, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := &fake{answers: map[string][]string{
				"POST /ops/v1/sequences/h/k/rebuild": {pending}, "GET /ops/v1/acts/act_1": c.seen,
			}}
			_, err := f.run(t, strings.Fields("sequences rebuild h k --reason x "+c.flags)...)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if len(f.asked) != 1+c.looks {
				t.Errorf("asks %q", f.asked)
			}
		})
	}
}

// A plan that is refused after it was recorded makes no replay that could be waited for.
func TestAPlanThatIsRefusedLater(t *testing.T) {
	t.Parallel()
	f := &fake{answers: map[string][]string{
		"POST /ops/v1/replays": {`202 {"id":"rpl_1","event_id":"act_1","status":"pending"}`},
		"GET /ops/v1/acts/act_1": {
			`404 {"code":"not_found"}`, `200 {"event_id":"act_1","status":"refused","code":"too_many"}`},
		"GET /ops/v1/replays/rpl_1": {`404 {"code":"not_found"}`},
	}}
	_, err := f.run(t, "failures", "replay", "--reason", "x")
	if err == nil || !strings.Contains(err.Error(), "too_many") {
		t.Errorf("%v; asks %q", err, f.asked)
	}
}

// A plan that is executed late is shown as it was made.
func TestAPlanThatTakesItsTime(t *testing.T) {
	t.Parallel()
	f := &fake{answers: map[string][]string{
		"POST /ops/v1/replays":      {`202 {"id":"rpl_1","event_id":"act_1","status":"pending"}`},
		"GET /ops/v1/acts/act_1":    {`404 {"code":"not_found"}`, done},
		"GET /ops/v1/replays/rpl_1": {`200 {"id":"rpl_1","status":"planned","count":9}`},
	}}
	out, err := f.run(t, "replays", "plan", "--reason", "x")
	if err != nil || !strings.Contains(out, "planned") || len(f.asked) != 4 {
		t.Errorf("%v, asks %q:\n%s", err, f.asked, out)
	}
}

func TestTablesOfOperators(t *testing.T) {
	t.Parallel()
	const failure = `{"id":"fail_1","status":"parked","handler":"h","key":"k","position":"41.1","error":"no row"}`
	for command, c := range map[string]struct {
		answer string
		want   []string
	}{
		"sequences ls": {`{"data":[{"handler":"h","key":"k","waiting":3,"paused":false,"diverged":true,"head_id":"fail_1"}]}`,
			[]string{"HANDLER KEY WAITING SINCE PAUSED DIVERGED", "h k 3 - false true 0 - fail_1"}},
		"sequences show h k": {`{"id":"seq_1","handler":"h","key":"k","diverged_why":"hopeless","data":[` + failure + `]}`,
			[]string{"diverged why: hopeless", "fail_1 parked 41.1"}},
		"acts ls": {`{"data":[{"event_id":"act_1","kind":"failure.retry","actor":"olga","status":"done","reason":"why"}]}`,
			[]string{"EVENT AT ACTOR KIND", "act_1 - olga failure.retry - - - done - why"}},
		"acts show act_1": {`{"event_id":"act_1","seq":7,"detail":"3 sequences are tried"}`,
			[]string{"seq: 7", "detail: 3 sequences are tried"}},
		"trace cor-1": {`{"correlation_id":"cor-1","command":{"actor":"ann"},"events":[{"messages":[
			{"position":"41.0","type":"t","key":"k","version":3,"live_channel":"account:k","handlers":[
				{"handler":"h","status":"parked","failure_id":"fail_1"},{"handler":"i","status":"done"}]},
			{"position":"41.1","type":"u","key":"l","version":1,"handlers":[]}]}],"failures":[` + failure + `]}`,
			[]string{"asked by: ann", "41.0 t k 3 account:k h parked fail_1", "41.0 t k 3 account:k i done -",
				"41.1 u l 1 - - - -", "fail_1 parked h k"}},
		"replays ls":         {`{"data":[{"id":"rpl_1","status":"running","count":9}]}`, []string{"rpl_1 running 9"}},
		"replays show rpl_1": {`{"id":"rpl_1","status":"done","handled":9}`, []string{"rpl_1 done"}},
		"demo-failures show": {`{"enabled":true}`, []string{"enabled: true"}},
		"handlers show h": {`{"data":[{"name":"i"},{"name":"h","state":"running","places":[{"partition":3,"position":"41.1"}],
			"processes":[{"process":"p-1","state":"held","lag":5}]}]}`, []string{"state: running", "3 41.1", "p-1 held 5 0/s"}},
	} {
		f := &fake{anything: true, always: c.answer}
		out, err := f.run(t, strings.Fields(command)...)
		lines := strings.Join(strings.Fields(out), " ")
		for _, want := range c.want {
			if err != nil || !strings.Contains(lines, want) {
				t.Errorf("%s: %v: %q is not in\n%s", command, err, want, out)
			}
		}
	}
	_, err := (&fake{anything: true}).run(t, "handlers", "show", "x")
	if fmt.Sprint(err) != "not_found: There is no such handler." {
		t.Error(err)
	}
}

// A long sequence is read page by page.
func TestASequenceIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	f := &fake{answers: map[string][]string{"GET /ops/v1/sequences/h/k": {
		`200 {"id":"seq_1","data":[{"id":"fail_1"}],"next_cursor":"c"}`, `200 {"data":[{"id":"fail_2"}],"next_cursor":null}`,
	}}}
	out, err := f.run(t, "sequences", "show", "h", "k", "--limit", "300")
	for _, want := range []string{"seq_1", "fail_1", "fail_2"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%v: %s", err, out)
		}
	}
	want := "GET /ops/v1/sequences/h/k?limit=200\nGET /ops/v1/sequences/h/k?cursor=c&limit=200"
	if got := strings.Join(f.asked, "\n"); got != want {
		t.Errorf("asks %s", got)
	}
}

// anyAnswer is one that every command can read.
func (f *fake) anyAnswer(r *http.Request) (status int, text string) {
	switch {
	case f.always != "":
		return http.StatusOK, f.always
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/replays"):
		return http.StatusCreated, `{"id":"p1","status":"planned"}`
	case strings.Contains(r.URL.Path, "/replays/"):
		return http.StatusOK, `{"id":"p1","status":"done"}`
	}
	return http.StatusOK, `{"event_id":"act_1","status":"done","data":[],"next_cursor":null}`
}
