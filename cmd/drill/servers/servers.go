// Package servers has real servers of a drill's own, which it may stop, kill and starve.
package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os/exec"
	"regexp"
	"time"

	"bankforge/cmd/drill/process"
)

// The servers.
const (
	Postgres = "postgres"
	Kafka    = "kafka"
	Redis    = "redis"
	Mongo    = "mongo"
)

// Set is some servers, with their data in a directory.
type Set struct {
	script, dir string
	at          map[string]string // how the bank reaches them, by the names of the variables
}

// within bounds whatever the script does: on a new machine it has to bring the software first.
const within = 5 * time.Minute

var line = regexp.MustCompile(`(?m)^export BANKFORGE_([A-Z]+)=(.*)$`)

// Up starts servers at free ports. What it returns must be ended with Down, also when there is an error.
func Up(ctx context.Context, script, dir string, names ...string) (*Set, error) {
	s := &Set{script, dir, map[string]string{}}
	out, err := s.run(ctx, append([]string{"--dir", dir, "--ports", "auto", "up"}, names...)...)
	if err != nil {
		return s, err
	}
	for _, found := range line.FindAllStringSubmatch(out, -1) {
		s.at[found[1]] = found[2]
	}
	return s, nil
}

// At is how the bank reaches a server.
func (s *Set) At(variable string) string { return s.at[variable] }

// Do does something to a server: kill, stop, start, pause, resume.
func (s *Set) Do(ctx context.Context, verb, name string, more ...string) error {
	_, err := s.run(ctx, append([]string{"--dir", s.dir, verb, name}, more...)...)
	return err
}

// Down stops all.
func (s *Set) Down(ctx context.Context) error {
	_, err := s.run(ctx, "--dir", s.dir, "down")
	return err
}

func (s *Set) run(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	//nolint:gosec // whoever starts the drill says which script
	c := exec.CommandContext(ctx, s.script, args...)
	var out, complaints bytes.Buffer
	c.Stdout, c.Stderr = &out, &complaints
	c.WaitDelay = time.Second
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("%s %v: %w: %s", s.script, args, err, process.FirstLines(complaints.String()))
	}
	return out.String(), nil
}

// Flush empties Redis.
func (s *Set) Flush(ctx context.Context) error {
	u, err := url.Parse(s.at["REDIS"])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it has answered
	if _, err := io.WriteString(conn, "FLUSHALL\r\n"); err != nil {
		return err
	}
	const ok = "+OK\r\n"
	answer := make([]byte, len(ok))
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != ok {
		return errors.Join(err, fmt.Errorf("FLUSHALL: %q", answer))
	}
	return nil
}
