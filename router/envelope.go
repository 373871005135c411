package router

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/bank"
	"bankforge/handlers"
	"bankforge/router/payload"
)

// The headers of a message. The first seven are CloudEvents' (in the binding that Kafka uses).
const (
	headerSpecVersion        = "ce_specversion"
	headerID                 = "ce_id"
	headerType               = "ce_type" // "bankforge." + name + ".v" + version of the payload's form
	headerSource             = "ce_source"
	headerSubject            = "ce_subject" // the key
	headerTime               = "ce_time"
	headerContentType        = "ce_datacontenttype"
	headerKey                = "key"      // what the topic is ordered by
	headerPosition           = "position" // "seq.n"
	headerPrev               = "prev"     // the position before it in its partition
	headerIncarnation        = "incarnation"
	headerAccountVersion     = "account_version"
	headerTransactionVersion = "transaction_version"
	headerCorrelationID      = "correlation_id"
	headerCausationID        = "causation_id"
	headerTraceParent        = "traceparent"
	headerActor              = "actor"
	headerIdempotencyKey     = "idempotency_key"
)

const (
	specVersion = "1.0"
	source      = "/bankforge/ledger"
	jsonType    = "application/json"
	typePrefix  = "bankforge."
)

// Encode is the fact as the message that brokers and parking lots carry. prev is the position before it in its
// partition; zero: not said. The documents are api/asyncapi.yaml and the golden messages beside it.
func Encode(f *handlers.Fact, prev handlers.Position) (*message.Message, error) {
	var e Encoder
	var r Record
	if err := e.Encode(&r, f, prev); err != nil {
		return nil, err
	}
	msg := message.NewMessage(f.ID(), nil)
	msg.Payload = Encoded{r}.Record(0, func(name, value []byte) { msg.Metadata.Set(string(name), string(value)) })
	return msg, nil
}

// Record is a message as a broker carries it, without a map of its headers: a relay sends very many.
type Record struct {
	values  [len(headerNames)][]byte // by the place of their names; nil: it has no such header
	payload []byte
}

// headerNames are the headers that records differ in. Those behind the first seven may be missing.
var headerNames = [...][]byte{
	[]byte(headerID), []byte(headerType), []byte(headerSubject), []byte(headerTime), []byte(headerKey),
	[]byte(headerPosition), []byte(headerIncarnation), []byte(headerPrev), []byte(headerAccountVersion),
	[]byte(headerTransactionVersion), []byte(headerCorrelationID), []byte(headerCausationID), []byte(headerTraceParent),
	[]byte(headerActor), []byte(headerIdempotencyKey),
}

// sameHeaders are those that all records have.
var sameHeaders = [...][2][]byte{
	{[]byte(headerSpecVersion), []byte(specVersion)},
	{[]byte(headerSource), []byte(source)},
	{[]byte(headerContentType), []byte(jsonType)},
}

// Encoded are Records that an Encoder has made, of one partition.
type Encoded []Record

// Len is how many there are.
func (e Encoded) Len() int { return len(e) }

// Record is one of them.
func (e Encoded) Record(i int, header func(name, value []byte)) []byte {
	for _, h := range sameHeaders {
		header(h[0], h[1])
	}
	for j, value := range e[i].values {
		if value != nil {
			header(headerNames[j], value)
		}
	}
	return e[i].payload
}

// Encoder encodes many messages, one after another; what they have in common is written once. The zero Encoder is
// ready. It is not safe for concurrent use, and keeps what it was given last.
type Encoder struct {
	payloads    payload.Writer
	room        []byte // values and payloads are cut from it
	at          bank.Time
	time        []byte
	of          string
	incarnation []byte
}

// What of a message is allocated with others: a payload has about 1 KiB.
const (
	encoderRoom  = 64 << 10
	encoderSpare = 4 << 10
)

