package main

import (
	"context"

	"bankforge/app/bank"
	"bankforge/router"
)

// authors is app.Authors of a log that several processes share: whoever reads in one of them sees what it was told
// by another one. It asks where the log ends each time, and looks at what the reader's view does not have.
type authors struct{ source router.Source }

const (
	authorsPage = 512  // events that are looked at together
	authorsMost = 8192 // events; a view that is further behind is waited for as a whole
)

// LastBy implements app.Authors.
func (a authors) LastBy(ctx context.Context, subject string, after bank.Seq) (last bank.Seq, err error) {
	head, err := a.source.Head(ctx)
	switch {
	case err != nil || head.Seq <= after:
		return 0, err
	case head.Seq-after > authorsMost:
		return head.Seq, nil
	}
	for after < head.Seq {
		events, err := a.source.Read(ctx, after, int(min(authorsPage, head.Seq-after)))
		if err != nil || len(events) == 0 {
			return last, err
		}
		for i := range events {
			if events[i].Meta.Actor == subject {
				last = events[i].Seq
			}
		}
		after += bank.Seq(len(events))
	}
	return last, nil
}
