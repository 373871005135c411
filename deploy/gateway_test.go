package deploy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"bankforge/cmd/drill/process"
)

// patience is how long anything here may take; nothing takes a tenth of it on an idle machine.
const patience = 30 * time.Second

// pools are the upstreams of deploy/nginx.conf.
var pools = []string{"commands", "accounts", "transactions", "eventstore", "live", "operations", "page"}

// gateway runs nginx with deploy/nginx.conf as it is, before servers of the test. It returns its URL.
func gateway(t *testing.T, servers map[string][]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	var upstreams strings.Builder
	for _, pool := range pools {
		at := servers[pool]
		if at == nil {
			at = []string{dead}
		}
		fmt.Fprintf(&upstreams, "upstream %s { server %s max_fails=1 fail_timeout=2s; }\n", pool,
			strings.Join(at, " max_fails=1 fail_timeout=2s; server "))
	}
	address, err := process.FreeAddress(t.Context()) // the gateway is to listen there soon
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "upstreams.conf"), upstreams.String())
	write(t, filepath.Join(dir, "listen.conf"), "listen "+address+";\n")
	flags := []string{"-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", "stderr"}
	directives := "pid nginx.pid;"
	if os.Getuid() == 0 {
		directives += " user root;" // others may not pass through the directory
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	check := exec.CommandContext(ctx, "nginx", append(slices.Clone(flags), "-t", "-g", directives)...)
	if said, err := check.CombinedOutput(); err != nil {
		t.Fatalf("nginx -t: %v (make install brings nginx)\n%s", err, said)
	}
	run(t, exec.Command("nginx", append(flags, "-g", directives+" daemon off;")...))
	waitFor(t, func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return "http://" + address
}

// run starts a program, and ends it with the test.
func run(t *testing.T, c *exec.Cmd) {
	t.Helper()
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(c.Path), said.String())
		}
	})
}

// dead is an address at which nobody answers.
const dead = "127.0.0.1:1"

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("this takes too long")
		}
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// server is a process behind the gateway. It returns its address.
func server(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// named answers with the name of its pool.
func named(t *testing.T, pool string) string {
	t.Helper()
	return server(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Pool", pool) })
}

// heard is an answer.
type heard struct {
	status int
	header http.Header
	body   string
}

// ask sends a request.
func ask(t *testing.T, method, url, body string, headers ...string) heard {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return heard{answer.StatusCode, answer.Header, string(text)}
}

// TestEveryDoor: what ports/routes.go opens, the gateway brings to a process whose module opens it.
func TestEveryDoor(t *testing.T) {
	t.Parallel()
	servers := map[string][]string{}
	for _, pool := range pools {
		servers[pool] = []string{named(t, pool)}
	}
	url := gateway(t, servers)
	opens := map[string]string{
		"accountCommand": "commands", "transactionCommand": "commands", "accountQuery": "accounts",
		"transactionQuery": "transactions", "eventStore": "eventstore", "push": "live",
		"monitoring": "operations",
	}
	doors := doors(t)
	if len(doors) < 40 {
		t.Fatalf("ports/routes.go has only %d doors for this test", len(doors))
	}
	for _, d := range doors {
		want, known := opens[d.module]
		if !known && d.module != "" {
			t.Errorf("%s belongs to %s, which no pool serves", d.path, d.module)
		}
		path := strings.NewReplacer("{handler}", "history", "{key}", "k",
			"{id}", "acc_06h09h3q657ss5pr9u4kq9irho", "{code}", "not_found").Replace(d.path)
		got := ask(t, d.method, url+path+"?limit=3", "").header.Get("Pool")
		if got == "" || d.module != "" && got != want {
			t.Errorf("%s %s goes to %q, want %q", d.method, d.path, got, want)
		}
	}
	for _, path := range []string{"/", "/assets/index.js"} {
		if got := ask(t, "GET", url+path, "").header.Get("Pool"); got != "page" {
			t.Errorf("%s goes to %q", path, got)
		}
	}
}

// TestForwards: a request arrives as it was sent.
func TestForwards(t *testing.T) {
	t.Parallel()
	type arrival struct {
		*http.Request
		body []byte
	}
	arrived := make(chan arrival, 1)
	url := gateway(t, map[string][]string{"commands": {server(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		arrived <- arrival{r, body}
	})}})
	sent := strings.Repeat("x", 1<<20)
	answer := ask(t, "POST", url+"/v1/transfers/bulk?dry_run=true&x=%2F", sent, "Authorization", "Bearer secret",
		"Idempotency-Key", "k1", "X-Correlation-Id", "c-1", "Prefer", "ack=published", "x_odd", "1")
	if answer.status != http.StatusOK {
		t.Fatalf("%d %s", answer.status, answer.body)
	}
	got := <-arrived
	for name, want := range map[string]string{"Authorization": "Bearer secret", "Idempotency-Key": "k1",
		"X-Correlation-Id": "c-1", "Prefer": "ack=published", "x_odd": "1"} {
		if v := got.Header.Get(name); v != want {
			t.Errorf("%s arrives as %q, want %q", name, v, want)
		}
	}
	if got.RequestURI != "/v1/transfers/bulk?dry_run=true&x=%2F" || "http://"+got.Host != url {
		t.Errorf("%s at %s arrives, sent to %s", got.RequestURI, got.Host, url)
	}
	if string(got.body) != sent {
		t.Errorf("%d bytes arrive of %d", len(got.body), len(sent))
	}
}

// TestDeadProcess: a command whose process is dead, or dies before it answers, goes to the other one, with its body.
func TestDeadProcess(t *testing.T) {
	t.Parallel()
	dies := server(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = c.Close()
		}
	})
	for name, first := range map[string]string{"dead": dead, "dies": dies} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lives := server(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				fmt.Fprintf(w, "%s %s", r.Header.Get("Idempotency-Key"), body)
			})
			url := gateway(t, map[string][]string{"commands": {first, lives}})
			for range 4 { // whichever is asked first
				answer := ask(t, "POST", url+"/v1/deposits", `{"a":1}`, "Idempotency-Key", "k")
				if answer.status != 200 || answer.body != `k {"a":1}` {
					t.Fatalf("%d %s", answer.status, answer.body)
				}
			}
		})
	}
}

