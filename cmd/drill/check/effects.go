package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Effects are what one handler has done of one key: versions, in the order in which they were committed.
type Effects struct {
	Handler  string   `json:"handler"`
	Key      string   `json:"key"`
	Versions []uint64 `json:"versions"`
}

// Tally is what became of messages.
type Tally struct {
	Messages   int // that the log tells
	Effects    int // that handlers had to have of them
	Lost       int // had no effect
	Doubled    int // effects behind the first of the same message
	Disordered int // effects that do not follow upon the message before, of the same key
	Stuck      int // messages that wait in the end, for nothing
	worst      []string
}

// String is it in a few words.
func (t *Tally) String() string {
	return fmt.Sprintf("%d messages, %d effects: %d lost, %d doubled, %d out of order, %d stuck",
		t.Messages, t.Effects, t.Lost, t.Doubled, t.Disordered, t.Stuck)
}

// Broken is a *BrokenError when there was any damage.
func (t *Tally) Broken() error {
	if t.Lost+t.Doubled+t.Disordered+t.Stuck == 0 {
		return nil
	}
	return Broken([]string{t.String() + ": " + strings.Join(t.worst, "; ")})
}

func (t *Tally) note(format string, args ...any) {
	const most = 4
	if len(t.worst) < most {
		t.worst = append(t.worst, fmt.Sprintf(format, args...))
	}
}

// Wait counts messages that wait for nothing.
func (t *Tally) Wait(messages int, format string, args ...any) {
	t.Stuck += messages
	t.note(format, args...)
}

// Tally holds the effects of handlers against the log: of each version of each key that they are told of, they must
// have had one, in order. handlers says whether a handler is told of accounts, or else of transactions.
func (l *Log) Tally(handlers map[string]bool, all []Effects) (t Tally) {
	t.Messages = total(l.Versions()) + total(l.ids)
	had := map[string]map[string][]uint64{}
	for _, e := range all {
		if had[e.Handler] == nil {
			had[e.Handler] = map[string][]uint64{}
		}
		had[e.Handler][e.Key] = append(had[e.Handler][e.Key], e.Versions...)
	}
	for _, handler := range sorted(handlers) {
		want := l.ids
		if handlers[handler] {
			want = l.Versions()
		}
		t.Effects += total(want)
		for _, key := range sorted(want) {
			t.key(handler, key, want[key], had[handler][key])
			delete(had[handler], key)
		}
		for _, key := range sorted(had[handler]) {
			t.Doubled += len(had[handler][key])
			t.note("%s took in %s, which the log does not have", handler, key)
		}
	}
	return t
}

func (t *Tally) key(handler, key string, want uint64, versions []uint64) {
	seen := map[uint64]bool{}
	var last uint64
	for _, v := range versions {
		switch {
		case seen[v] || v == 0 || v > want:
			t.Doubled++
			t.note("%s: version %d of %s once more, behind %d", handler, v, key, last)
		case v != last+1:
			t.Disordered++
			t.note("%s: version %d of %s behind %d", handler, v, key, last)
		}
		seen[v], last = true, v
	}
	for v := uint64(1); v <= want; v++ {
		if !seen[v] {
			t.Lost++
			t.note("%s: version %d of %s had no effect, the last was %d of %d", handler, v, key, last, want)
		}
	}
}

func total(versions map[string]uint64) (n int) {
	for _, v := range versions {
		n += int(v)
	}
	return n
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
