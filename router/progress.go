package router

import (
	"context"
	"fmt"
	"sync"
	"time"

	"bankforge/app"
	"bankforge/app/bank"
)

// Progress is app.Progress: it knows how far each handler of this process has come. It is safe for concurrent use.
type Progress struct {
	mu    sync.Mutex
	views map[string]*view
}

type view struct {
	at    bank.Seq
	since time.Time     // when it came there
	parts *parts        // where the handler reads partitions; nil: at says how far it is
	moved chan struct{} // closed with the next move; nil while nobody waits
	asked chan struct{} // closed when somebody waits; nil while the handler does not want to know
	store Store
}

// NewProgress knows nothing yet. Routers tell it.
func NewProgress() *Progress { return &Progress{views: map[string]*view{}} }

// At is the last event of which the handler has taken in everything.
func (p *Progress) At(handler string) bank.Seq {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.view(handler).seq()
}

func (v *view) seq() bank.Seq {
	if v.parts == nil {
		return v.at
	}
	return v.parts.complete()
}

// Await returns once the handler has taken in everything up to seq, or when ctx ends, and reports whether it has.
func (p *Progress) Await(ctx context.Context, handler string, seq bank.Seq) bool {
	p.mu.Lock()
	parts := p.view(handler).parts
	p.mu.Unlock()
	if parts != nil {
		defer parts.published.wait()()
	}
	for {
		p.mu.Lock()
		v := p.view(handler)
		if v.seq() >= seq {
			p.mu.Unlock()
			return true
		}
		if v.moved == nil {
			v.moved = make(chan struct{})
		}
		if v.asked != nil {
			close(v.asked)
			v.asked = nil
		}
		moved := v.moved
		p.mu.Unlock()
		if !p.wait(ctx, handler, parts, moved) {
			return p.At(handler) >= seq
		}
	}
}

// asked is closed once somebody waits for the handler.
func (p *Progress) asked(handler string) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.view(handler)
	asked := v.asked
	if asked == nil {
		asked = make(chan struct{})
		if v.moved != nil {
			close(asked)
		} else {
			v.asked = asked
		}
	}
	return asked
}

// Handlers that are far behind go on side by side, so that the log is read and decoded once for all of them. Nobody
// waits long for one that does not move.
const (
	patience = 100 * time.Millisecond
	stuck    = time.Second
)

// abreast says how long a handler that has come to seq waits for those that are more than window events behind it,
// and what ends the wait.
func (p *Progress) abreast(seq, window bank.Seq) (wait time.Duration, moved <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var last *view
	for _, v := range p.views {
		if v.store == nil || v.parts != nil || v.at+window >= seq || time.Since(v.since) >= stuck {
			continue
		}
		if last == nil || v.at < last.at {
			last = v
		}
	}
	if last == nil {
		return 0, nil
	}
	if last.moved == nil {
		last.moved = make(chan struct{})
	}
	return patience, last.moved
}

// Parked reports whether what happened to the key waits in the handler's parking lot.
func (p *Progress) Parked(ctx context.Context, handler, key string) (parked bool, err error) {
	p.mu.Lock()
	store := p.view(handler).store
	p.mu.Unlock()
	if store == nil {
		return false, fmt.Errorf("handler %q does not run here", clip(handler))
	}
	keys, err := store.Blocked(ctx, handler, []string{key})
	return len(keys) > 0, err
}

// view is the handler's; p.mu is held.
func (p *Progress) view(handler string) *view {
	v, ok := p.views[handler]
	if !ok {
		v = &view{}
		p.views[handler] = v
	}
	return v
}

func (p *Progress) register(handler string, s Store) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.view(handler).store = s
}

// took tells that all of a partition up to at has been taken in.
func (p *Progress) took(handler string, partition int, at Checkpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.view(handler)
	if v.parts != nil {
		v.parts.took(partition, at)
	} else {
		v.at = at.Position.Whole()
	}
	v.since = time.Now()
	if v.moved != nil {
		close(v.moved)
		v.moved = nil
	}
}

// Renamed is Progress as readers need it whose views are kept by other handlers than app names, or now by one, now by
// another: Of says by which one now.
type Renamed struct {
	app.Progress
	Of func(handler string) string
}

var _ app.Progress = Renamed{}

// renameEvery is how often who waits asks whether another handler keeps the view by now.
const renameEvery = 100 * time.Millisecond

// At is how far the handler is that keeps the view.
func (r Renamed) At(handler string) bank.Seq { return r.Progress.At(r.Of(handler)) }

// Await waits for the handler that keeps the view.
func (r Renamed) Await(ctx context.Context, handler string, seq bank.Seq) bool {
	for {
		wait, cancel := context.WithTimeout(ctx, renameEvery)
		there := r.Progress.Await(wait, r.Of(handler), seq)
		cancel()
		if there || ctx.Err() != nil {
			return there
		}
	}
}

// Parked asks the handler that keeps the view.
func (r Renamed) Parked(ctx context.Context, handler, key string) (bool, error) {
	return r.Progress.Parked(ctx, r.Of(handler), key)
}
