package router

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/bank"
	"bankforge/handlers"
)

// Delivery is what one Watermill message carries: facts of one partition of a topic, in order.
type Delivery struct {
	Incarnation string
	Partition   int               // of the topic; 0 where there are none
	Prev        handlers.Position // what came before the first fact in the partition
	Through     handlers.Position // nothing of the partition up to here is left out; at least the last fact's
	Facts       []handlers.Fact   // may be empty: the topic is silent up to Through
	more        bool              // it is as long as can be: much more waits behind it
	bad         map[int]broken    // by the index of facts that could not be read; those have only a position
	from        Origins           // where the facts were in a broker; nil: they are not from one, or it does not say
	nth         []int32           // by the index of facts: which of from they are
}

// broken is a message that cannot be decoded, as it came.
type broken struct {
	key string
	raw raw
	err error
}

// raw is a message as a broker carries it and as the parking lot keeps it.
type raw struct {
	metadata map[string]string
	payload  []byte
}

// key is what the i-th fact is ordered by.
func (d *Delivery) key(i int) string {
	if b, ok := d.bad[i]; ok {
		return b.key
	}
	return d.Facts[i].Key()
}

// stored is the i-th fact as a message, and where the broker had it.
func (d *Delivery) stored(i int) (raw, error) {
	var out raw
	if b, ok := d.bad[i]; ok {
		out = b.raw
	} else {
		msg, err := Encode(&d.Facts[i], handlers.Position{})
		if err != nil {
			return raw{}, err
		}
		out = raw{msg.Metadata, msg.Payload}
	}
	if d.from != nil {
		offset, at := d.from.Origin(int(d.nth[i]))
		out.metadata[OriginOffset] = strconv.FormatInt(offset, 10)
		out.metadata[OriginTime] = at.UTC().Format(time.RFC3339Nano)
	}
	return out, nil
}

// quotedOf is how many facts of a delivery an error is taken to be about at most.
const quotedOf = 64

// payloads are those of the first facts, as they are parked.
func (d *Delivery) payloads() (out [][]byte) {
	for i := range min(len(d.Facts), quotedOf) {
		if r, err := d.stored(i); err == nil {
			out = append(out, r.payload)
		}
	}
	return out
}

// Metadata of what is parked that a broker brought: where it had the message in its partition, and since when.
const (
	OriginOffset = "origin_offset"
	OriginTime   = "origin_time"
)

// poison is why the first unreadable fact is unreadable; nil when all can be read.
func (d *Delivery) poison() error {
	for i := range d.Facts {
		if b, ok := d.bad[i]; ok {
			return b.err
		}
	}
	return nil
}

// divide returns the facts that keep wants, and the others; both in order.
func (d *Delivery) divide(keep func(i int) bool) (kept, others *Delivery) {
	kept, others = d.without(len(d.Facts)), d.without(0)
	for i := range d.Facts {
		to := others
		if keep(i) {
			to = kept
		}
		if b, ok := d.bad[i]; ok {
			if to.bad == nil {
				to.bad = map[int]broken{}
			}
			to.bad[len(to.Facts)] = b
		}
		if d.from != nil {
			to.nth = append(to.nth, d.nth[i])
		}
		to.Facts = append(to.Facts, d.Facts[i])
	}
	return kept, others
}

// without is d without its facts, with room for so many.
func (d *Delivery) without(room int) *Delivery {
	out := *d
	out.Facts, out.bad, out.nth = make([]handlers.Fact, 0, room), nil, nil
	return &out
}

// after leaves out what is not above p.
func (d *Delivery) after(p handlers.Position) *Delivery {
	if len(d.Facts) == 0 || p.Before(d.Facts[0].Position()) {
		return d
	}
	rest, _ := d.divide(func(i int) bool { return p.Before(d.Facts[i].Position()) })
	return rest
}

// splitInto is how many parts a delivery is split into: few facts are tried one by one at once, and of thousands
// the one that fails is found in a few steps.
const splitInto = 16