// Encode makes r the message of the fact, as the function of this name does.
func (e *Encoder) Encode(r *Record, f *handlers.Fact, prev handlers.Position) error {
	kind, ok := written[f.Name]
	if !ok {
		return fmt.Errorf("there is no message for a change %q", f.Name)
	}
	if cap(e.room)-len(e.room) < encoderSpare {
		e.room = make([]byte, 0, min(max(2*cap(e.room), encoderSpare), encoderRoom))
	}
	if e.time == nil || e.at != f.Time {
		e.at, e.time = f.Time, f.Time.Std().AppendFormat(nil, time.RFC3339Nano)
	}
	if e.of != f.Incarnation {
		e.of, e.incarnation = f.Incarnation, []byte(f.Incarnation)
	}
	from := len(e.room)
	e.room = e.payloads.Append(e.room, &f.Change)
	r.payload = e.cut(from)
	key := e.text(f.Key())
	var versions [2][]byte // of an act there is nothing to count: it has one version
	switch {
	case f.Leg != nil:
		versions[0] = e.number(uint64(f.Version()))
	case f.Act == nil:
		versions[1] = e.number(uint64(f.Version()))
	}
	r.values = [len(headerNames)][]byte{
		e.id(f), kind, key, e.time, key, e.position(f.Position()), e.incarnation, nil, versions[0], versions[1],
		e.text(f.CorrelationID), e.text(f.CausationID), e.text(f.TraceParent), e.text(f.Actor), e.text(f.IdempotencyKey),
	}
	if prev != (handlers.Position{}) {
		r.values[7] = e.position(prev)
	}
	return nil
}

// cut is what was written into the room since from.
func (e *Encoder) cut(from int) []byte { return e.room[from:len(e.room):len(e.room)] }

// text is nil for no text.
func (e *Encoder) text(s string) []byte {
	if s == "" {
		return nil
	}
	from := len(e.room)
	e.room = append(e.room, s...)
	return e.cut(from)
}

func (e *Encoder) number(n uint64) []byte {
	from := len(e.room)
	e.room = strconv.AppendUint(e.room, n, 10)
	return e.cut(from)
}

func (e *Encoder) position(p handlers.Position) []byte {
	from := len(e.room)
	e.room = appendPosition(e.room, p)
	return e.cut(from)
}

func (e *Encoder) id(f *handlers.Fact) []byte {
	from := len(e.room)
	e.room = f.AppendID(e.room)
	return e.cut(from)
}

// Decode is the inverse of Encode. It takes old versions and ignores what it does not know; what is
// missing, broken or contradicts itself is an error of class Poison.
func Decode(msg *message.Message) (handlers.Fact, error) {
	return today.decode(msg.Metadata, msg.Payload)
}

// versionHeader is "" where there is nothing to count: an act has one version.
func versionHeader(f *handlers.Fact) string {
	switch {
	case f.Leg != nil:
		return headerAccountVersion
	case f.Act != nil:
		return ""
	default:
		return headerTransactionVersion
	}
}

// headers are the parts of a message that say where it stands and what it is. Without them it is none of the relay's.
type headers struct {
	kind, time, position, before string
	versions                     [2]string // of the account, of the transaction
	key                          string
	prev                         handlers.Position
	fact                         handlers.Fact // without a Change but for Seq and N
}

// set takes one header; what it does not know is left out.
func (h *headers) set(name, value []byte) {
	switch string(name) {
	case headerType:
		h.kind = string(value)
	case headerTime:
		h.time = string(value)
	case headerKey:
		h.key = string(value)
	case headerPosition:
		h.position = string(value)
	case headerPrev:
		h.before = string(value)
	case headerIncarnation:
		h.fact.Incarnation = string(value)
	case headerAccountVersion:
		h.versions[0] = string(value)
	case headerTransactionVersion:
		h.versions[1] = string(value)
	case headerCorrelationID:
		h.fact.CorrelationID = string(value)
	case headerCausationID:
		h.fact.CausationID = string(value)
	case headerTraceParent:
		h.fact.TraceParent = string(value)
	case headerActor:
		h.fact.Actor = string(value)
	case headerIdempotencyKey:
		h.fact.IdempotencyKey = string(value)
	}
}

// stand finds out where the message stands, once all headers are set.
func (h *headers) stand() error {
	p, err := parsePosition(h.position)
	if err == nil && h.before != "" {
		h.prev, err = parsePosition(h.before)
	}
	switch {
	case err != nil:
	case p.Seq == 0:
		err = errors.New("position 0")
	case h.key == "":
		err = errors.New("no key")
	case h.fact.Incarnation == "":
		err = errors.New("no incarnation")
	}
	if err != nil {
		return poison("a message that does not say where it stands: %w", err)
	}
	h.fact.Change = bank.Change{Seq: p.Seq, N: p.N}
	return nil
}

// lift turns the payload of one version of a message into the next version's.
type lift func(payload []byte) ([]byte, error)

