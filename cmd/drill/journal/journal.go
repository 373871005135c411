// Package journal is what a drill's client remembers, on the disk: what it wanted, before it asked, and what it
// was told, before it went on. Whatever a bank may forget, the journal does not.
package journal

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// Fate is what the client knows of a command.
type Fate string

// What a client can know.
const (
	Intent   Fate = "intent"   // it is about to be sent
	Acked    Fate = "acked"    // done, says the bank
	Rejected Fate = "rejected" // refused for good, says the bank
	NotDone  Fate = "not-done" // the bank could not, and says that it did nothing
	Unknown  Fate = "unknown"  // no answer, or one that says so
)

// Line is one entry.
type Line struct {
	N      int    `json:"n"`  // of the command
	At     int64  `json:"at"` // nanoseconds since 1970
	Fate   Fate   `json:"fate"`
	Key    string `json:"key,omitempty"`
	Path   string `json:"path,omitempty"`
	Body   string `json:"body,omitempty"` // of the request with the intent, of the answer later
	Status int    `json:"status,omitempty"`
}

// Journal appends lines to a file. It is safe for concurrent use: lines that come together share one flush.
type Journal struct {
	file *os.File
	wake chan struct{}
	done chan struct{}

	mu     sync.Mutex
	next   *group
	closed bool
}

// group is what one flush brings to the disk.
type group struct {
	lines []byte
	done  chan struct{}
	err   error
}

func newGroup() *group { return &group{done: make(chan struct{})} }

// Open makes the file, or goes on at its end.
func Open(path string) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	j := &Journal{file: f, wake: make(chan struct{}, 1), done: make(chan struct{}), next: newGroup()}
	go j.run()
	return j, nil
}

var errClosed = errors.New("the journal is closed")

// Note returns when the disk has the line.
func (j *Journal) Note(l Line) error {
	line, err := json.Marshal(l)
	if err != nil {
		return err
	}
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return errClosed
	}
	g := j.next
	g.lines = append(append(g.lines, line...), '\n')
	select {
	case j.wake <- struct{}{}:
	default: // it is awake
	}
	j.mu.Unlock()
	<-g.done
	return g.err
}

// run writes one group while the next gathers.
func (j *Journal) run() {
	defer close(j.done)
	for range j.wake {
		j.mu.Lock()
		g := j.next
		j.next = newGroup()
		j.mu.Unlock()
		if _, g.err = j.file.Write(g.lines); g.err == nil {
			g.err = j.file.Sync()
		}
		close(g.done)
	}
}

// Close ends it when all lines are on the disk.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	close(j.wake)
	j.mu.Unlock()
	<-j.done
	return j.file.Close()
}

// Read returns the lines of a journal. A last line that was cut off is left out; any other that cannot be read is an
// error.
func Read(r io.Reader) (lines []Line, err error) {
	in := bufio.NewReader(r)
	for {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return lines, err
		}
		var l Line
		if err := json.Unmarshal(text, &l); err != nil {
			return lines, fmt.Errorf("line %d of the journal: %w", len(lines)+1, err)
		}
		lines = append(lines, l)
	}
}
