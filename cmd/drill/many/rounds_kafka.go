package many

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/process"
	"bankforge/cmd/drill/servers"
	"bankforge/cmd/drill/teller"
)

// What without Kafka must be as it is with it: half of the answers may take at most so many times as long. What waits
// for a broker waits for seconds; and a machine that does other things, too, is not always as fast.
const (
	slower = 2
	warmUp = 5 * time.Second // processes that have just begun join their groups, and make their connections
	paceOf = 10 * time.Second
	every  = 100 * time.Millisecond // each client sends a command, and waits so long
)

// kafkaAway has no broker for a while: commands are answered as before, who asks for its acknowledgement is told that
// there is none, and what was done arrives afterwards.
func kafkaAway(d time.Duration) attack {
	return func(ctx context.Context, s *stage, v *Visit) error {
		load := func(ctx context.Context) {
			var all sync.WaitGroup
			all.Go(func() { s.Office.Work(ctx, max(s.conf.Clients/4, 1)) }) // some also read
			s.Office.Move(ctx, s.conf.Clients, every)
			all.Wait()
		}
		err := s.while(ctx, load, func() error {
			if err := teller.Rest(ctx, warmUp); err != nil {
				return err
			}
			with, err := s.pace(ctx, min(d/2, paceOf))
			if err == nil {
				err = s.servers.Do(ctx, "stop", servers.Kafka)
			}
			if err != nil {
				return err
			}
			without, err := s.withoutKafka(ctx, v, d)
			v.Noted("with Kafka %s; without %s", with, without)
			err = errors.Join(err, s.servers.Do(ctx, "start", servers.Kafka))
			return errors.Join(err, check.Wrong(asFast(with, without, s.conf.Slack)))
		})
		if err != nil {
			return err
		}
		began := time.Now()
		if err := s.judged(ctx); err != nil {
			return err
		}
		v.Noted("everything arrived and compared %.1f s after it was back", time.Since(began).Seconds())
		_, err = s.published(ctx, true)
		return err
	}
}

// pace is how commands fare that are sent from now on, for a while.
func (s *stage) pace(ctx context.Context, d time.Duration) (teller.Pace, error) {
	since := s.Office.Now()
	err := teller.Rest(ctx, d)
	return s.Office.Pace(since), err
}

// withoutKafka is the pace without it. Meanwhile who wants its acknowledgement gets an answer without.
func (s *stage) withoutKafka(ctx context.Context, v *Visit, d time.Duration) (p teller.Pace, err error) {
	var asking sync.WaitGroup
	var took []time.Duration
	var failed error
	asking.Go(func() { took, failed = s.published(ctx, false) })
	p, err = s.pace(ctx, d)
	asking.Wait()
	if err = errors.Join(err, failed); err == nil {
		first, last := slices.Min(took), slices.Max(took)
		v.Noted("ack=published answered without it after %.1f to %.1f s", first.Seconds(), last.Seconds())
	}
	return p, err
}

// asFast compares them.
func asFast(with, without teller.Pace, slack int) error {
	switch {
	case without.Answered == 0 || with.Answered == 0:
		return fmt.Errorf("no command was answered: with Kafka %s, without %s", with, without)
	case without.Failed > 0:
		return fmt.Errorf("without Kafka %d commands failed: %s", without.Failed, without)
	case without.Median > slower*time.Duration(slack)*with.Median:
		return fmt.Errorf("without Kafka commands take longer: %s, and %s with it", without, with)
	}
	return nil
}

// publishedWithin is how long an answer waits for the broker.
const publishedWithin = 5 * time.Second

// published asks by every door for the broker's acknowledgement. there: the broker is, and says so in time sooner or
// later.
func (s *stage) published(ctx context.Context, there bool) ([]time.Duration, error) {
	took, errs := make([]time.Duration, s.Office.Doors()), make([]error, s.Office.Doors())
	var all sync.WaitGroup
	for i := range took {
		all.Go(func() {
			var said bool
			_ = teller.Until(ctx, process.Patience, func() bool {
				took[i], said, errs[i] = s.Office.Published(ctx, i)
				return !there || said || errs[i] != nil
			})
			early := took[i] < publishedWithin
			late := took[i] > publishedWithin+2*time.Second*time.Duration(s.conf.Slack) // others wait for the processor, too
			if errs[i] == nil && (said != there || !there && (early || late)) {
				errs[i] = fmt.Errorf("an answer after %s says that Kafka has the message: %t; it is there: %t", took[i], said,
					there)
			}
		})
	}
	all.Wait()
	return took, check.Wrong(errors.Join(errs...))
}

