package router

import "github.com/ThreeDotsLabs/watermill/message"

// Chain is the handler behind all of its steps, as Watermill calls it.
func (r *Router) Chain(handler string) message.HandlerFunc {
	w := r.worker(handler)
	w.standing.change(func() { w.standing.running = true })
	h := func(msg *message.Message) ([]*message.Message, error) { return nil, w.handle(msg) }
	steps := w.steps()
	for i := len(steps) - 1; i >= 0; i-- {
		h = steps[i].wrap(h)
	}
	return h
}

// Drain is what Run does first at its end.
func (r *Router) Drain() { close(r.draining) }

// StepNames are the names of the handler's steps, outermost first.
func (r *Router) StepNames(handler string) (names []string) {
	w := r.worker(handler)
	steps := w.steps()
	if w.Kind == Newest {
		steps = w.newestSteps()
	}
	for _, s := range steps {
		names = append(names, s.name)
	}
	return names
}