// decoder reads every version of every message that was ever written.
type decoder struct {
	versions map[string]int  // name → version that is written today
	lifts    map[string]lift // "name.vN" → to version N + 1
}

// today knows what this program writes, and what earlier ones wrote. Names are permanent; a
// change that is more than a new optional field makes a new version, and a lift from the one before.
var today = decoder{
	versions: map[string]int{
		"account.opened":                 1,
		"account.updated":                1,
		"account.frozen":                 1,
		"account.unfrozen":               1,
		"account.closed":                 1,
		"account.review_set":             1,
		"account.credited":               1,
		"account.debited":                1,
		"account.held":                   1,
		"account.released":               1,
		"transaction.posted":             1,
		"transaction.pending_review":     1,
		"transaction.rejected":           1,
		"transaction.partially_reversed": 1,
		"transaction.reversed":           1,
		"ops.failure.retry":              1,
		"ops.failure.discard":            1,
		"ops.failure.schedule":           1,
		"ops.sequence.retry":             1,
		"ops.sequence.rebuild":           1,
		"ops.sequence.pause":             1,
		"ops.sequence.resume":            1,
		"ops.group.retry":                1,
		"ops.replay.plan":                1,
		"ops.replay.start":               1,
		"ops.replay.cancel":              1,
		"ops.handler.pause":              1,
		"ops.handler.resume":             1,
		"ops.handler.policy":             1,
		"ops.demo_failures.set":          1,
	},
	lifts: map[string]lift{},
}

// written are the types of the messages that this program writes, by the names of their changes.
var written = typesOf(today.versions)

func typesOf(versions map[string]int) map[string][]byte {
	types := make(map[string][]byte, len(versions))
	for name, version := range versions {
		types[name] = fmt.Appendf(nil, "%s%s.v%d", typePrefix, name, version)
	}
	return types
}

func (d *decoder) decode(metadata map[string]string, payload []byte) (handlers.Fact, error) {
	var h headers
	for name, value := range metadata {
		h.set([]byte(name), []byte(value))
	}
	if err := h.stand(); err != nil {
		return handlers.Fact{}, err
	}
	if err := d.payload(&h, payload); err != nil {
		return handlers.Fact{}, err
	}
	return h.fact, nil
}

// payload fills in what the message says. Its errors have class Poison, and name the message.
func (d *decoder) payload(h *headers, payload []byte) error {
	if err := d.fill(h, payload); err != nil {
		return poison("message %s at %s: %w", clip(h.kind), h.position, err)
	}
	return nil
}

func (d *decoder) fill(h *headers, data []byte) error {
	f := &h.fact
	name, version, err := parseType(h.kind)
	if err != nil {
		return err
	}
	current, known := d.versions[name]
	if !known || version > current {
		return fmt.Errorf("its schema is unknown to this program")
	}
	for ; version < current; version++ {
		up, ok := d.lifts[name+".v"+strconv.Itoa(version)]
		if !ok {
			return fmt.Errorf("there is no way from version %d to %d", version, current)
		}
		if data, err = up(data); err != nil {
			return fmt.Errorf("version %d: %w", version, err)
		}
	}
	t, err := time.Parse(time.RFC3339Nano, h.time)
	if err != nil {
		return fmt.Errorf("%s: %w", headerTime, err)
	}
	f.Time, f.Name = bank.TimeOf(t), name
	if err := payload.Read(&f.Change, data); err != nil {
		return err
	}
	if f.Key() != h.key {
		return fmt.Errorf("its key is %s, its payload is about %s", clip(h.key), f.Key())
	}
	v := h.versions[1]
	switch {
	case f.Leg != nil:
		v = h.versions[0]
	case f.Act != nil:
		return nil
	}
	if n, err := strconv.ParseUint(v, 10, 64); err != nil || bank.Version(n) != f.Version() {
		return fmt.Errorf("%s is %q, its payload has version %d", versionHeader(f), clip(v), f.Version())
	}
	return nil
}

// parseType takes "bankforge.account.credited.v1" apart.
func parseType(kind string) (name string, version int, err error) {
	rest, ok := strings.CutPrefix(kind, typePrefix)
	i := strings.LastIndex(rest, ".v")
	if ok && i > 0 {
		version, err = strconv.Atoi(rest[i+2:])
	}
	if !ok || i <= 0 || err != nil || version < 1 || version > 999 {
		return "", 0, fmt.Errorf("%s is not a type of message", headerType)
	}
	return rest[:i], version, nil
}
