package broker

import (
	"slices"
	"sync"
)

// asked lets handlers that wait for the log's end at the same place ask for what was written since only once: each
// commit wakes all of them at the same moment. It is safe for concurrent use.
type asked struct {
	mu   sync.Mutex
	last *question
}

// question is one that was asked, or is being asked.
type question struct {
	hint <-chan struct{} // taken before it was asked
	args []any
	once sync.Once
	*answer
}

// answer gives the answer to another handler's question, if that is the same and was asked since the same hint: what is
// written later closes that for both, so that neither waits for anything that the answer lacks. Else it asks.
func (a *asked) answer(hint <-chan struct{}, args []any, ask func() (*answer, error)) (*answer, error) {
	if a == nil || hint == nil {
		return ask()
	}
	a.mu.Lock()
	q := a.last
	if q == nil || q.hint != hint || !slices.Equal(q.args, args) {
		q = &question{hint: hint, args: args}
		a.last = q
	}
	a.mu.Unlock()
	var err error
	q.once.Do(func() { q.answer, err = ask() })
	switch {
	case err != nil:
		return nil, err
	case q.answer == nil: // whoever asked has failed, perhaps because its own session is over
		return ask()
	}
	copied := *q.answer // its rows are read one by one
	return &copied, nil
}

// asking is how the follower's questions are answered.
func (f *follower) asking(args []any, ask func() (*answer, error)) (*answer, error) {
	if f.polls {
		f.polls = false
		return ask()
	}
	return f.s.asked.answer(f.hint, args, ask)
}