// topicsLost takes from Kafka all that it has. The relay fills the topics again, or the command for it does; handlers
// and live clients go on.
func topicsLost(ctx context.Context, s *stage, v *Visit) error {
	for _, a := range []struct {
		what          string
		disk, command bool
	}{
		{"the disk lost, and filled by the relay", true, false},
		{"the disk lost, and rebuilt", true, true},
		{"deleted on a broker that runs, and rebuilt", false, true},
	} {
		err := s.under(ctx, func() error { return s.loseTopics(ctx, v, a.disk, a.command) })
		if err == nil {
			err = s.judged(ctx)
		}
		if err == nil {
			_, err = s.published(ctx, true)
		}
		if err != nil {
			return fmt.Errorf("topics %s: %w", a.what, err)
		}
		v.Noted("%s", a.what)
	}
	return nil
}

// loseTopics loses them. command: they are filled by "bankforge rebuild topics", for which only the relay must stop.
func (s *stage) loseTopics(ctx context.Context, v *Visit, disk, command bool) error {
	relay := s.named("events")
	if command {
		if err := relay.process.Term(); err != nil {
			return check.Wrong(err)
		}
	}
	if disk {
		err := s.servers.Do(ctx, "wipe", servers.Kafka)
		if err = errors.Join(err, s.servers.Do(ctx, "start", servers.Kafka)); err != nil {
			return err
		}
	}
	if !command {
		return s.filled(ctx)
	}
	out, err := process.Command(ctx, s.conf.Bankforge, slices.Concat([]string{"rebuild", "topics", "--data", s.dir},
		s.where(s.servers.At("POSTGRES")))...)
	if err != nil {
		return check.Wrong(fmt.Errorf("rebuild topics: %w: %s", err, process.LastLine(out)))
	}
	_, done, _ := strings.Cut(process.LastLine(out), "through ")
	done, _, _ = strings.Cut(done, ":")
	v.Noted("rebuilt through %s", done)
	return relay.start(ctx)
}

// filled waits until the relay has made the topics, also those that were lost, and brings messages to them.
func (s *stage) filled(ctx context.Context) error {
	const patience = 4 * process.Patience // how long Kafka takes to make topics says nothing of the bank
	var last error
	err := teller.Until(ctx, patience, func() bool {
		var all []check.Message
		all, last = s.servers.Topic(ctx, accountsTopic, accountVersion)
		return len(all) > 0
	})
	if err != nil {
		return check.Wrong(fmt.Errorf("the relay does not fill the topics: %w, %w: %s", err, last,
			process.Tail(s.named("events").log())))
	}
	return nil
}

// What is told of accounts, and in which header the version stands.
const (
	accountsTopic  = "bankforge.accounts.v1"
	accountVersion = "account_version"
)

// topics waits until Kafka has as much as the log, and holds all that it has against it.
func (s *stage) topics(ctx context.Context) error {
	if !s.conf.Outside {
		return nil
	}
	for _, t := range []struct {
		name, version string
		versions      map[string]uint64
	}{
		{accountsTopic, accountVersion, s.Log.Versions()},
		{"bankforge.transactions.v1", "transaction_version", s.Log.Transactions()},
	} {
		var findings []string
		var last error
		_ = teller.Until(ctx, process.Patience, func() bool { // in the end, what was found tells
			var all []check.Message
			if all, last = s.servers.Topic(ctx, t.name, t.version); last != nil {
				return false
			}
			s.Log.Topic(t.name, all, t.versions)
			findings = s.Log.Findings()
			return len(findings) == 0
		})
		if err := errors.Join(last, check.Broken(findings)); err != nil {
			return check.Wrong(err)
		}
	}
	return nil
}
