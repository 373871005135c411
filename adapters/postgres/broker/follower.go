package broker

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"

	"bankforge/app/bank"
	"bankforge/handlers"
)

// follower is what watermill-sql asks in one session: its SchemaAdapter, OffsetsAdapter and BackoffManager.
//
// A row of its schema is a stretch of the log: one row for each event would be one message for each, and one
// transaction of the handler for each of those. The offset of a row is the position of its end, seq·4096 + 4095.
type follower struct {
	s      *Subscriber
	ctx    context.Context //nolint:containedctx // watermill-sql asks the BackoffManager without one
	table  string
	offset atomic.Int64    // the position that everything up to has been acknowledged
	hint   <-chan struct{} // taken before the log was read: what is written after that closes it
	limit  int64           // events that were asked for
	polls  bool            // it has waited in vain for the hint, and asks by itself: a hint may be lost
}

var (
	_ wmsql.SchemaAdapter  = (*follower)(nil)
	_ wmsql.OffsetsAdapter = (*follower)(nil)
	_ wmsql.BackoffManager = (*follower)(nil)
)

// selectStretch reads at most $2 events behind those that next names, with the incarnation of the log that they are in.
// Each is preceded by its length. Whoever decodes them checks their order.
const selectStretch = `WITH next AS (%s)
	SELECT head.incarnation, next.after, read.events, read.data
	FROM next JOIN ledger_head AS head ON head.ledger = 'main'
	CROSS JOIN LATERAL (
		SELECT count(*) AS events, string_agg(int4send(length(e.data)) || e.data, ''::bytea) AS data
		FROM (SELECT data FROM %s WHERE seq > next.after ORDER BY seq LIMIT $2) AS e
	) AS read WHERE read.events > 0`

// selectNext turns an offset into the last event that is not to be read again.
const selectNext = `SELECT greatest(($1::bigint + 1) / 4096 - 1, 0) AS after`

// NextOffsetQuery says where the next row begins.
func (f *follower) NextOffsetQuery(string, string) wmsql.Query {
	return wmsql.Query{Query: selectNext, Args: []any{f.offset.Load()}}
}

// SelectQuery reads the next stretch; there is at most one row.
func (f *follower) SelectQuery(topic, group string, o wmsql.OffsetsAdapter) wmsql.Query {
	f.hint = f.s.t.Hints.Next()
	next := o.NextOffsetQuery(topic, group)
	after := handlers.PositionAt(f.offset.Load()).Whole()
	// As a Tail reads: handlers tell by it whether there is more.
	f.limit = int64(f.s.events) - int64(after)%int64(f.s.events)
	return wmsql.Query{Query: fmt.Sprintf(selectStretch, next.Query, f.table), Args: append(next.Args, f.limit)}
}

// stretch is a part of the log: the events from after + 1 on.
type stretch struct {
	incarnation string
	after       bank.Seq
	events      int
	data        []byte // each with its length before it
}

// through is the last event.
func (s *stretch) through() bank.Seq { return s.after + bank.Seq(s.events) }

// Metadata of the messages that watermill-sql hands to the session.
const (
	metaIncarnation = "incarnation"
	metaAfter       = "after"
	metaEvents      = "events"
)

// UnmarshalMessage makes a message of a row, whatever the row holds: it is opened later.
func (f *follower) UnmarshalMessage(row wmsql.Scanner) (wmsql.Row, error) {
	var s stretch
	if err := row.Scan(&s.incarnation, &s.after, &s.events, &s.data); err != nil {
		return wmsql.Row{}, err
	}
	through := handlers.End(s.through())
	msg := message.NewMessage(s.incarnation+"-"+strconv.FormatUint(uint64(through.Seq), 10), s.data)
	msg.Metadata.Set(metaIncarnation, s.incarnation)
	msg.Metadata.Set(metaAfter, strconv.FormatUint(uint64(s.after), 10))
	msg.Metadata.Set(metaEvents, strconv.Itoa(s.events))
	return wmsql.Row{Offset: through.Offset(), UUID: []byte(msg.UUID), Payload: msg.Payload, Msg: msg}, nil
}

// stretchOf is the inverse of UnmarshalMessage.
func stretchOf(msg *message.Message) (*stretch, error) {
	after, err1 := strconv.ParseUint(msg.Metadata.Get(metaAfter), 10, 64)
	events, err2 := strconv.Atoi(msg.Metadata.Get(metaEvents))
	s := &stretch{msg.Metadata.Get(metaIncarnation), bank.Seq(after), events, msg.Payload}
	return s, errors.Join(err1, err2)
}

// each calls fn with each event's seq and bytes.
func (s *stretch) each(fn func(seq bank.Seq, data []byte) error) error {
	rest := s.data
	for seq := s.after + 1; seq <= s.through(); seq++ {
		if len(rest) < 4 || uint64(len(rest)-4) < uint64(binary.BigEndian.Uint32(rest)) {
			return fmt.Errorf("event %d is cut off", seq)
		}
		n := 4 + int(binary.BigEndian.Uint32(rest))
		if err := fn(seq, rest[4:n:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// AckMessageQuery has nothing to store: the handler's checkpoint says it.
func (*follower) AckMessageQuery(string, wmsql.Row, string) wmsql.Query { return wmsql.Query{} }

// ConsumedMessageQuery is none.
func (*follower) ConsumedMessageQuery(string, wmsql.Row, string, []byte) wmsql.Query {
	return wmsql.Query{}
}

// BeforeSubscribingQueries are none.
func (*follower) BeforeSubscribingQueries(string, string) []wmsql.Query { return nil }

// SchemaInitializingQueries are none: the log has its tables.
func (*follower) SchemaInitializingQueries(string) []wmsql.Query { return nil }

// SubscribeIsolationLevel is any: there is one statement.
func (*follower) SubscribeIsolationLevel() sql.IsolationLevel { return sql.LevelDefault }

// InsertQuery refuses: nobody but the decider appends.
func (*follower) InsertQuery(string, message.Messages) (wmsql.Query, error) {
	return wmsql.Query{}, errors.New("nobody but the decider appends to the log")
}

// HandleError waits as long as it takes until there may be more to read. The wait that it asks of watermill-sql is
// none, because no hint would end that.
func (f *follower) HandleError(_ watermill.LoggerAdapter, nothing bool, err error) time.Duration {
	switch {
	case f.ctx.Err() != nil:
	case err != nil:
		f.s.t.Log.ErrorContext(f.ctx, "cannot read on", "after", f.offset.Load(), "error", err)
		f.s.wait(f.ctx, nil, f.s.t.Again)
	case nothing:
		f.s.wait(f.ctx, f.hint, f.s.t.Poll)
		f.polls = !isClosed(f.hint)
	}
	return 0
}
