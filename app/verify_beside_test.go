package app_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/app/codec"
)

// decidedLog is a log as a ledger has written it: commands with keys and without, of one event, of more, and of none,
// refusals, and a hold that expired by itself.
func decidedLog(t *testing.T) *tampered {
	t.Helper()
	log, clock := &apptest.MemoryLog{}, &atomic.Int64{}
	clock.Store(t0().UnixMicro())
	l := start(t, log, func(c *app.LedgerConfig) {
		c.Clock = func() time.Time { return time.UnixMicro(clock.Load()) }
	})
	must(t, l, open(1), open(2), deposit("first of its currency", 1, 1, 1000)) // opens the cash account, too
	must(t, l, transfer("t", 2, 1, 2, 100), transfer("", 3, 1, 2, 1), transfer("t2", 4, 1, 2, 1))
	refused(t, l, transfer("too much", 5, 1, 2, 100_000), bank.InsufficientFunds)
	must(t, l, ask("freeze", bank.SetStatus{ID: accountID(2), To: bank.Frozen}))
	must(t, l, ask("is frozen", bank.SetStatus{ID: accountID(2), To: bank.Frozen})) // nothing to do
	must(t, l, ask("thaw", bank.SetStatus{ID: accountID(2), To: bank.Active}), hold(1, 60, time.Hour))
	clock.Add(2 * time.Hour.Microseconds())
	must(t, l, ask("bulk", bank.Bulk{Items: []bank.Transfer{
		{Terms: bank.Terms{ID: transactionID(6)}, From: accountID(1), To: accountID(2), Amount: euros(1)},
		{Terms: bank.Terms{ID: transactionID(7)}, From: accountID(1), To: accountID(2), Amount: euros(1_000_000)},
		{Terms: bank.Terms{ID: transactionID(8)}, From: accountID(1), To: accountID(2), Amount: euros(1)},
	}}), act("act", 1), act("", 2), transfer("last", 9, 1, 2, 1))
	return copied(t, log)
}

func copied(t *testing.T, log *apptest.MemoryLog) *tampered {
	t.Helper()
	l := &tampered{MemoryLog: log, index: map[app.Touch]bank.Seq{}}
	var noHead, noRows, noOutcomes error
	l.head, noHead = log.Head(t.Context())
	l.rows, noRows = log.Read(t.Context(), 0, 1000)
	l.outcomes, _, noOutcomes = log.Decided(t.Context(), math.MinInt64, 1000)
	noIndex := log.Touches(t.Context(), math.MaxUint64, func(touch app.Touch, seq bank.Seq) error {
		l.index[touch] = seq
		return nil
	})
	if err := errors.Join(noHead, noRows, noOutcomes, noIndex); err != nil {
		t.Fatal(err)
	}
	return l
}

// outcome is that of the command which made the transaction, hold or account last, or, for "", the bulk's.
func (l *tampered) outcome(t *testing.T, subject string) *app.Outcome {
	t.Helper()
	for i := range slices.Backward(l.outcomes) {
		if o := &l.outcomes[i]; o.Subject == subject && o.Code == "" {
			return o
		}
	}
	t.Fatalf("there is no outcome about %q", subject)
	return nil
}

func (l *tampered) refusal(t *testing.T) *app.Outcome {
	t.Helper()
	i := slices.IndexFunc(l.outcomes, func(o app.Outcome) bool { return o.Code != "" })
	if i < 0 {
		t.Fatal("there is no refusal")
	}
	return &l.outcomes[i]
}

// at changes the outcome of transaction n, and returns where it began.
func at(n int, change func(l *tampered, o *app.Outcome)) func(*testing.T, *tampered) bank.Seq {
	return func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		o := l.outcome(t, transactionID(n).String())
		seq := o.Seq
		change(l, o)
		return seq
	}
}

// actsOutcome changes the outcome of act 1, and returns where it is.
func actsOutcome(change func(o *app.Outcome)) func(*testing.T, *tampered) bank.Seq {
	return func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		o := l.outcome(t, bank.MakeID[bank.Act](id(1)).String())
		change(o)
		return o.Seq
	}
}

func (l *tampered) drop(o *app.Outcome) {
	key := o.Key
	l.outcomes = slices.DeleteFunc(l.outcomes, func(o app.Outcome) bool { return o.Key == key })
}

const uncovered = "no outcome tells of it"

