package broker

import (
	"fmt"
	"sync"

	"bankforge/app"
	"bankforge/app/bank"
)

// decoder decodes events, and keeps the last ones for a while: all handlers of a process read the same. The events are
// shared, so nobody may change them. It is safe for concurrent use.
type decoder struct {
	mu          sync.Mutex // held while decoding: others want the same
	incarnation string
	last        [decodedKept]app.Recorded // each at its seq modulo this
}

// decodedKept is about what handlers that keep up are apart.
const decodedKept = 8192

func newDecoder() *decoder { return &decoder{} }

// events are those of the stretch.
func (d *decoder) events(s *stretch) ([]app.Recorded, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.incarnation != s.incarnation {
		d.incarnation = s.incarnation
		clear(d.last[:])
	}
	out := make([]app.Recorded, 0, s.events)
	err := s.each(func(seq bank.Seq, data []byte) error {
		known := &d.last[seq%decodedKept]
		if known.Seq != seq {
			e, err := app.Decode(app.Row{Seq: seq, Data: data})
			if err != nil {
				return err
			}
			if e.Seq != seq {
				return fmt.Errorf("the log goes on with event %d instead of %d", e.Seq, seq)
			}
			*known = e
		}
		out = append(out, *known)
		return nil
	})
	return out, err
}