// split makes deliveries of parts of d, each of one fact when there are few. The last one takes over d's Through.
func (d *Delivery) split() []*Delivery {
	size := (len(d.Facts) + splitInto - 1) / splitInto
	out := make([]*Delivery, 0, splitInto)
	prev := d.Prev
	for from := 0; from < len(d.Facts); from += size {
		to := min(from+size, len(d.Facts))
		one := &Delivery{
			Incarnation: d.Incarnation, Partition: d.Partition, Prev: prev, Through: d.Facts[to-1].Position(),
			Facts: d.Facts[from:to:to], from: d.from,
		}
		if d.from != nil {
			one.nth = d.nth[from:to:to]
		}
		for i := from; i < to && len(d.bad) > 0; i++ {
			if b, ok := d.bad[i]; ok {
				if one.bad == nil {
					one.bad = map[int]broken{}
				}
				one.bad[i-from] = b
			}
		}
		prev = one.Through
		out = append(out, one)
	}
	out[len(out)-1].Through = d.Through
	return out
}

type deliveryKey struct{}

func withDelivery(ctx context.Context, d *Delivery) context.Context {
	if deliveryIn(ctx) == d {
		return ctx
	}
	return context.WithValue(ctx, deliveryKey{}, d)
}

// deliveryOf is the delivery that the steps are working on.
func deliveryOf(msg *message.Message) *Delivery { return deliveryIn(msg.Context()) }

func deliveryIn(ctx context.Context) *Delivery {
	d, _ := ctx.Value(deliveryKey{}).(*Delivery)
	return d
}

// checkpoint is the checkpoint of who has handled d.
func (d *Delivery) checkpoint() Checkpoint {
	return Checkpoint{Incarnation: d.Incarnation, Position: d.Through}
}

// NewMessage wraps d for delivery within this process: the facts travel in the message's context,
// decoded, and the payload only says which they are.
func NewMessage(ctx context.Context, d *Delivery) *message.Message {
	payload := fmt.Appendf(nil, `{"after":%q,"through":%q,"facts":%d}`,
		formatPosition(d.Prev), formatPosition(d.Through), len(d.Facts))
	id := d.Incarnation + "-" + formatPosition(d.Through)
	return message.NewMessageWithContext(withDelivery(ctx, d), id, payload)
}

// Facts are the facts that a message carries: those in its context when it was made in this process, or
// else what its payload and headers say (one message, or a JSON array of them, see Batch).
func Facts(msg *message.Message) (facts []handlers.Fact, err error) {
	all, err := open(msg, anything)
	if err != nil {
		return nil, err
	}
	for _, d := range all {
		if err := d.poison(); err != nil {
			return nil, err
		}
		facts = append(facts, d.Facts...)
	}
	return facts, nil
}

// open is what a message brings, decoded if need be: one delivery, or more where what it carries has gaps. The error is
// about messages that do not say where they stand, or say what is not so, which are left out; a fact that cannot be
// decoded otherwise is kept as broken. An unheardError is about the message as a whole.
func open(msg *message.Message, told believe) ([]*Delivery, error) {
	if d := deliveryOf(msg); d != nil {
		return []*Delivery{d}, nil
	}
	if r, ok := RecordsIn(msg); ok {
		origins, _ := r.(Origins)
		return assemble(r, origins, told)
	}
	parts := carried{{Metadata: msg.Metadata, Payload: json.RawMessage(msg.Payload)}}
	if msg.Metadata.Get(headerContentType) == batchType {
		parts = nil
		if err := json.Unmarshal(msg.Payload, &parts); err != nil {
			return nil, poison("a batch of messages: %w", err)
		}
	}
	origins, _ := msg.Context().Value(originsKey{}).(Origins)
	return assemble(parts, origins, told)
}

// Records are messages of one partition as a broker brought them, in order. They must not change as long as their
// message is being handled.
type Records interface {
	Len() int
	// Record calls header with each header of the i-th, and returns its payload.
	Record(i int, header func(name, value []byte)) (payload []byte)
}

// Origins know where a broker had what a message carries. Records may be ones.
type Origins interface {
	// Origin is where in its partition the i-th is, and since when.
	Origin(i int) (offset int64, at time.Time)
}

type originsKey struct{}

// WithOrigins says where the broker had the one message that is made with this context.
func WithOrigins(ctx context.Context, o Origins) context.Context {
	return context.WithValue(ctx, originsKey{}, o)
}

type recordsKey struct{}

// NewBatch is one message of many for delivery within this process, as Batch makes one that can go anywhere: the
// records travel in the message's context, and the payload only says how many there are.
func NewBatch(ctx context.Context, uuid string, r Records) *message.Message {
	payload := fmt.Appendf(nil, `{"records":%d}`, r.Len())
	return message.NewMessageWithContext(context.WithValue(ctx, recordsKey{}, r), uuid, payload)
}

