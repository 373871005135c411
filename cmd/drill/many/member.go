package many

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/gate"
	"bankforge/cmd/drill/process"
)

// member is one process of the bank. It keeps its name and its address through all its lives.
type member struct {
	stage        *stage
	name, target string
	addr         string
	postgres     string     // where it reaches the database
	gate         *gate.Gate // before the database; nil: none
	process      *process.Process
}

func (m *member) url() string { return "http://" + m.addr }
func (m *member) log() string { return filepath.Join(m.stage.dir, m.name+".log") }

// start starts it, and waits until it is ready.
func (m *member) start(ctx context.Context) error {
	data := filepath.Join(m.stage.dir, m.name)
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	args := slices.Concat([]string{"serve"}, m.stage.where(m.postgres), []string{
		"--data", data, "--http", m.addr, "--admin", "", "--target", m.target, "--snapshot-every", "500", "--grace", "10s",
	})
	var err error
	m.process, err = process.Launch(m.stage.conf.Bankforge, m.log(), m.stage.plant, args...)
	if err == nil {
		err = m.process.Ready(ctx)
	}
	if err != nil {
		return check.Wrong(fmt.Errorf("start %s: %w: %s", m.name, err, process.Tail(m.log())))
	}
	return nil
}

func (m *member) kill() { m.process.Kill() }

// pause stops it as it stands; resume lets it go on.
func (m *member) pause() error  { return m.process.Signal(syscall.SIGSTOP) }
func (m *member) resume() error { return m.process.Signal(syscall.SIGCONT) }

// says is what it answers to /readyz.
func (m *member) says(ctx context.Context) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url()+"/readyz", nil)
	if err != nil {
		return ""
	}
	c := http.Client{Timeout: process.Patience / 30}
	resp, err := c.Do(req)
	if err != nil {
		return ""
	}
	b, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return ""
	}
	return string(b)
}

// owns asks whether it owns the ledger, and standsBy whether it is there and does not.
func (m *member) owns(ctx context.Context) bool {
	return strings.Contains(m.says(ctx), "it owns the ledger")
}

func (m *member) standsBy(ctx context.Context) bool {
	return strings.Contains(m.says(ctx), "standing by")
}

func (m *member) close() error {
	if m.process != nil && !m.process.Ended() {
		m.process.Kill()
	}
	if m.gate != nil {
		return m.gate.Close()
	}
	return nil
}
