package faults

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/process"
	"bankforge/cmd/drill/servers"
	"bankforge/cmd/drill/teller"
)

// The topics that poison comes on.
const (
	accountsTopic     = "bankforge.accounts.v1"
	transactionsTopic = "bankforge.transactions.v1"
)

// topics are what is known of Kafka's.
type topics struct {
	sample servers.Record // one of the relay's
	last   map[int]string // the position of the last message of accounts, by partition
	at     map[string]int // partitions of accounts
}

// broken are bytes that nobody can read.
var broken = []string{"\xff\xfe\x00\x01 \x80", "", `{"account_id":"`, "{\"name\":\"\xc3\x28\"}", "null", `[1,2`}

// forge puts broken messages where the log has good ones, before the relay sends these: what is parked by that, an
// operator must see and give up.
func (b *bank) forge(ctx context.Context) error {
	const patience = 4 * process.Patience // how long Kafka takes to make topics says nothing of the bank
	if err := teller.Until(ctx, patience, func() bool { return b.learn(ctx) }); err != nil {
		return check.Wrong(fmt.Errorf("the topics are not filled: %w", err))
	}
	relay := b.named(relaying)
	relay.process.Kill()
	b.lives.killed++
	forged := map[int]bool{}
	for range 12 {
		var made struct {
			Seq     uint64         `json:"seq"`
			Entries []teller.Entry `json:"entries"`
		}
		if err := b.ask(ctx, "/v1/transfers", b.transfer(), &made); err != nil {
			return err
		}
		for n, e := range made.Entries {
			at := b.topics.at[e.Account]
			if forged[at] {
				continue // what came before it in its partition, nobody has sent yet
			}
			forged[at] = true
			r := servers.Record{Key: e.Account, Headers: maps.Clone(b.topics.sample.Headers)}
			r.Headers["key"], r.Headers["ce_subject"], r.Headers["prev"] = e.Account, e.Account, b.topics.last[at]
			r.Headers["position"] = fmt.Sprintf("%d.%d", made.Seq, n)
			r.Headers["account_version"] = strconv.FormatUint(e.Version, 10)
			if err := b.put(ctx, accountsTopic, &r); err != nil {
				return err
			}
		}
	}
	return relay.start(ctx, false)
}

// learn reads what the topic of accounts has, and reports whether all accounts have their first two messages there.
func (b *bank) learn(ctx context.Context) bool {
	all, err := b.servers.Records(ctx, accountsTopic)
	if err != nil {
		return false
	}
	b.topics = topics{last: map[int]string{}, at: map[string]int{}}
	whole := map[string]bool{}
	for _, r := range all {
		b.topics.sample = r
		b.topics.last[r.Partition], b.topics.at[r.Key] = r.Headers["position"], r.Partition
		whole[r.Key] = r.Headers["account_version"] == "2"
	}
	for _, a := range b.accounts {
		if !whole[a] {
			return false
		}
	}
	return true
}

// put has Kafka take a record whose payload nobody can read.
func (b *bank) put(ctx context.Context, topic string, r *servers.Record) error {
	r.Payload = []byte(broken[b.random.IntN(len(broken))])
	b.poisoned++
	return b.servers.Produce(ctx, topic, r)
}

// poison puts something on a topic that is not the relay's, under a key in use or a strange one. Nothing may come of
// it, whatever it says of itself.
func (b *bank) poison(ctx context.Context) error {
	var head struct {
		Seq         uint64 `json:"seq"`
		Incarnation string `json:"incarnation"`
	}
	err := teller.Until(ctx, process.Patience, func() bool {
		for _, m := range b.members {
			r, err := m.client.Get(ctx, "/v1/ledger/head")
			if err == nil && r.Status == http.StatusOK && m.client.GetInto(ctx, "/v1/ledger/head", &head) == nil {
				return true
			}
		}
		return false
	})
	if err != nil {
		return check.Wrong(fmt.Errorf("nobody tells the head of the log: %w", err))
	}
	key := b.accounts[b.random.IntN(len(b.accounts))]
	if b.random.IntN(3) == 0 {
		key = "strange \xff " + strings.Repeat("?", b.random.IntN(40))
	}
	topic := accountsTopic
	if b.random.IntN(4) == 0 {
		topic = transactionsTopic
	}
	r := servers.Record{Key: key}
	lie := maps.Clone(b.topics.sample.Headers)
	delete(lie, "prev")
	lie["key"], lie["incarnation"], lie["position"] = key, head.Incarnation, fmt.Sprintf("%d.0", head.Seq)
	switch b.random.IntN(6) {
	case 0: // says nothing
	case 1: // says what is no position
		lie["position"] = "\xff"
		r.Headers = lie
	case 2: // stands behind the end of the log
		lie["position"] = fmt.Sprintf("%d.0", head.Seq+1_000_000)
		r.Headers = lie
	case 3: // can be read, and stands there
		lie["position"] = fmt.Sprintf("%d.0", head.Seq+1_000_000)
		r = b.topics.sample
		lie["key"] = r.Key
		b.poisoned++
		return b.servers.Produce(ctx, accountsTopic, &servers.Record{Key: r.Key, Headers: lie, Payload: r.Payload})
	case 4: // is of another log
		lie["incarnation"] = "inc_of_another_log"
		r.Headers = lie
	default: // stands where something else is, which may not have come yet
		r.Headers = lie
	}
	return b.put(ctx, topic, &r)
}
