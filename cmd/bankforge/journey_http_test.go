package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"bankforge/app"
)

// answer is an HTTP response, read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// isHeader tells headers from bodies among the arguments of req.
var isHeader = regexp.MustCompile(`^[A-Za-z-]+: ?`)

func reqCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 3, "req STATUS[|STATUS] METHOD PATH [HEADER: VALUE]… [BODY]")
	j := of(ts)
	header, body := j.headers(ts, args[1]), ""
	for _, a := range args[3:] {
		name, value, _ := strings.Cut(a, ":")
		switch {
		case !isHeader.MatchString(a):
			body = a
			header.Set("Content-Type", "application/json")
		case strings.TrimSpace(value) == "":
			header.Del(name)
		default:
			header.Set(name, strings.TrimSpace(value))
		}
	}
	send := func() (answer, error) { return ask(args[1], ts.Getenv("URL")+args[2], header, body) }
	do := send
	switch many := ts.Getenv("BANKFORGE_STORE") == "postgres"; {
	case many && args[1] == http.MethodGet:
		do = func() (answer, error) { return fresh(send) }
	case many && args[0] != "503":
		do = func() (answer, error) { return owned(send) }
	}
	a, err := do()
	ts.Check(err)
	j.answer = a
	fmt.Fprintf(ts.Stdout(), "%s\n", a.body)
	if got := strconv.Itoa(a.status); !slices.Contains(strings.Split(args[0], "|"), got) {
		ts.Fatalf("status %s, want %s", got, args[0])
	}
}

// fresh reads until what it gets is neither old nor behind, or patience ends. A read waits 2 s for its view, and then
// says so; with a dozen processes on a slow machine, a view in another process may take longer.
func fresh(read func() (answer, error)) (a answer, err error) {
	until(patience, func() bool {
		a, err = read()
		return err != nil || a.header.Get("Bankforge-Stale") == "" &&
			(a.status != http.StatusServiceUnavailable || !bytes.Contains(a.body, []byte(app.CodeViewBehind)))
	})
	return a, err
}

// owned asks until somebody owns the ledger, or patience ends. On a machine that stands still for as long as a lease,
// an owner is replaced, and says that it has done nothing.
func owned(command func() (answer, error)) (a answer, err error) {
	until(patience, func() bool {
		a, err = command()
		return err != nil || a.status != http.StatusServiceUnavailable ||
			!bytes.Contains(a.body, []byte(`"code":"unavailable"`)) || !bytes.Contains(a.body, []byte("nothing was done"))
	})
	return a, err
}

// headers are those that every request has unless it says otherwise; "Name:" alone leaves one out.
func (j *journey) headers(ts *testscript.TestScript, method string) http.Header {
	h := http.Header{}
	if token := ts.Getenv("TOKEN"); token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	if method == http.MethodPost {
		j.keys++
		h.Set("Idempotency-Key", "journey-"+strconv.Itoa(j.keys))
	}
	return h
}

// client keeps a connection for each client of a load.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: patience}

func ask(method, url string, header http.Header, body string) (answer, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header = header
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, b}, err
}

// at finds a value: "data.0.balance.amount", "data.len" (how many). What is not there is "absent".
func (a answer) at(path string) (string, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return "", fmt.Errorf("the answer is not JSON: %w: %s", err, a.body)
	}
	for step := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			var ok bool
			if v, ok = in[step]; !ok {
				return "absent", nil
			}
		case []any:
			n, err := strconv.Atoi(step)
			switch {
			case step == "len":
				v = len(in)
			case err == nil && n < len(in):
				v = in[n]
			default:
				return "absent", nil
			}
		default:
			return "absent", nil
		}
	}
	return text(v), nil
}

func text(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case map[string]any, []any:
		b, err := json.Marshal(v)
		if err != nil {
			return err.Error()
		}
		return string(b)
	default:
		return fmt.Sprint(v)
	}
}

func getCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "get NAME PATH")
	v, err := of(ts).answer.at(args[1])
	ts.Check(err)
	if v == "absent" {
		ts.Fatalf("the answer has no %s: %s", args[1], of(ts).answer.body)
	}
	ts.Setenv(args[0], v)
}

func wantCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 2, "[!] want PATH VALUE")
	got, err := of(ts).answer.at(args[0])
	ts.Check(err)
	compare(ts, neg, args[0], got, args[1])
}

func headerCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 2, "[!] header NAME VALUE")
	compare(ts, neg, args[0], of(ts).answer.header.Get(args[0]), args[1])
}

func compare(ts *testscript.TestScript, neg bool, what, got, want string) {
	if (got == want) == neg {
		not := ""
		if neg {
			not = "not "
		}
		ts.Fatalf("%s is %q, want %s%q; the answer: %s", what, got, not, want, of(ts).answer.body)
	}
}

func awaitCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "await URLPATH PATH VALUE")
	j := of(ts)
	var got string
	ok := until(patience, func() bool {
		a, err := ask(http.MethodGet, ts.Getenv("URL")+args[0], j.headers(ts, http.MethodGet), "")
		if err != nil {
			got = err.Error()
			return false
		}
		j.answer = a
		got, err = a.at(args[1])
		return err == nil && got == args[2]
	})
	if !ok {
		ts.Fatalf("%s of %s is %q, and did not become %q; the answer: %s", args[1], args[0], got, args[2], j.answer.body)
	}
}

// settledCommand waits until what an operator has just asked for is done: on a slow machine the answer may come before.
func settledCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "settled")
	id, err := of(ts).answer.at("event_id")
	ts.Check(err)
	awaitCommand(ts, false, []string{"/ops/v1/acts/" + id, "status", "done"})
}

// publishedCommand opens accounts until Kafka acknowledges one in time: topics may have to be made before.
func publishedCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "published")
	j, last := of(ts), ""
	ok := until(patience, func() bool {
		h := j.headers(ts, http.MethodPost)
		h.Set("Content-Type", "application/json")
		h.Set("Prefer", "ack=published")
		a, err := ask(http.MethodPost, ts.Getenv("URL")+"/v1/accounts", h, `{"currency":"EUR"}`)
		ts.Check(err)
		last = fmt.Sprint(a.status, " ", string(a.body))
		return a.header.Get("Preference-Applied") == "ack=published"
	})
	if !ok {
		ts.Fatalf("Kafka acknowledges nothing; the last answer: %s", last)
	}
}
