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
	"bankforge/cmd/drill/process"
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
	defer a.Close()
	file := filepath.Join(s.dir, "backup")
	worked := make(chan struct{})
	go func() { defer close(worked); s.work(ctx, 4*time.Second) }()
	err = teller.Rest(ctx, 2*time.Second)
	out, wrong := process.Command(ctx, s.options.Bankforge, "backup", "--data", s.data, file)
	<-worked
	if err := errors.Join(err, wrong); err != nil {
		return check.Wrong(fmt.Errorf("backup: %w: %s", err, out))
	}
	if err := errors.Join(s.Judge(ctx), a.Satisfied(ctx, s.Log)); err != nil {
		return err
	}
	old, before := s.Log, a.Incarnations()
	if err := s.restore(ctx, file); err != nil {
		return err
	}
	at.noted("%d of %d events restored", s.Log.Seq, old.Seq)
	if err := s.isPrefix(old); err != nil {
		return err
	}
	s.workSlowly(ctx, liveWork)
	if err := errors.Join(s.Judge(ctx), a.Satisfied(ctx, s.Log)); err != nil {
		return err
	}
	for epoch := range a.Incarnations() {
		if before[epoch] {
			return check.Wrong(fmt.Errorf("a live client still follows incarnation %s", epoch))
		}
	}
	_, _, reloads := a.Counts()
	at.noted("%d live clients loaded anew", reloads)
	if reloads < backupWatchers {
		return check.Wrong(fmt.Errorf("only %d of %d live clients were told to load anew", reloads, backupWatchers))
	}
	return nil
}

const backupWatchers = 60

// restore goes on from the backup, in a directory of its own. Views of the old bank must not be believed there.
func (s *stage) restore(ctx context.Context, file string) error {
	if err := s.term(); err != nil {
		return err
	}
	views := filepath.Join(s.data, "views.db")
	s.data = filepath.Join(s.dir, "restored")
	if out, err := process.Command(ctx, s.options.Bankforge, "restore", "--data", s.data, file); err != nil {
		return check.Wrong(fmt.Errorf("restore: %w: %s", err, out))
	}
	if err := s.verify(ctx); err != nil {
		return check.Wrong(err)
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
	s.Log = check.NewLog()
	return s.ReadLog(ctx)
}

// isPrefix holds the restored log against the old one, and forgets what has not been restored.
func (s *stage) isPrefix(old *check.Log) error {
	if s.Log.Seq == 0 || s.Log.Seq >= old.Seq {
		return fmt.Errorf("%d events of %d were restored: the backup was not made under load", s.Log.Seq, old.Seq)
	}
	for seq := uint64(1); seq <= s.Log.Seq; seq++ {
		if s.Log.By(seq) != old.By(seq) {
			return check.Wrong(fmt.Errorf("event %d is by %q, and was by %q", seq, s.Log.By(seq), old.By(seq)))
		}
	}
	s.Office.Keep(s.Log.Has)
	s.Office.Relearn(teller.Open) // their answers name the incarnation
	s.Past, s.Judged = s.Log.Now(), len(s.Office.Commands())
	return check.Broken(s.Log.Findings())
}