// TestNobodyThere: what the gateway says by itself looks like what the bank says. Whether a command was done is not
// known; that a query was not answered, is.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	url := gateway(t, nil)
	for method, code := range map[string]string{"POST": "outcome_unknown", "GET": "unavailable"} {
		answer := ask(t, method, url+"/v1/holds", "", "X-Correlation-Id", "c-2")
		checkProblem(t, answer, 503, code)
		if after := answer.header.Get("Retry-After"); after != "1" {
			t.Errorf("Retry-After: %q", after)
		}
	}
	answer := ask(t, "POST", url+"/v1/holds", strings.Repeat("x", 3<<20), "X-Correlation-Id", "c-2")
	checkProblem(t, answer, 413, "body_too_large")
	answer = ask(t, "GET", url+`/v1/holds/a"b`, "", "X-Correlation-Id", `c"2`)
	if got := answer.header.Get("X-Correlation-Id"); len(got) != 32 || !json.Valid([]byte(answer.body)) {
		t.Errorf("a bad correlation id becomes %q", got)
	}
}

func checkProblem(t *testing.T, answer heard, status int, code string) {
	t.Helper()
	var p struct {
		Type          string `json:"type"`
		Title         string `json:"title"`
		Status        int    `json:"status"`
		Detail        string `json:"detail"`
		Instance      string `json:"instance"`
		Code          string `json:"code"`
		CorrelationID string `json:"correlation_id"`
		Retryable     bool   `json:"retryable"`
		Errors        []any  `json:"errors"`
	}
	if err := json.Unmarshal([]byte(answer.body), &p); err != nil {
		t.Fatalf("%v: %s", err, answer.body)
	}
	if answer.status != status || p.Status != status || p.Code != code || p.Type != "/problems/"+code ||
		p.Instance != "/v1/holds" || p.CorrelationID != "c-2" || p.Title == "" || p.Detail == "" || p.Errors == nil ||
		p.Retryable != (status == 503) || answer.header.Get("Content-Type") != "application/problem+json" ||
		answer.header.Get("X-Correlation-Id") != "c-2" {
		t.Errorf("%d %v: %s", answer.status, answer.header, answer.body)
	}
}

// TestLive: what is sent live arrives at once, over both channels.
func TestLive(t *testing.T) {
	t.Parallel()
	next := make(chan bool)
	url := gateway(t, map[string][]string{"live": {server(t, live(next))}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/accounts/acc_1/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	stream := bufio.NewReader(answer.Body)
	for range 3 {
		if line, err := stream.ReadString('\n'); err != nil || line != "id: 1\n" {
			t.Errorf("%q, %v", line, err)
		}
		next <- true
	}

	ws := strings.Replace(url, "http", "ws", 1) + "/v1/live"
	c, _, err := websocket.Dial(ctx, ws, nil) //nolint:bodyclose // there is none
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	for _, said := range []string{"a", "b"} {
		if err := c.Write(ctx, websocket.MessageText, []byte(said)); err != nil {
			t.Fatal(err)
		}
		if _, heard, err := c.Read(ctx); err != nil || string(heard) != said {
			t.Errorf("%q, %v, want %q", heard, err, said)
		}
	}
}

// live sends one event, and another each time that it is told to; or it repeats what it hears.
func live(next <-chan bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/live" {
			repeat(w, r)
			return
		}
		for {
			_, _ = io.WriteString(w, "id: 1\n")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	}
}

func repeat(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	for {
		kind, said, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), kind, said) != nil {
			return
		}
	}
}
