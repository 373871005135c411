package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/process"
	"bankforge/cmd/drill/teller"
)

// sequence is what waits of one key.
type sequence struct {
	Handler     string  `json:"handler"`
	Key         string  `json:"key"`
	Waiting     int     `json:"waiting"`
	Head        *string `json:"head_id"`
	Class       *string `json:"class"`
	Error       *string `json:"error"`
	Fingerprint *string `json:"fingerprint"`
	Next        *string `json:"next_attempt_at"`
}

// strange reports whether the handler could not read it: no handler was made to fail.
func (s *sequence) strange() bool {
	return s.Class != nil && *s.Class == "poison" && s.Error != nil && !strings.Contains(*s.Error, "the drill:")
}

// operators have what waits tried again, in every way that there is, and give up what nobody can read.
type operators struct {
	bank  *bank
	stop  context.CancelFunc
	ended sync.WaitGroup

	mu            sync.Mutex
	acts, refused int                // that were done, and that were not
	planned       int                // replays
	discarded     map[[2]string]bool // by handler and key
	waits         int                // messages, when somebody looked last
	failed        error
}

// operator is one of them.
type operator struct {
	*operators
	random *rand.Rand
}

// operate has operators at work until rest: most for what waits, key by key, and one for replays.
func (b *bank) operate(ctx context.Context) *operators {
	all := &operators{bank: b, discarded: map[[2]string]bool{}}
	working, stop := context.WithCancel(ctx)
	all.stop = stop
	for i := range operating {
		o, does := all.operator(uint64(i)), (*operator).look
		if i == 0 || b.conf.Plant != "" && i < operating-1 { // whole sequences end at once there, while more comes
			does = (*operator).replay
		}
		all.ended.Go(func() {
			for working.Err() == nil {
				does(o, working)
				_ = teller.Rest(working, 150*time.Millisecond) // the loop sees when it has ended
			}
		})
	}
	return all
}

const operating = 5

func (o *operators) operator(n uint64) *operator {
	return &operator{o, rand.New(rand.NewPCG(o.bank.conf.Seed, 2+n))} //nolint:gosec // replayed
}

// rest ends the work: once nothing waits, or nothing more comes of it. What still waits is returned.
func (o *operators) rest(ctx context.Context, orderly bool) (waits []sequence, err error) {
	if orderly {
		left, since := 0, time.Now()
		err = teller.Until(ctx, drainedWithin, func() bool {
			if all, failed := o.bank.waiting(ctx); failed == nil {
				if waits = all; messages(waits) != left {
					left, since = messages(waits), time.Now()
				}
			}
			return len(waits) == 0 || time.Since(since) > stuckAfter || teller.Rest(ctx, 200*time.Millisecond) != nil
		})
		if len(waits) > 0 {
			err = nil // it is told for what it is
		}
	}
	o.stop()
	o.ended.Wait()
	return waits, errors.Join(err, o.failed)
}

// What waits is stuck when nothing has come of it for a while, or all together takes too long.
const (
	stuckAfter    = 3 * process.Patience / 2 // what a killed replayer had claimed, is free again sooner
	drainedWithin = 8 * process.Patience
)

// inTime waits while so much waits that operators have all hands full; not for long: it may be stuck.
func (o *operators) inTime(ctx context.Context) error {
	const many = 3_000
	_ = teller.Until(ctx, process.Patience/3, func() bool { // the caller sees when ctx has ended
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.waits <= many
	})
	return ctx.Err()
}

func messages(all []sequence) (n int) {
	for i := range all {
		n += max(all[i].Waiting, 1)
	}
	return n
}

// waiting is all that does.
func (b *bank) waiting(ctx context.Context) ([]sequence, error) {
	var page struct {
		Data []sequence `json:"data"`
	}
	var err error
	for _, m := range b.handling() {
		if err = m.client.GetInto(ctx, "/ops/v1/sequences?limit=200", &page); err == nil {
			return page.Data, nil
		}
	}
	return nil, err
}

// look has something done about what waits.
func (o *operator) look(ctx context.Context) {
	all, err := o.bank.waiting(ctx)
	if err != nil {
		return // they are being killed
	}
	o.mu.Lock()
	o.waits = messages(all)
	o.mu.Unlock()
	o.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	const atOnce = 6
	acted := 0
	for i := range all {
		s := &all[i]
		switch {
		case s.Head == nil || acted == atOnce:
		case o.bank.conf.Plant != "": // it is about those who replay
		case s.strange():
			o.repair(ctx, s)
			acted++
		case s.Next == nil || o.random.IntN(4) == 0: // or it waits for its time
			o.again(ctx, s)
			acted++
		}
	}
}

