package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/coder/websocket"
	"github.com/rogpeppe/go-internal/testscript"
)

// liveCommand comes back to a channel on a WebSocket, as a client does that was there before.
func liveCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "live CHANNEL EPOCH OFFSET")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, ts.Getenv("URL")+"/v1/live", nil) //nolint:bodyclose // there is none to close
	ts.Check(err)
	defer func() { _ = conn.CloseNow() }()
	ts.Check(conn.Write(ctx, websocket.MessageText, fmt.Appendf(nil,
		`{"id":1,"connect":{"token":%q}}`+"\n"+
			`{"id":2,"subscribe":{"channel":%q,"recover":true,"epoch":%q,"offset":%s}}`,
		ts.Getenv("TOKEN"), args[0], args[1], args[2])))
	for {
		_, frame, err := conn.Read(ctx)
		ts.Check(err)
		for line := range bytes.SplitSeq(frame, []byte("\n")) {
			if bytes.Contains(line, []byte(`"id":2`)) {
				fmt.Fprintf(ts.Stdout(), "%s\n", line)
				return
			}
		}
	}
}
