package many

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/servers"
	"bankforge/cmd/drill/teller"
)

// outsideRounds are what is done to servers beside the database: commands do not need them.
func outsideRounds() []Round {
	return []Round{
		{"kafka-away", "Kafka stopped for 60 s under load", on(kafkaAway(60*time.Second), "")},
		{"kafka-killed", "kill -9 of Kafka under load; twice", on(gone(servers.Kafka, "kill"), "")},
		{"redis-flushed", "Redis emptied under load; twice", on(redisFlushed(2), "")},
		{"redis-killed", "kill -9 of Redis under load; twice", on(gone(servers.Redis, "kill"), "")},
		{"mongo-away", "MongoDB stopped for 10 s under load", on(mongoAway, "")},
		{"mongo-killed", "kill -9 of MongoDB under load; twice", on(gone(servers.Mongo, "kill"), "")},
	}
}

// kafkaAway has no broker for a while: commands are answered as before, and what they did arrives afterwards.
func kafkaAway(d time.Duration) attack {
	return func(ctx context.Context, s *stage, v *Visit) error {
		err := s.under(ctx, func() error {
			before, err := s.pace(ctx, paceOf)
			if err != nil {
				return err
			}
			if err := s.servers.Do(ctx, "stop", servers.Kafka); err != nil {
				return err
			}
			during, err := s.pace(ctx, d)
			if err == nil {
				v.Noted("median answer %.1f ms before, %.1f ms without Kafka", millis(before), millis(during))
			}
			err = errors.Join(err, s.servers.Do(ctx, "start", servers.Kafka))
			if err == nil && during > slower*before {
				err = check.Wrong(fmt.Errorf("without Kafka commands take %s, and %s with it", during, before))
			}
			return err
		})
		if err != nil {
			return err
		}
		began := time.Now()
		if err := s.judged(ctx); err != nil {
			return err
		}
		v.Noted("everything arrived and compared %.1f s after it was back", time.Since(began).Seconds())
		return nil
	}
}

// A machine that does other things, too, is not always as fast. What waits for a broker waits for seconds.
const (
	slower = 4
	paceOf = 5 * time.Second
)

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// pace is the median time of the commands that are answered from now on, for a while.
func (s *stage) pace(ctx context.Context, d time.Duration) (time.Duration, error) {
	since := s.Office.Now()
	if err := teller.Rest(ctx, d); err != nil {
		return 0, err
	}
	took := s.Office.Took(since)
	if len(took) == 0 {
		return 0, check.Wrong(fmt.Errorf("no command was done in %s: %s", d, s.lastWords()))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

func redisFlushed(times int) attack {
	return func(ctx context.Context, s *stage, _ *Visit) error {
		for range times {
			err := s.under(ctx, func() error { return s.servers.Flush(ctx) })
			if err == nil {
				err = s.judged(ctx)
			}
			if err != nil {
				return fmt.Errorf("redis emptied: %w", err)
			}
		}
		return nil
	}
}

func mongoAway(ctx context.Context, s *stage, v *Visit) error {
	err := s.under(ctx, func() error {
		before := s.Office.Acked()
		err := s.servers.Do(ctx, "stop", servers.Mongo)
		if err == nil {
			err = teller.Rest(ctx, 10*time.Second)
		}
		v.Noted("%d acked without it", s.Office.Acked()-before)
		return errors.Join(err, s.servers.Do(ctx, "start", servers.Mongo))
	})
	if err != nil {
		return err
	}
	return s.judged(ctx)
}
