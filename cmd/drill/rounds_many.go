package main

import (
	"context"

	"bankforge/cmd/drill/many"
)

// ofMany are the rounds that attack a bank of many processes on real servers.
func (d *drill) ofMany() (all []round) {
	outside := d.Profile == "kafka"
	conf := many.Config{Bankforge: d.Bankforge, Script: d.Services, Clients: d.Clients, Outside: outside, Slack: 1}
	rounds := many.Rounds(outside)
	if d.Short {
		rounds, conf.Slack = many.Short(outside), 4 // it is a test, and others run beside it
	}
	for _, r := range rounds {
		all = append(all, round{r.Name, r.Does, func(ctx context.Context, _ *drill, at *visit) error {
			return r.Run(ctx, &many.Visit{Config: conf, Dir: at.dir, Seed: at.seed, Noted: at.noted})
		}})
	}
	if outside {
		all = append(all, d.faultRounds()...)
	}
	return all
}
