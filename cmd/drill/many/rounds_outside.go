package many

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bankforge/cmd/drill/servers"
	"bankforge/cmd/drill/teller"
)

// outsideRounds are what is done to servers beside the database: commands do not need them.
func outsideRounds() []Round {
	return []Round{
		{"kafka-away", "Kafka stopped for 60 s under load", on(kafkaAway(60*time.Second), "")},
		{"kafka-killed", "kill -9 of Kafka under load; twice", on(gone(servers.Kafka, "kill"), "")},
		{"topics-lost", "Kafka loses its disk, and topics are deleted, under load", on(topicsLost, "")},
		{"redis-flushed", "Redis emptied under load; twice", on(redisFlushed(2), "")},
		{"redis-killed", "kill -9 of Redis under load; twice", on(gone(servers.Redis, "kill"), "")},
		{"mongo-away", "MongoDB stopped for 10 s under load", on(mongoAway, "")},
		{"mongo-killed", "kill -9 of MongoDB under load; twice", on(gone(servers.Mongo, "kill"), "")},
	}
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
