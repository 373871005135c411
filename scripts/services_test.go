// Package scripts_test holds the scripts that start servers: what they start answers, comes back with its data after
// every kind of end, and ends when it is told to.
package scripts_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// set is a set of servers of its own.
type set struct {
	t   *testing.T
	dir string
	env []string
}

// patience is how long one call may take: what is missing is installed first.
const patience = 10 * time.Minute

func newSet(t *testing.T) *set {
	t.Helper()
	s := &set{t: t, dir: filepath.Join(t.TempDir(), "a set"), env: []string{"BANKFORGE_ENGINE=none"}}
	t.Cleanup(func() { s.run(context.Background(), "down") })
	return s
}

// run calls the script, and returns its standard output, its standard error, and whether it ended well.
func (s *set) run(ctx context.Context, args ...string) (out, said string, ok bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c := exec.CommandContext(ctx, "./services.sh", append([]string{"--dir", s.dir}, args...)...)
	c.Env = append(os.Environ(), s.env...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		s.t.Fatal(err)
	}
	return stdout.String(), stderr.String(), err == nil
}

// do calls the script, which must end well.
func (s *set) do(args ...string) string {
	s.t.Helper()
	out, said, ok := s.run(s.t.Context(), args...)
	if !ok {
		s.t.Fatalf("services.sh %s: %s", strings.Join(args, " "), said)
	}
	return out
}

func (s *set) pid(name string) int {
	s.t.Helper()
	out, _, ok := s.run(s.t.Context(), "pid", name)
	if !ok {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		s.t.Fatal(err)
	}
	return pid
}

var exported = regexp.MustCompile(`^export (BANKFORGE_[A-Z]+)=(\S+)$`)

// up starts servers, and returns what the lines say. There must be no others.
func (s *set) up(names ...string) map[string]string {
	s.t.Helper()
	out := map[string]string{}
	for line := range strings.Lines(s.do(append([]string{"up"}, names...)...)) {
		m := exported.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			s.t.Fatalf("on standard output: %q", line)
		}
		out[m[1]] = m[2]
	}
	return out
}

// TestFaults: a server that was stopped, in order or not, or killed, comes back at the same place with its data.
func TestFaults(t *testing.T) {
	t.Parallel()
	s := newSet(t)
	at := s.up("redis")["BANKFORGE_REDIS"]
	redis(t, at, "SET answer 42", "+OK")
	for _, fault := range [][]string{{"stop", "redis"}, {"kill", "redis"}, {"stop", "redis", "now"}} {
		before := s.pid("redis")
		redis(t, at, "BGREWRITEAOF", "+Background")
		if before == 0 {
			t.Fatal("redis does not run")
		}
		s.do(fault...)
		if s.pid("redis") != 0 || running(before) {
			t.Errorf("after %v it still runs", fault)
		}
		s.do("start", "redis")
		if after := s.pid("redis"); after == 0 || after == before {
			t.Errorf("after %v and start it is process %d, as before", fault, after)
		}
		redis(t, at, "GET answer", "$2")
	}

	s.do("wipe", "redis")
	s.do("start", "redis")
	redis(t, at, "GET answer", "$-1")
	redis(t, at, "SET answer 42", "+OK")

	s.do("pause", "redis")
	if state := stateOf(t, s.pid("redis")); state != "T" {
		t.Errorf("paused, its state is %s", state)
	}
	s.do("resume", "redis")
	redis(t, at, "GET answer", "$2")
	s.do("pause", "redis")
	pid := s.pid("redis")
	s.do("down") // also of what is paused
	if running(pid) {
		t.Error("after down it still runs")
	}
	if again := s.up("redis")["BANKFORGE_REDIS"]; again != at {
		t.Errorf("it was at %s, and comes back at %s", at, again)
	}
	redis(t, at, "GET answer", "$2")
}

