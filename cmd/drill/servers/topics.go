package servers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/process"
)

// Topic reads all that Kafka has of a topic now, as any client sees it: with kcat. The version is in a header.
func (s *Set) Topic(ctx context.Context, name, version string) ([]check.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	//nolint:gosec // the address is the script's
	c := exec.CommandContext(ctx, "kcat", "-b", s.at["KAFKA"], "-C", "-t", name, "-o", "beginning", "-e", "-q", "-J")
	var complaints bytes.Buffer
	c.Stderr = &complaints
	out, err := c.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("%w; it is Debian's package kcat: scripts/services.sh install", err)
	}
	if err != nil {
		return nil, fmt.Errorf("kcat: %w: %s", err, process.FirstLines(complaints.String()))
	}
	var all []check.Message
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		m, err := message(lines.Bytes(), version)
		if err != nil {
			return nil, fmt.Errorf("topic %s: %w: %s", name, err, process.FirstLines(lines.Text()))
		}
		all = append(all, m)
	}
	return all, lines.Err()
}

// message reads a line of kcat's. Its headers are a list: name, value, and so on.
func message(line []byte, version string) (m check.Message, err error) {
	var shown struct {
		Partition int      `json:"partition"`
		Offset    int64    `json:"offset"`
		Key       string   `json:"key"`
		Headers   []string `json:"headers"`
	}
	if err := json.Unmarshal(line, &shown); err != nil {
		return m, err
	}
	m = check.Message{Partition: shown.Partition, Offset: shown.Offset, Key: shown.Key}
	for i := 0; i+1 < len(shown.Headers); i += 2 {
		if strings.EqualFold(shown.Headers[i], version) {
			m.Version, err = strconv.ParseUint(shown.Headers[i+1], 10, 64)
		}
	}
	if m.Version == 0 {
		err = errors.Join(err, fmt.Errorf("there is no version in the header %s", version))
	}
	return m, err
}