// again has one sequence tried.
func (o *operator) again(ctx context.Context, s *sequence) {
	switch kind := o.random.IntN(4); {
	case kind == 0:
		o.act(ctx, "/failures/"+*s.Head+"/retry", "", nil)
	case kind == 1 && s.Fingerprint != nil:
		o.act(ctx, "/failure-groups/"+*s.Fingerprint+"/retry", "", nil)
	case kind == 2:
		at := time.Now().Add(300 * time.Millisecond).UTC().Format(time.RFC3339Nano)
		o.act(ctx, "/failures/"+*s.Head+"/schedule", fmt.Sprintf(`,"at":%q`, at), nil)
	default:
		o.act(ctx, s.path()+"/retry", "", nil)
	}
}

// replay has all tried that waits, of one handler or of all.
func (o *operator) replay(ctx context.Context) {
	o.mu.Lock()
	nothing := o.waits == 0
	o.mu.Unlock()
	if nothing {
		return
	}
	filter := ""
	for name := range handlers {
		if o.random.IntN(2) == 0 {
			filter = fmt.Sprintf(`"handler":%q`, name)
		}
	}
	var planned struct {
		ID string `json:"id"`
	}
	more := fmt.Sprintf(`,"filter":{%s},"concurrency":%d`, filter, 1+o.random.IntN(8))
	if o.act(ctx, "/replays", more, &planned) && o.act(ctx, "/replays/"+planned.ID+"/start", "", nil) {
		o.mu.Lock()
		o.planned++
		o.mu.Unlock()
	}
}

// repair is about what no handler can take: the first that nobody can read is given up, and what comes behind it does
// not follow then, until the view of the key is written anew from the log.
func (o *operator) repair(ctx context.Context, s *sequence) {
	of := [2]string{s.Handler, s.Key}
	o.mu.Lock()
	again := o.discarded[of]
	o.mu.Unlock()
	switch {
	case again:
		o.act(ctx, s.path()+"/rebuild", "", nil)
	case o.act(ctx, "/failures/"+*s.Head+"/discard", "", nil):
		o.mu.Lock()
		o.discarded[of] = true
		o.mu.Unlock()
	}
}

// rebuild has all views written anew that lack something still, several at once.
func (o *operators) rebuild(ctx context.Context) error {
	var all sync.WaitGroup
	keys := make(chan sequence, len(o.discarded))
	for of := range o.discarded {
		keys <- sequence{Handler: of[0], Key: of[1]}
	}
	close(keys)
	failed := make([]error, operating)
	for i := range operating {
		one := o.operator(uint64(i))
		all.Go(func() {
			for s := range keys {
				failed[i] = errors.Join(failed[i], one.makeWhole(ctx, &s))
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

func (o *operator) makeWhole(ctx context.Context, s *sequence) error {
	whole := func() bool {
		r, err := o.door().Get(ctx, "/ops/v1"+s.path())
		return err == nil && r.Status == http.StatusNotFound
	}
	err := teller.Until(ctx, 2*process.Patience, func() bool {
		return whole() || o.act(ctx, s.path()+"/rebuild", "", nil) && whole()
	})
	if err != nil {
		return check.Wrong(fmt.Errorf("%s is not whole again: %w", s.path(), err))
	}
	return nil
}

func (s *sequence) path() string { return "/sequences/" + s.Handler + "/" + url.PathEscape(s.Key) }

// door is one of the processes that tell operators something.
func (o *operator) door() *teller.Client {
	doors := o.bank.handling()
	return doors[o.random.IntN(len(doors))].client
}

// act reports whether an act was done, or will be.
func (o *operator) act(ctx context.Context, path, more string, into any) bool {
	body := `{"reason":"the drill"` + more + `}`
	key := fmt.Sprintf("act-%016x", o.random.Uint64())
	reply, err := o.door().Post(ctx, &teller.Command{Path: "/ops/v1" + path, Body: body, Key: key})
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err != nil:
		return false
	case reply.Status >= http.StatusBadRequest:
		o.refused++
		if reply.Status == http.StatusBadRequest || reply.Status == http.StatusForbidden {
			o.failed = check.Wrong(fmt.Errorf("%s %s: %d %s", path, body, reply.Status, reply.Body))
		}
		return false
	}
	o.acts++
	if into != nil {
		err = json.Unmarshal(reply.Body, into)
	}
	return err == nil
}