// tamperedRanges are outcomes that tell of other events than their command has made.
var tamperedRanges = map[string]tampering{
	"a missing outcome":               {at(2, (*tampered).drop), uncovered},
	"the last outcome missing":        {at(9, (*tampered).drop), uncovered},
	"a missing outcome of two events": {at(1, (*tampered).drop), uncovered},
	"an event left out at the end":    {at(1, func(_ *tampered, o *app.Outcome) { o.Events = 1 }), "not about this event"},
	"an event left out at the front": {at(1, func(_ *tampered, o *app.Outcome) {
		o.Seq++
		o.Events = 1
	}), uncovered},
	"no events any more": {at(2, func(_ *tampered, o *app.Outcome) { o.Events = 0 }), uncovered},
	"fewer events than none": {func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		o := l.refusal(t)
		o.Events = -1
		return o.Seq
	}, "-1 events"},
	"more events than there are": {at(9, func(_ *tampered, o *app.Outcome) { o.Events = math.MaxInt }), "not in the log"},
	"the place of an event without a key": {func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		o := l.outcome(t, transactionID(2).String())
		o.Events++
		return o.Seq + 1
	}, "made without one"},
	"the events of two commands": {func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		first, second := l.outcome(t, accountID(1).String()), l.outcome(t, transactionID(1).String())
		first.Events += second.Events + 1 // and of the one between
		l.drop(&l.outcomes[1])
		l.drop(&l.outcomes[1])
		return first.Seq + 1
	}, "another command"},
	"an act that is somebody else's": {actsOutcome(func(o *app.Outcome) {
		o.Subject = bank.MakeID[bank.Act](id(2)).String()
	}), "not about this event"},
	"an act with a reply": {actsOutcome(func(o *app.Outcome) { o.Reply = []byte{1} }), "not what was decided"},
	"a far place":         {at(2, func(_ *tampered, o *app.Outcome) { o.Seq++ }), uncovered},
	"no such place": {func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		l.outcome(t, transactionID(2).String()).Seq = math.MaxUint64
		return math.MaxUint64
	}, "not in the log"},
	"a second outcome of the same event": {at(2, func(l *tampered, o *app.Outcome) {
		again := *o
		again.Key[0]++
		l.outcomes = append(l.outcomes, again)
	}), "out of the order"},
	"the outcome of nothing": {func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		o := *l.outcome(t, transactionID(9).String())
		o.Key[0]++
		o.Seq++
		l.outcomes = append(l.outcomes, o)
		return o.Seq
	}, "not in the log"},
	"a refusal elsewhere": {func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		o := l.refusal(t)
		o.Seq--
		return o.Seq
	}, "out of the order"},
}

// tamperedReplies are outcomes that answer something else than was decided.
var tamperedReplies = map[string]tampering{
	"no fingerprint": {at(2, func(_ *tampered, o *app.Outcome) { o.Fingerprint = app.Hash{} }), "fingerprint"},
	"no key":         {at(2, func(_ *tampered, o *app.Outcome) { o.Key = app.Key{} }), "no key"},
	"accepted, and said to be refused": {at(2, func(_ *tampered, o *app.Outcome) {
		o.Code = bank.NotFound
	}), "refused"},
	"about another transaction": {at(2, func(_ *tampered, o *app.Outcome) {
		o.Subject = transactionID(1).String()
	}), "not about this event"},
	"a reply where none belongs": {at(2, func(_ *tampered, o *app.Outcome) { o.Reply = []byte{1} }), "reply"},
	"refused, and said to be accepted": {func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		o := l.refusal(t)
		o.Code = ""
		return o.Seq
	}, "reply"},
	"refused for another reason": {func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		o := l.refusal(t)
		o.Code = bank.LimitExceeded
		return o.Seq
	}, "reply"},
	"refused, with an unreadable reason": {func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		o := l.refusal(t)
		o.Reply = []byte("garbage")
		return o.Seq
	}, "reply"},
	"an account that never was so": {func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		return forge(t, l.outcome(t, accountID(2).String()))
	}, "reply"},
	"an account that never was so, where there was nothing to do": {func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		i := slices.IndexFunc(l.outcomes, func(o app.Outcome) bool { return o.Events == 0 && o.Code == "" })
		return forge(t, &l.outcomes[i])
	}, "reply"},
	"a bulk that says nothing": {func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		o := l.outcome(t, "")
		o.Reply = []byte("garbage")
		return o.Seq + bank.Seq(o.Events) - 1
	}, "reply"},
	"a bulk of other events": {func(t *testing.T, l *tampered) bank.Seq {
		t.Helper()
		o := l.outcome(t, "")
		o.Reply = codec.EncodeBulk(nil, []codec.BulkItem{{Event: o.Events}})
		return o.Seq + bank.Seq(o.Events) - 1
	}, "reply"},
}

// forge has an outcome answer with another balance.
func forge(t *testing.T, o *app.Outcome) bank.Seq {
	t.Helper()
	a, err := codec.DecodeAccount(o.Reply)
	if err != nil {
		t.Fatal(err)
	}
	a.Balance += 100
	o.Reply = codec.EncodeAccount(nil, &a)
	return o.Seq
}

func TestVerifySaysWhichOutcomesAreWrong(t *testing.T) {
	t.Parallel()
	l := decidedLog(t)
	if r := verify(t, l); !r.OK() || len(l.outcomes) < 10 {
		t.Fatalf("%d outcomes as they were written: %v", len(l.outcomes), r.Differences)
	}
	for _, cases := range []map[string]tampering{tamperedRanges, tamperedReplies} {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				l := decidedLog(t)
				at := c.does(t, l)
				r := verify(t, l)
				if r.OK() || r.Differences[0].Seq != at || !strings.Contains(r.Differences[0].String(), c.want) {
					t.Fatalf("found is %v; want %q at event %d first", r.Differences, c.want, at)
				}
			})
		}
	}
}

// TestVerifyGoesOnBehindAWrongOutcome: one that is moved or lost does not make all the others look wrong.
func TestVerifyGoesOnBehindAWrongOutcome(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(l *tampered, o *app.Outcome){
		"lost":       (*tampered).drop,
		"far ahead":  func(_ *tampered, o *app.Outcome) { o.Seq += 5 },
		"far behind": func(_ *tampered, o *app.Outcome) { o.Seq = 1 },
		"beyond":     func(_ *tampered, o *app.Outcome) { o.Seq = 1_000_000 },
	} {
		l := decidedLog(t)
		at(2, change)(t, l)
		if r := verify(t, l); r.OK() || len(r.Differences) > 2 {
			t.Errorf("%s: %v", name, r.Differences)
		}
	}
}