// RecordsIn is what NewBatch made the message of; false: it is one message alone.
func RecordsIn(msg *message.Message) (Records, bool) {
	r, ok := msg.Context().Value(recordsKey{}).(Records)
	return r, ok
}

// assemble makes deliveries of records: a new one begins where something is missing before a record. A relay
// that crashed sends again what it has sent, so positions may also go back: what is there already is left out.
func assemble(r Records, from Origins, told believe) (all []*Delivery, err error) {
	var d *Delivery
	for i := range r.Len() {
		var h headers
		payload := r.Record(i, h.set)
		if ill := h.stand(); ill != nil {
			err = ill
			continue
		}
		bad := h.read(payload)
		begins := d == nil || d.Incarnation != h.fact.Incarnation || d.Through.Before(h.prev)
		at := h.fact.Position()
		if !begins && !d.Through.Before(at) {
			continue
		}
		switch ok, ill := told(&h, bad != nil); {
		case ill != nil:
			return nil, unheardError{ill}
		case !ok:
			err = poison("the log has no message of %s at %s", clip(h.key), h.position)
			continue
		case begins:
			d = &Delivery{Incarnation: h.fact.Incarnation, Prev: h.prev, from: from}
			d.Facts = make([]handlers.Fact, 0, r.Len()-i)
			if from != nil {
				d.nth = make([]int32, 0, r.Len()-i)
			}
			all = append(all, d)
		}
		d.take(&h, r, i, bad)
	}
	if r.Len() == 0 {
		err = poison("a batch without messages")
	}
	return all, err
}

// take adds the i-th record.
func (d *Delivery) take(h *headers, r Records, i int, bad error) {
	h.fact.Incarnation = d.Incarnation // one text for all
	d.Through = h.fact.Position()
	if bad != nil {
		if d.bad == nil {
			d.bad = map[int]broken{}
		}
		d.bad[len(d.Facts)] = broken{h.key, rawOf(r, i), bad}
		h.fact = handlers.Fact{Change: h.fact.Change}
	}
	d.Facts = append(d.Facts, h.fact)
	if d.from != nil {
		d.nth = append(d.nth, int32(i))
	}
}

// rawOf is the i-th record as the parking lot keeps it.
func rawOf(r Records, i int) raw {
	out := raw{metadata: map[string]string{}}
	out.payload = r.Record(i, func(name, value []byte) { out.metadata[string(name)] = string(value) })
	return out
}

// carried are records in a message's own payload.
type carried []part

// Len is how many there are.
func (p carried) Len() int { return len(p) }

// Record is one of them.
func (p carried) Record(i int, header func(name, value []byte)) []byte {
	for name, value := range p[i].Metadata {
		header([]byte(name), []byte(value))
	}
	return p[i].Payload
}

// part is one message of a batch.
type part struct {
	Metadata map[string]string `json:"metadata"`
	Payload  json.RawMessage   `json:"payload"`
}

// batchType marks a payload that is an array of messages.
const batchType = "application/vnd.bankforge.batch+json"

// Batch makes one message of several of one partition, in order, as a batching subscriber delivers them.
func Batch(uuid string, msgs []*message.Message) (*message.Message, error) {
	parts := make([]part, len(msgs))
	for i, m := range msgs {
		payload := json.RawMessage(m.Payload)
		if !json.Valid(payload) {
			var err error // broken bytes stay broken, and are still seen
			if payload, err = json.Marshal(string(payload)); err != nil {
				return nil, err
			}
		}
		parts[i] = part{m.Metadata, payload}
	}
	payload, err := json.Marshal(parts)
	if err != nil {
		return nil, err
	}
	out := message.NewMessage(uuid, payload)
	out.Metadata.Set(headerContentType, batchType)
	return out, nil
}

func formatPosition(p handlers.Position) string { return string(appendPosition(nil, p)) }

func appendPosition(to []byte, p handlers.Position) []byte {
	return strconv.AppendInt(append(strconv.AppendUint(to, uint64(p.Seq), 10), '.'), int64(p.N), 10)
}

func parsePosition(s string) (handlers.Position, error) {
	seq, n, ok := strings.Cut(s, ".")
	a, err1 := strconv.ParseUint(seq, 10, 51)
	b, err2 := strconv.ParseUint(n, 10, 12)
	if !ok || err1 != nil || err2 != nil {
		return handlers.Position{}, fmt.Errorf("%q is not a position", clip(s))
	}
	return handlers.Position{Seq: bank.Seq(a), N: int(b)}, nil
}
