package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"bankforge/cmd/drill/teller"
)

// process is a running bank.
type process struct {
	cmd  *exec.Cmd
	url  string
	log  string
	done chan struct{} // closed when it has ended
	err  error         // how, once done
}

// waitFor is how long a bank may take to start, to end, and to catch up.
const waitFor = 30 * time.Second

// launch starts a bank, and returns when it has said where it is. What it logs goes to the file.
func launch(program, log, order string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close() //nolint:errcheck // the child has its own
	//nolint:gosec // whoever starts the drill says which program
	p := &process{cmd: exec.CommandContext(context.Background(), program, args...), log: log, done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "BANKFORGE_FAULT="+order, "BANKFORGE_RATE_LIMIT=0")
	p.cmd.Stderr = out
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	told := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n') // what is no address is seen below
		told <- line
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	select {
	case line := <-told:
		_, url, _ := strings.Cut(strings.TrimSpace(line), "BankForge serves ")
		p.url = strings.TrimSuffix(url, "/")
	case <-time.After(waitFor):
		p.kill()
		return nil, errors.New("the bank did not start: " + tail(log))
	}
	if p.url == "" {
		<-p.done
		return p, errEnded
	}
	return p, nil
}

// errEnded means that a bank has ended before it served.
var errEnded = errors.New("the bank ended while it was starting")

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends it at once.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// term asks it to end, and waits for it.
func (p *process) term() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("after SIGTERM: %w: %s", p.err, tail(p.log))
		}
		return nil
	case <-time.After(waitFor):
		p.kill()
		return fmt.Errorf("it was still running %s after SIGTERM", waitFor)
	}
}

// ready waits until the bank says that it is.
func (p *process) ready(ctx context.Context) error {
	err := until(ctx, waitFor, func() bool {
		if p.ended() {
			return true
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/readyz", nil)
		if err != nil {
			return false
		}
		resp, err := http.DefaultClient.Do(req)
		return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	})
	if p.ended() {
		return errEnded
	}
	if err != nil {
		return fmt.Errorf("the bank is not ready: %w: %s", err, tail(p.log))
	}
	return nil
}

// until polls what only another process knows.
func until(ctx context.Context, within time.Duration, is func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for !is() {
		if err := teller.Rest(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// command runs the bank's program to its end, and returns all that it says.
func command(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	//nolint:gosec // whoever starts the drill says which program
	c := exec.CommandContext(ctx, program, args...)
	out, err := c.CombinedOutput()
	return string(bytes.TrimSpace(out)), err
}

// tail is the end of a log, in one line.
func tail(path string) string {
	b, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], " | ")
}
