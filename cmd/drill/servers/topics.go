package servers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/process"
)

// Topic reads all that Kafka has of a topic now, as any client sees it. The version is in a header.
func (s *Set) Topic(ctx context.Context, name, version string) (all []check.Message, err error) {
	err = s.lines(ctx, name, func(line []byte) error {
		m, err := message(line, version)
		all = append(all, m)
		return err
	})
	return all, err
}

// Record is what Kafka has.
type Record struct {
	Partition int
	Key       string
	Headers   map[string]string
	Payload   []byte
}

// Records reads all that Kafka has of a topic now.
func (s *Set) Records(ctx context.Context, name string) (all []Record, err error) {
	err = s.lines(ctx, name, func(line []byte) error {
		r, err := record(line)
		all = append(all, r)
		return err
	})
	return all, err
}

// Produce adds a record to the partition that the key has for all clients. Kafka gets the bytes as they are.
func (s *Set) Produce(ctx context.Context, name string, r *Record) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	file := filepath.Join(s.dir, "payload")
	if err := os.WriteFile(file, r.Payload, 0o600); err != nil {
		return err
	}
	args := []string{"-b", s.at["KAFKA"], "-P", "-t", name, "-k", r.Key, "-X", "partitioner=murmur2"}
	for header, value := range r.Headers {
		args = append(args, "-H", header+"="+value)
	}
	//nolint:gosec // the address is the script's
	out, err := exec.CommandContext(ctx, "kcat", append(args, file)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("kcat: %w: %s", err, process.FirstLines(string(out)))
	}
	return nil
}

// lines calls take with each record of a topic as kcat shows it.
func (s *Set) lines(ctx context.Context, name string, take func(line []byte) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	//nolint:gosec // the address is the script's
	c := exec.CommandContext(ctx, "kcat", "-b", s.at["KAFKA"], "-C", "-t", name, "-o", "beginning", "-e", "-q", "-J")
	var complaints bytes.Buffer
	c.Stderr = &complaints
	out, err := c.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w; it is Debian's package kcat: scripts/services.sh install", err)
	}
	if err != nil {
		return fmt.Errorf("kcat: %w: %s", err, process.FirstLines(complaints.String()))
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if err := take(lines.Bytes()); err != nil {
			return fmt.Errorf("topic %s: %w: %s", name, err, process.FirstLines(lines.Text()))
		}
	}
	return lines.Err()
}

// shown is a line of kcat's. Its headers are a list: name, value, and so on.
type shown struct {
	Partition int      `json:"partition"`
	Offset    int64    `json:"offset"`
	Key       string   `json:"key"`
	Headers   []string `json:"headers"`
	Payload   string   `json:"payload"`
}

// record reads a line.
func record(line []byte) (r Record, err error) {
	var s shown
	if err := json.Unmarshal(line, &s); err != nil {
		return r, err
	}
	r = Record{Partition: s.Partition, Key: s.Key, Headers: map[string]string{}, Payload: []byte(s.Payload)}
	for i := 0; i+1 < len(s.Headers); i += 2 {
		r.Headers[strings.ToLower(s.Headers[i])] = s.Headers[i+1]
	}
	return r, nil
}

// message reads a line.
func message(line []byte, version string) (m check.Message, err error) {
	var s shown
	if err := json.Unmarshal(line, &s); err != nil {
		return m, err
	}
	m = check.Message{Partition: s.Partition, Offset: s.Offset, Key: s.Key}
	for i := 0; i+1 < len(s.Headers); i += 2 {
		if strings.EqualFold(s.Headers[i], version) {
			m.Version, err = strconv.ParseUint(s.Headers[i+1], 10, 64)
		}
	}
	if m.Version == 0 {
		err = errors.Join(err, fmt.Errorf("there is no version in the header %s", version))
	}
	return m, err
}
