package ports

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
)

const (
	sseBeat    = 15 * time.Second // between comments that show that the stream is alive
	sseWrite   = 10 * time.Second // for one write; who is slower reconnects, and recovers
	sseChannel = "account:"
	sseVersion = "Last-Event-ID"
)

// accountStream answers GET /v1/accounts/{id}/live with Server-Sent Events: id is the account's version, data the
// same as on a WebSocket. An error means that nothing has been answered yet.
func (l *Live) accountStream(w http.ResponseWriter, r *http.Request, p app.Principal, id string) error {
	after, err := lastEventID(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	if !p.Expires.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, p.Expires)
		defer cancel()
	}
	may, err := l.Access.MaySubscribe(ctx, p, sseChannel+id)
	if err != nil {
		return err
	}
	if !may {
		return bank.Refuse(bank.NotFound, "", "There is no such account.")
	}
	s := eventStream{w: w, control: http.NewResponseController(w)}
	err = l.Hub.Follow(ctx, p.Subject, sseChannel+id, after, sseBeat, s.send)
	if !s.begun {
		return err
	}
	return nil // the stream has ended, for whatever reason: the client comes back with its last version
}

// lastEventID is the version that the client has, or nil when it has none.
func lastEventID(r *http.Request) (*uint64, error) {
	text := r.Header.Get(sseVersion)
	if text == "" {
		return nil, nil //nolint:nilnil // none, and that is no error
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return nil, badParameter(sseVersion, "integer", "It is the last version that you have got.")
	}
	return &n, nil
}

type eventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

func (s *eventStream) send(version uint64, data []byte) error {
	if err := s.begin(); err != nil {
		return err
	}
	var err error
	if data == nil {
		_, err = fmt.Fprint(s.w, ": alive\n\n")
	} else {
		_, err = fmt.Fprintf(s.w, "id: %d\ndata: %s\n\n", version, data) //nolint:gosec // an event stream, no page
	}
	if err != nil {
		return err
	}
	return s.control.Flush()
}

// begin sets the time for this write; the first one also answers the request.
func (s *eventStream) begin() error {
	if err := s.control.SetWriteDeadline(time.Now().Add(sseWrite)); err != nil {
		return err
	}
	if s.begun {
		return nil
	}
	if err := s.control.SetReadDeadline(time.Time{}); err != nil { // the time for reading requests is not for streams
		return err
	}
	s.begun = true
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy in front passes on what it gets at once
	s.w.WriteHeader(http.StatusOK)
	_, err := fmt.Fprint(s.w, "retry: 1000\n\n")
	return err
}
