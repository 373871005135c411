package apptest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bankforge/app"
)

// sharedLog is what processes share in memory, without the promises that are taken out.
type sharedLog struct {
	leaseBreach
	*MemoryLog
	mu     sync.Mutex
	holder app.Holder
	mine   int // whose lease it is
	until  time.Time
}

type leaseBreach struct{ steals, endless, deaf, sticky, meddles, mute, homeless, selfish bool }

const leaseInMemory = 3 * time.Second

// sharer is one of the processes.
type sharer struct {
	*sharedLog
	n int
}

func (s sharer) Acquire(ctx context.Context, name string) (app.Head, error) {
	for {
		s.mu.Lock()
		own := s.mine == s.n && !s.selfish
		if free := s.until.Before(time.Now()) && !(s.endless && s.mine > 0); free || own || s.steals {
			head, err := s.MemoryLog.Acquire(ctx, name)
			s.holder = app.Holder{Owner: name, Address: fmt.Sprint("at ", s.n), Term: head.Term}
			if s.homeless {
				s.holder.Address = "at home"
			}
			s.mine, s.until = s.n, time.Now().Add(leaseInMemory)
			s.mu.Unlock()
			return head, err
		}
		s.mu.Unlock()
		if err := wait(ctx, 100*time.Millisecond); err != nil {
			return app.Head{}, err
		}
	}
}

func (s sharer) Renew(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mine != s.n && !s.deaf {
		return app.ErrFenced
	}
	s.until = time.Now().Add(leaseInMemory)
	return nil
}

func (s sharer) Release(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mine == s.n && !s.sticky || s.meddles {
		s.until = time.Time{}
	}
	return nil
}

func (s sharer) Holder(context.Context) (app.Holder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.holder
	h.Valid = s.mute || !s.until.Before(time.Now()) && h.Owner != ""
	return h, nil
}

func TestLeaseSuite(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		broken leaseBreach
		want   string
	}{
		"none":                           {},
		"nobody waits":                   {leaseBreach{steals: true}, "keeps others out"},
		"many heirs":                     {leaseBreach{steals: true}, "of many that stand by"},
		"it never runs out":              {leaseBreach{endless: true}, "who does not renew"},
		"the old owner is told nothing":  {leaseBreach{deaf: true}, "who does not renew"},
		"it cannot be given up":          {leaseBreach{sticky: true}, "keeps nobody waiting"},
		"anybody ends it":                {leaseBreach{meddles: true}, "who does not renew"},
		"it always looks valid":          {leaseBreach{mute: true}, "everybody sees"},
		"all are reached at one address": {leaseBreach{homeless: true}, "everybody sees"},
		"one waits for oneself":          {leaseBreach{selfish: true}, "one's own lease"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				err := TestLease(t.Context(), LeaseStore{For: leaseInMemory, Open: func(n int) (logs []LeasedLog, _ error) {
					shared := &sharedLog{leaseBreach: c.broken, MemoryLog: &MemoryLog{}}
					for i := range n {
						logs = append(logs, sharer{shared, i + 1})
					}
					return logs, nil
				}})
				if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Fatalf("the suite says %v; want %q", err, c.want)
				}
			})
		})
	}
}