// TestSetsKeepApart: callers at the same time get the same servers, and another set gets others.
func TestSetsKeepApart(t *testing.T) {
	t.Parallel()
	one, other := newSet(t), newSet(t)
	var all sync.WaitGroup
	var got [3]map[string]string
	for i := range got {
		all.Go(func() { got[i] = one.up("redis") })
	}
	all.Wait()
	mine, others := got[0]["BANKFORGE_REDIS"], other.up("redis")["BANKFORGE_REDIS"]
	for _, at := range got {
		if at["BANKFORGE_REDIS"] != mine {
			t.Errorf("callers at the same time get %v", got)
		}
	}
	if mine == others {
		t.Errorf("two sets are both at %s", mine)
	}
	one.do("down")
	redis(t, others, "PING", "+PONG")
	if one.pid("redis") != 0 {
		t.Error("after down it still runs")
	}
}

// TestPostgresKeeps: what PostgreSQL has acknowledged is there after it was killed with all its processes, and those
// who were connected hear of it. Its directory may be closed to others.
func TestPostgresKeeps(t *testing.T) {
	t.Parallel()
	s := newSet(t)
	at := s.up("postgres")["BANKFORGE_POSTGRES"]
	sql(t, at, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (42)", "")
	sql(t, at, "SHOW fsync", "on")
	sql(t, at, "SHOW synchronous_commit", "on")
	sql(t, at, "SHOW full_page_writes", "on")
	sql(t, at, "SHOW max_connections", "300")
	sql(t, at, "SHOW shared_buffers", "256MB")
	sql(t, at, "SHOW min_wal_size", "1GB")
	sql(t, at, "SHOW max_wal_size", "2GB")
	long := exec.CommandContext(t.Context(), "psql", at, "-qtAXc", "SELECT pg_sleep(600)")
	if err := long.Start(); err != nil {
		t.Fatal(err)
	}
	sql(t, at, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(6%' AND pid <> pg_backend_pid()", "1")
	s.do("kill", "postgres")
	if err := long.Wait(); err == nil {
		t.Error("a statement that was running ended well")
	}
	s.do("start", "postgres")
	sql(t, at, "SELECT n FROM kept", "42")
	s.do("stop", "postgres", "now")
	s.do("start", "postgres")
	sql(t, at, "SELECT n FROM kept", "42")
}

// TestAll: every server answers in its own language.
func TestAll(t *testing.T) {
	t.Parallel()
	s := newSet(t)
	at := s.up()
	for _, name := range []string{"POSTGRES", "KAFKA", "REDIS", "MONGO", "SMTP", "MAILPIT"} {
		if at["BANKFORGE_"+name] == "" {
			t.Errorf("there is no BANKFORGE_%s", name)
		}
	}
	redis(t, at["BANKFORGE_REDIS"], "PING", "+PONG")
	sql(t, at["BANKFORGE_POSTGRES"], "SELECT 42", "42")
	said, err := exec.CommandContext(t.Context(), "kcat", "-b", at["BANKFORGE_KAFKA"], "-L", "-m", "20").CombinedOutput()
	if err != nil || !bytes.Contains(said, []byte("broker 1 at "+at["BANKFORGE_KAFKA"])) {
		t.Errorf("kafka: %v %s", err, said)
	}
	smtp, err := url.Parse(at["BANKFORGE_SMTP"])
	if err != nil {
		t.Fatal(err)
	}
	talk(t, smtp.Host, "", "220 ")
	before := s.pid("kafka")
	began := time.Now()
	if again := s.up(); len(again) != len(at) || s.pid("kafka") != before {
		t.Errorf("up again says %v, and said %v", again, at)
	}
	t.Logf("up again took %s", time.Since(began))
}

// TestRefuses: what cannot be is refused, with a word on standard error and none on the other.
func TestRefuses(t *testing.T) {
	t.Parallel()
	s := newSet(t)
	for _, c := range [][]string{
		{"up", "oracle"}, {"dance"}, {}, {"kill", "oracle"}, {"pid", "redis"}, {"pause", "redis"},
		{"--ports", "some", "up", "redis"}, {"stop", "redis", "soon"},
	} {
		if out, said, ok := s.run(t.Context(), c...); ok || out != "" || said == "" {
			t.Errorf("%v: %q, %q, ended well: %t", c, out, said, ok)
		}
	}
	for _, sign := range []string{",", `"`, `\`, "\n"} {
		other := &set{t: t, dir: filepath.Join(t.TempDir(), "a"+sign+"b"), env: s.env}
		out, said, ok := other.run(t.Context(), "up", "redis")
		if _, err := os.Stat(other.dir); ok || out != "" || !strings.Contains(said, "--dir: ") || err == nil {
			t.Errorf("a directory with %q: %q, %q, ended well: %t, made: %t", sign, out, said, ok, err == nil)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	write(t, filepath.Join(s.dir, "ports"), "PORT_REDIS="+port+"\n")
	if _, said, ok := s.run(t.Context(), "up", "redis"); ok || !strings.Contains(said, "port "+port+" is in use") {
		t.Errorf("a port in use: %q", said)
	}
}

// TestEngine: where a container engine answers, it runs the same servers under the same names and ports.
func TestEngine(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	calls := filepath.Join(bin, "calls")
	docker := filepath.Join(bin, "docker")
	write(t, docker, "#!/bin/sh\necho \"$PORT_REDIS $*\" >>"+calls+"\necho noise\n")
	if err := os.Chmod(docker, 0o700); err != nil {
		t.Fatal(err)
	}
	s := &set{t: t, dir: t.TempDir(), env: []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "BANKFORGE_ENGINE="}}
	at, err := url.Parse(s.up("redis", "kafka")["BANKFORGE_REDIS"])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][]string{{"stop", "redis"}, {"kill", "redis"}, {"pause", "redis"}, {"resume", "redis"},
		{"start", "redis"}, {"stop", "postgres", "now"}, {"down"}} {
		s.do(c...)
	}
	said, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(said)) {
		line = regexp.MustCompile(`--project-name bankforge-\w+ `).ReplaceAllString(strings.TrimSpace(line), "")
		if what, ok := strings.CutPrefix(line, at.Port()+" compose "); ok && what != "version" {
			got = append(got, what)
		}
	}
	want := []string{"up --detach --wait redis kafka", "stop redis", "kill redis", "pause redis", "unpause redis",
		"up --detach --wait redis", "kill --signal QUIT postgres", "down"}
	if !slices.Equal(got, want) {
		t.Errorf("docker was called with %q, want %q; in full:\n%s", got, want, said)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// redis sends one command, and compares the beginning of the answer.
func redis(t *testing.T, at, command, want string) {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	talk(t, u.Host, command+"\r\n", want)
}

// talk sends text, and compares the beginning of the answer.
func talk(t *testing.T, address, text, want string) {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 512)
	n, err := c.Read(answer)
	if err != nil || !strings.HasPrefix(string(answer[:n]), want) {
		t.Errorf("%q: %q, %v, want %q", text, answer[:n], err, want)
	}
}

// sql asks until the answer is as wanted, or patience is at its end; an answer that never comes is the failure.
func sql(t *testing.T, at, statement, want string) {
	t.Helper()
	late := time.After(20 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		said, err := exec.CommandContext(t.Context(), "psql", at, "-qtAXc", statement).CombinedOutput()
		if err == nil && strings.TrimSpace(string(said)) == want {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: %v %s, want %s", statement, err, said, want)
		}
	}
}

func running(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && !strings.Contains(string(stat), ") Z ") && syscall.Kill(pid, 0) == nil
}

// stateOf is the letter of a process's state.
func stateOf(t *testing.T, pid int) string {
	t.Helper()
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return after[:1]
}
