package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// process is a running bank.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
	err  error         // how, once done
}

// startProcess runs the program; what it logs goes to the file.
func startProcess(dir string, env []string, log string, program string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{cmd: exec.CommandContext(context.Background(), program, args...), log: log, done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = dir, env, out, out
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends it at once, as the loss of power would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// term asks it to end, and waits.
func (p *process) term() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-time.After(patience):
		p.kill()
		return errors.New("it was still running 30 s after SIGTERM")
	}
}

// ready waits until the bank at the URL says that it is.
func (p *process) ready(url string) error {
	ok := until(patience, func() bool {
		if p.ended() {
			return true
		}
		resp, err := http.Get(url + "/readyz")
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	})
	switch {
	case p.ended():
		return errors.New("the bank ended while starting: " + tail(p.log))
	case !ok:
		return errors.New("the bank is not ready: " + tail(p.log))
	}
	return nil
}

// program is the script's bankforge.
func program(ts *testscript.TestScript) string {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if at := filepath.Join(dir, "bankforge"); isFile(at) {
			return at
		}
	}
	ts.Fatalf("there is no bankforge on PATH")
	return ""
}

func isFile(at string) bool {
	info, err := os.Stat(at)
	return err == nil && info.Mode().IsRegular()
}

func serveCommand(ts *testscript.TestScript, neg bool, args []string) {
	j := of(ts)
	usage(ts, !neg && (j.bank == nil || j.bank.ended()), "serve [FLAG…], when it is not running")
	if ts.Getenv("MANY") != "" {
		serveMany(ts, args)
		return
	}
	args = append([]string{"serve"}, args...)
	p, err := startProcess(ts.MkAbs("."), environment(ts), ts.MkAbs("serve.log"), program(ts), args...)
	ts.Check(err)
	j.bank = p
	ts.Check(p.ready(ts.Getenv("URL")))
}

// environment is the script's own.
func environment(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "BANKFORGE_DATA", "BANKFORGE_HTTP", "BANKFORGE_ADMIN",
		"BANKFORGE_RATE_LIMIT", "GORACE", "GOCOVERDIR"} {
		if v := ts.Getenv(name); v != "" || strings.HasPrefix(name, "BANKFORGE") {
			env = append(env, name+"="+v)
		}
	}
	for _, name := range []string{
		"STORE", "POSTGRES", "PREFIX", "BROKER", "KAFKA", "PARTITIONS", "BALANCES", "REDIS", "HISTORY", "MONGO",
	} {
		if v := ts.Getenv("BANKFORGE_" + name); v != "" {
			env = append(env, "BANKFORGE_"+name+"="+v)
		}
	}
	return env
}

func crashCommand(ts *testscript.TestScript, neg bool, args []string) {
	j := of(ts)
	for _, p := range j.many {
		p.kill()
	}
	if len(j.many) > 0 {
		return
	}
	usage(ts, !neg && len(args) == 0 && j.bank != nil && !j.bank.ended(), "crash, while it is running")
	j.bank.kill()
}

func termCommand(ts *testscript.TestScript, neg bool, args []string) {
	j := of(ts)
	for name, p := range j.many {
		if err := p.term(); err != nil {
			ts.Fatalf("%s after SIGTERM: %v\n%s", name, err, tail(p.log))
		}
	}
	if len(j.many) > 0 {
		return
	}
	usage(ts, !neg && len(args) == 0 && j.bank != nil && !j.bank.ended(), "term, while it is running")
	if err := j.bank.term(); err != nil {
		ts.Fatalf("after SIGTERM: %v\n%s", err, tail(j.bank.log))
	}
}

func asCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "as NAME ROLE [FLAG…]")
	var out bytes.Buffer
	err := run(context.Background(), append([]string{"token", "--subject", args[0], "--role", args[1]}, args[2:]...),
		environment(ts), &out, ts.Stderr())
	ts.Check(err)
	ts.Setenv("TOKEN", strings.TrimSpace(out.String()))
}

// hangCommand begins to send a command, and never ends. The connection stays open as long as the script runs.
func hangCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "hang")
	conn, err := net.Dial("tcp", ts.Getenv("ADDR"))
	ts.Check(err)
	ts.Defer(func() { _ = conn.Close() })
	_, err = fmt.Fprintf(conn, "POST /v1/deposits HTTP/1.1\r\nHost: bank\r\nAuthorization: Bearer %s\r\n"+
		"Idempotency-Key: hang\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", ts.Getenv("TOKEN"))
	ts.Check(err)
}
