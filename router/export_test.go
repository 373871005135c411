package router

import (
	"fmt"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/bank"
	"bankforge/handlers"
)

// TailOf is what the handler subscribes to.
func (r *Router) TailOf(handler string) *Tail { return r.worker(handler).reads.(*Tail) }

// Took has the handler come to the event.
func (r *Router) Took(handler string, seq bank.Seq) {
	r.worker(handler).took(0, Checkpoint{Position: handlers.End(seq)})
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

// Types are the types of all messages that this program writes.
func Types() (types []string) {
	for name, version := range today.versions {
		types = append(types, fmt.Sprintf("%s%s.v%d", typePrefix, name, version))
	}
	slices.Sort(types)
	return types
}

// DecodeWith decodes as a program would in which name has a newer version.
func DecodeWith(
	name string, version int, from string, up func([]byte) ([]byte, error), msg *message.Message,
) (handlers.Fact, error) {
	d := decoder{versions: map[string]int{name: version}, lifts: map[string]lift{from: up}}
	return d.decode(msg.Metadata, msg.Payload)
}

// Obeys is the policy that is in force for the handler.
func (r *Router) Obeys(handler string) *Policy { return r.worker(handler).policy() }
