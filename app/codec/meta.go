// Package codec is the stored form of events: names, versions, upcasters. What it has once written it reads for ever.
package codec

// Meta is what an event says of its origin. It is part of the stored bytes, and so of the chain.
type Meta struct {
	CorrelationID  string
	CausationID    string // the message or command that caused it; "" for a person's command
	Actor          string // the subject who asked
	IdempotencyKey string // as the caller sent it
	TraceParent    string // W3C trace context
}
