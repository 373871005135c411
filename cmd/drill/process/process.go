// Package process starts programs under attack, and ends them in every way.
package process

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"bankforge/cmd/drill/teller"
)

// Process is a running bank.
type Process struct {
	// Done is closed when it has ended.
	Done chan struct{}

	cmd *exec.Cmd
	url string
	log string
	err error // how it ended, once Done
}

// Patience is how long a bank may take to start, to end, and to catch up.
const Patience = 30 * time.Second

// Launch starts a bank, and returns when it has said where it is. What it logs goes to the file.
func Launch(program, log, order string, args ...string) (*Process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close() //nolint:errcheck // the child has its own
	//nolint:gosec // whoever starts the drill says which program
	p := &Process{cmd: exec.CommandContext(context.Background(), program, args...), log: log, Done: make(chan struct{})}
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
		close(p.Done)
	}()
	select {
	case line := <-told:
		_, url, _ := strings.Cut(strings.TrimSpace(line), "BankForge serves ")
		p.url = strings.TrimSuffix(url, "/")
	case <-time.After(Patience):
		p.Kill()
		return nil, errors.New("the bank did not start: " + Tail(log))
	}
	if p.url == "" {
		<-p.Done
		return p, ErrEnded
	}
	return p, nil
}

// ErrEnded means that a bank has ended before it served.
var ErrEnded = errors.New("the bank ended while it was starting")

// Ended reports whether it has.
func (p *Process) Ended() bool {
	select {
	case <-p.Done:
		return true
	default:
		return false
	}
}

// Kill ends it at once.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.Done
}

// Term asks it to end, and waits for it.
func (p *Process) Term() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.Done:
		if p.err != nil {
			return fmt.Errorf("after SIGTERM: %w: %s", p.err, Tail(p.log))
		}
		return nil
	case <-time.After(Patience):
		p.Kill()
		return fmt.Errorf("it was still running %s after SIGTERM", Patience)
	}
}

// Ready waits until the bank says that it is.
func (p *Process) Ready(ctx context.Context) error {
	err := teller.Until(ctx, Patience, func() bool {
		if p.Ended() {
			return true
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/readyz", nil)
		if err != nil {
			return false
		}
		resp, err := http.DefaultClient.Do(req)
		return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	})
	if p.Ended() {
		return ErrEnded
	}
	if err != nil {
		return fmt.Errorf("the bank is not ready: %w: %s", err, Tail(p.log))
	}
	return nil
}

// Command runs the bank's program to its end, and returns all that it says.
func Command(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	//nolint:gosec // whoever starts the drill says which program
	c := exec.CommandContext(ctx, program, args...)
	out, err := c.CombinedOutput()
	return string(bytes.TrimSpace(out)), err
}

// Tail is the end of a log, in one line.
func Tail(path string) string {
	b, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], " | ")
}

// LastLine is the last of several.
func LastLine(out string) string { return out[strings.LastIndexByte(out, '\n')+1:] }

// FirstLines are the first three, in one.
func FirstLines(out string) string {
	lines := strings.SplitN(out, "\n", 4)
	return strings.Join(lines[:min(3, len(lines))], " | ")
}

// Signal sends one.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// FreeAddress is one that nobody listens at, and that nobody else in this program is told of. The bank keeps it through
// all its processes, as real ones do. So it is below those that clients' connections take by themselves, and beside
// those that scripts/services.sh draws.
func FreeAddress(ctx context.Context) (string, error) {
	var conf net.ListenConfig
	for range 1000 {
		at := "127.0.0.1:" + strconv.Itoa(10_000+rand.IntN(10_000)) //nolint:gosec // no secret
		if _, told := toldAddresses.LoadOrStore(at, true); told {
			continue
		}
		if l, err := conf.Listen(ctx, "tcp", at); err == nil {
			return at, l.Close()
		}
	}
	return "", errors.New("no port is free")
}

// toldAddresses are those that FreeAddress has found.
var toldAddresses sync.Map
