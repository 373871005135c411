package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/teller"
)

// backupRounds are about going on from a copy.
func backupRounds() []round {
	return []round{{"backup", "a backup under load, restored into an empty directory, with live clients", backedUp}}
}

// backedUp makes a backup of a bank at work, and goes on from it while clients of the old one are still there.
func backedUp(ctx context.Context, d *drill, at *visit) error {
	s, err := d.stage(ctx, at, "")
	if err != nil {
		return err
	}
	a, err := s.audience(ctx, backupWatchers)
	if err != nil {
		return err
	}
	defer a.close()
	file := filepath.Join(s.dir, "backup")
	worked := make(chan struct{})
	go func() { defer close(worked); s.work(ctx, 4*time.Second) }()
	err = teller.Rest(ctx, 2*time.Second)
	out, wrong := command(ctx, s.options.Bankforge, "backup", "--data", s.data, file)
	<-worked
	if err := errors.Join(err, wrong); err != nil {
		return found(fmt.Errorf("backup: %w: %s", err, out))
	}
	if err := errors.Join(s.judge(ctx), a.satisfied(ctx, s)); err != nil {
		return err
	}
	old, before := s.log, a.incarnations()
	if err := s.restore(ctx, file); err != nil {
		return err
	}
	at.noted("%d of %d events restored", s.log.Seq, old.Seq)
	if err := s.isPrefix(old); err != nil {
		return err
	}
	s.workSlowly(ctx, liveWork)
	if err := errors.Join(s.judge(ctx), a.satisfied(ctx, s)); err != nil {
		return err
	}
	for epoch := range a.incarnations() {
		if before[epoch] {
			return found(fmt.Errorf("a live client still follows incarnation %s", epoch))
		}
	}
	_, _, reloads := a.counts()
	at.noted("%d live clients loaded anew", reloads)
	if reloads < backupWatchers {
		return found(fmt.Errorf("only %d of %d live clients were told to load anew", reloads, backupWatchers))
	}
	return nil
}

const backupWatchers = 60

// incarnations are those that the clients follow.
func (a *audience) incarnations() map[string]bool {
	all := map[string]bool{}
	for _, w := range a.watchers {
		all[w.Report().Epoch] = true
	}
	return all
}

// restore goes on from the backup, in a directory of its own. Views of the old bank must not be believed there.
func (s *stage) restore(ctx context.Context, file string) error {
	if err := s.term(); err != nil {
		return err
	}
	views := filepath.Join(s.data, "views.db")
	s.data = filepath.Join(s.dir, "restored")
	if out, err := command(ctx, s.options.Bankforge, "restore", "--data", s.data, file); err != nil {
		return found(fmt.Errorf("restore: %w: %s", err, out))
	}
	if err := s.verify(ctx); err != nil {
		return found(err)
	}
	copied := filepath.Join(s.data, "views.db")
	b, err := os.ReadFile(views)
	if err == nil {
		err = os.WriteFile(copied, b, 0o600) //nolint:gosec // a file of our own bank
	}
	if err != nil {
		return err
	}
	if _, err := s.refused(regexp.MustCompile(`views\.db is of another log`)); err != nil {
		return err
	}
	left, err := filepath.Glob(copied + "*")
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	if err == nil {
		err = s.start(ctx)
	}
	if err != nil {
		return err
	}
	s.log = check.NewLog()
	return s.readLog(ctx)
}

// isPrefix holds the restored log against the old one, and forgets what has not been restored.
func (s *stage) isPrefix(old *check.Log) error {
	if s.log.Seq == 0 || s.log.Seq >= old.Seq {
		return fmt.Errorf("%d events of %d were restored: the backup was not made under load", s.log.Seq, old.Seq)
	}
	for seq := uint64(1); seq <= s.log.Seq; seq++ {
		if s.log.By(seq) != old.By(seq) {
			return found(fmt.Errorf("event %d is by %q, and was by %q", seq, s.log.By(seq), old.By(seq)))
		}
	}
	s.office.Keep(s.log.Has)
	s.office.Relearn(teller.Open) // their answers name the incarnation
	s.past, s.judged = s.log.Now(), len(s.office.Commands())
	return broken(s.log.Findings())
}
