package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/coder/websocket"
	"github.com/rogpeppe/go-internal/testscript"
)

// liveCommand comes back to a channel on a WebSocket, as a client does that was there before.
func liveCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "live CHANNEL EPOCH OFFSET")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, answer := subscribe(ctx, ts, fmt.Sprintf(`{"channel":%q,"recover":true,"epoch":%q,"offset":%s}`,
		args[0], args[1], args[2]))
	defer func() { _ = conn.CloseNow() }()
	fmt.Fprintf(ts.Stdout(), "%s\n", answer)
}

// subscribe opens a WebSocket, and returns what is answered.
func subscribe(ctx context.Context, ts *testscript.TestScript, to string) (conn *websocket.Conn, answer string) {
	conn, _, err := websocket.Dial(ctx, ts.Getenv("URL")+"/v1/live", nil) //nolint:bodyclose // there is none to close
	ts.Check(err)
	ts.Check(conn.Write(ctx, websocket.MessageText, fmt.Appendf(nil,
		`{"id":1,"connect":{"token":%q}}`+"\n"+`{"id":2,"subscribe":%s}`, ts.Getenv("TOKEN"), to)))
	for {
		_, frame, err := conn.Read(ctx)
		ts.Check(err)
		for line := range bytes.SplitSeq(frame, []byte("\n")) {
			if bytes.Contains(line, []byte(`"id":2`)) {
				return conn, string(line)
			}
		}
	}
}

// ear is somebody who listens on a channel.
type ear struct {
	mu     sync.Mutex
	frames []string // that were not waited for yet
	all    []string
}

// hear takes frames, and answers pings, until the connection ends.
func (e *ear) hear(ctx context.Context, conn *websocket.Conn) {
	for {
		_, frame, err := conn.Read(ctx)
		if err != nil {
			return
		}
		for line := range strings.SplitSeq(strings.TrimSpace(string(frame)), "\n") {
			if line == "{}" {
				_ = conn.Write(ctx, websocket.MessageText, []byte("{}")) // if it fails, so does the next reading
				continue
			}
			e.mu.Lock()
			e.frames, e.all = append(e.frames, line), append(e.all, line)
			e.mu.Unlock()
		}
	}
}

// heard finds a frame, and takes it away.
func (e *ear) heard(pattern *regexp.Regexp) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.frames, pattern.MatchString)
	if i >= 0 {
		e.frames = slices.Delete(e.frames, i, i+1)
	}
	return i >= 0
}

// listenCommand has somebody listen on a channel as long as the script runs.
func listenCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "listen CHANNEL")
	ctx, cancel := context.WithCancel(context.Background())
	to, err := json.Marshal(map[string]string{"channel": args[0]})
	ts.Check(err)
	conn, answer := subscribe(ctx, ts, string(to))
	if strings.Contains(answer, `"error"`) {
		ts.Fatalf("listen: %s", answer)
	}
	e, ended := &ear{}, make(chan struct{})
	go func() {
		defer close(ended)
		e.hear(ctx, conn)
	}()
	ts.Defer(func() {
		cancel()
		_ = conn.CloseNow()
		<-ended
	})
	if of(ts).ears == nil {
		of(ts).ears = map[string]*ear{}
	}
	of(ts).ears[args[0]] = e
}

// heardCommand waits until something was told on a channel that one listens on. It is a pattern; each frame is found
// once. With "!" nothing that was ever told there may fit.
func heardCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 2 && of(ts).ears[args[0]] != nil, "heard CHANNEL PATTERN, of one that one listens on")
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	e := of(ts).ears[args[0]]
	if !neg && until(patience, func() bool { return e.heard(pattern) }) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !neg || slices.ContainsFunc(e.all, pattern.MatchString) {
		ts.Fatalf("on %s there came: %s", args[0], strings.Join(e.all, "\n"))
	}
}
