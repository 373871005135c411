package router

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/bank"
	"bankforge/handlers"
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
	version, ok := today.versions[f.Name]
	if !ok {
		return nil, fmt.Errorf("there is no message for a change %q", f.Name)
	}
	payload, err := json.Marshal(payloadOf(&f.Change))
	if err != nil {
		return nil, fmt.Errorf("message %s of event %d: %w", f.Name, f.Seq, err)
	}
	msg := message.NewMessage(f.ID(), payload)
	msg.Metadata = message.Metadata{
		headerSpecVersion: specVersion,
		headerID:          f.ID(),
		headerType:        typePrefix + f.Name + ".v" + strconv.Itoa(version),
		headerSource:      source,
		headerSubject:     f.Key(),
		headerTime:        f.Time.Std().Format(time.RFC3339Nano),
		headerContentType: jsonType,
		headerKey:         f.Key(),
		headerPosition:    formatPosition(f.Position()),
		headerIncarnation: f.Incarnation,
		versionHeader(f):  strconv.FormatUint(uint64(f.Version()), 10),
	}
	if prev != (handlers.Position{}) {
		msg.Metadata[headerPrev] = formatPosition(prev)
	}
	for name, value := range map[string]string{
		headerCorrelationID: f.CorrelationID, headerCausationID: f.CausationID, headerTraceParent: f.TraceParent,
		headerActor: f.Actor, headerIdempotencyKey: f.IdempotencyKey,
	} {
		if value != "" {
			msg.Metadata[name] = value
		}
	}
	return msg, nil
}

// Decode is the inverse of Encode. It takes old versions and ignores what it does not know; what is
// missing, broken or contradicts itself is an error of class Poison.
func Decode(msg *message.Message) (handlers.Fact, error) {
	return today.decode(msg.Metadata, msg.Payload)
}

func versionHeader(f *handlers.Fact) string {
	if f.Leg != nil {
		return headerAccountVersion
	}
	return headerTransactionVersion
}

func formatPosition(p handlers.Position) string {
	return strconv.FormatUint(uint64(p.Seq), 10) + "." + strconv.Itoa(p.N)
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

func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

// headers are the parts of a message that say where it stands. Without them it is none of the relay's.
type headers struct {
	all  map[string]string
	key  string
	prev handlers.Position
	fact handlers.Fact // without a Change but for Seq and N
}

func readHeaders(all map[string]string) (headers, error) {
	h := headers{all: all, key: all[headerKey]}
	p, err := parsePosition(all[headerPosition])
	if err == nil && all[headerPrev] != "" {
		h.prev, err = parsePosition(all[headerPrev])
	}
	switch {
	case err != nil:
	case p.Seq == 0:
		err = errors.New("position 0")
	case h.key == "":
		err = errors.New("no key")
	case all[headerIncarnation] == "":
		err = errors.New("no incarnation")
	}
	if err != nil {
		return headers{}, poison("a message that does not say where it stands: %w", err)
	}
	h.fact = handlers.Fact{
		Change:         bank.Change{Seq: p.Seq, N: p.N},
		Incarnation:    all[headerIncarnation],
		CorrelationID:  all[headerCorrelationID],
		CausationID:    all[headerCausationID],
		TraceParent:    all[headerTraceParent],
		Actor:          all[headerActor],
		IdempotencyKey: all[headerIdempotencyKey],
	}
	return h, nil
}

func poison(format string, args ...any) error {
	return handlers.As(handlers.Poison, fmt.Errorf(format, args...))
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
	},
	lifts: map[string]lift{},
}

func (d *decoder) decode(metadata map[string]string, payload []byte) (handlers.Fact, error) {
	h, err := readHeaders(metadata)
	if err != nil {
		return handlers.Fact{}, err
	}
	if err := d.payload(&h.fact, h, payload); err != nil {
		return handlers.Fact{}, err
	}
	return h.fact, nil
}

// payload fills in what the message says. Its errors have class Poison, and name the message.
func (d *decoder) payload(f *handlers.Fact, h headers, payload []byte) error {
	kind := h.all[headerType]
	err := d.fill(f, h, kind, payload)
	if err != nil {
		return poison("message %s at %s: %w", clip(kind), h.all[headerPosition], err)
	}
	return nil
}

func (d *decoder) fill(f *handlers.Fact, h headers, kind string, payload []byte) error {
	name, version, err := parseType(kind)
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
		if payload, err = up(payload); err != nil {
			return fmt.Errorf("version %d: %w", version, err)
		}
	}
	if !utf8.Valid(payload) {
		return errors.New("the payload is not UTF-8")
	}
	t, err := time.Parse(time.RFC3339Nano, h.all[headerTime])
	if err != nil {
		return fmt.Errorf("%s: %w", headerTime, err)
	}
	f.Time, f.Name = bank.TimeOf(t), name
	if err := readPayload(&f.Change, payload); err != nil {
		return err
	}
	if f.Key() != h.key {
		return fmt.Errorf("its key is %s, its payload is about %s", clip(h.key), f.Key())
	}
	if v := h.all[versionHeader(f)]; v != strconv.FormatUint(uint64(f.Version()), 10) {
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
