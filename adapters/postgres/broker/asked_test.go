package broker

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5"

	"bankforge/app/bank"
	"bankforge/router"
)

// counted counts questions.
type counted struct {
	Querier
	n atomic.Int64
}

func (c *counted) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	c.n.Add(1)
	return c.Querier.Query(ctx, sql, args...)
}

// TestOneQuestionForAllWhoWaitAtTheEnd: handlers that are woken by one commit ask for it once, and not again whether
// there is more before they are woken again.
func TestOneQuestionForAllWhoWaitAtTheEnd(t *testing.T) {
	t.Parallel()
	books := openBooks(t, 1000)
	log := &counted{Querier: books.Ledger()}
	b, tail := New(log), tailFrom(router.Checkpoint{}.Position)
	tail.Hints, tail.Poll = router.NewHints(), time.Hour
	books.append(t, 100)
	var all []<-chan *message.Message
	for _, topic := range []bank.Topic{bank.AccountsTopic, bank.TransactionsTopic, bank.AccountsTopic} {
		sub, err := b.Follow(router.Route{Name: "test"}, tail, 4096)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { sub.Close() })
		msgs, err := sub.Subscribe(t.Context(), string(topic))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, msgs)
	}
	for round, upTo := range []bank.Seq{100, 150, 180} {
		for _, msgs := range all {
			msg, _, last := next(t, msgs)
			if last > upTo || last+20 < upTo {
				t.Errorf("the message ends with event %d, and the log with %d", last, upTo)
			}
			msg.Ack()
		}
		if upTo < 180 {
			books.append(t, 50-20*round)
			tail.Hints.Wake()
		}
	}
	if n := log.n.Load(); n != 3 {
		t.Errorf("it was asked %d times for 3 commits", n)
	}
}

func TestAnAnswerIsOnlyForThoseWhoWaitForTheSame(t *testing.T) {
	t.Parallel()
	one, other := make(chan struct{}), make(chan struct{})
	a, n := &asked{}, 0
	ask := func() (*answer, error) { n++; return &answer{rows: [][]any{{n}}}, nil }
	for i, c := range []struct {
		hint <-chan struct{}
		args []any
		want int
	}{
		{one, []any{int64(1), int64(2)}, 1},
		{one, []any{int64(1), int64(2)}, 1},
		{other, []any{int64(1), int64(2)}, 2}, // since then something may have been written
		{other, []any{int64(1), int64(3)}, 3}, // from elsewhere
		{nil, []any{int64(1), int64(3)}, 4},   // nobody would tell it of more
		{nil, []any{int64(1), int64(3)}, 5},
	} {
		got, err := a.answer(c.hint, c.args, ask)
		if err != nil || len(got.rows) != 1 || got.rows[0][0] != c.want {
			t.Errorf("question %d: %v, %v, want answer %d", i+1, got, err, c.want)
		}
		got.rows = nil // as whoever reads them does
	}
	failed := errors.New("the session is over")
	if _, err := a.answer(one, nil, func() (*answer, error) { return nil, failed }); !errors.Is(err, failed) {
		t.Errorf("a failure: %v", err)
	}
	if got, err := a.answer(one, nil, ask); err != nil || got.rows[0][0] != 6 {
		t.Errorf("after a failure: %v, %v", got, err)
	}
}

// TestPollingFindsWhatNoHintTellsOf: the answer that there is no more is not good for ever.
func TestPollingFindsWhatNoHintTellsOf(t *testing.T) {
	t.Parallel()
	books := openBooks(t, 1000)
	tail := tailFrom(router.Checkpoint{}.Position)
	tail.Hints = router.NewHints()
	_, msgs := subscribe(t, books.broker(), tail, 4096)
	for _, upTo := range []bank.Seq{100, 150} {
		books.append(t, int(upTo-books.head.Seq))
		for last := bank.Seq(0); last+20 < upTo; { // some events are of other topics
			var msg *message.Message
			msg, _, last = next(t, msgs)
			msg.Ack()
		}
	}
}
