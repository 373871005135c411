package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/process"
	"bankforge/cmd/drill/teller"
)

// damageRounds are what a disk, or a hand, does to files.
func damageRounds() []round {
	return []round{
		{"tail-cut", "the end of the log's file cut off after kill -9", tailDamaged(cut)},
		{"tail-flipped", "one bit flipped near the end of the log's file after kill -9", tailDamaged(flipNearEnd)},
		{"last-flipped", "one bit of the last event flipped", lastFlipped},
		{"middle-flipped", "one bit of an event in the middle flipped", middleFlipped},
		{"snapshot-flipped", "one bit of the snapshot flipped", snapshotFlipped},
		{"views-deleted", "views.db deleted", viewsDeleted},
		{"state-deleted", "state.db deleted", stateDeleted},
	}
}

// worked is a bank that has done something, whose views have it, and whose process still runs.
func (d *drill) worked(ctx context.Context, at *visit) (*stage, error) {
	s, err := d.stage(ctx, at, "")
	if err != nil {
		return s, err
	}
	s.work(ctx, 2*shortWork)
	if err := s.Judge(ctx); err != nil {
		return s, err
	}
	return s, s.caughtUp(ctx)
}

// caughtUp waits until every handler has every event.
func (s *stage) caughtUp(ctx context.Context) error {
	var said teller.Reply
	err := teller.Until(ctx, process.Patience, func() bool {
		var ready struct {
			Modules []struct {
				Lag uint64 `json:"lag"`
			} `json:"modules"`
		}
		var err error
		if said, err = s.Client.Get(ctx, "/readyz"); err == nil {
			err = json.Unmarshal(said.Body, &ready)
		}
		lag := uint64(0)
		for _, m := range ready.Modules {
			lag += m.Lag
		}
		return err == nil && lag == 0
	})
	if err != nil {
		return check.Wrong(fmt.Errorf("the handlers do not catch up: %w: %d %s", err, said.Status, said.Body))
	}
	return nil
}

// position is how a refusal says where the damage is.
var position = regexp.MustCompile(`event \d+|ends at \d+`)

// refused starts the bank, which must not serve, and must say why.
func (s *stage) refused(why *regexp.Regexp) (string, error) {
	err := s.launch("")
	said := process.LastLine(strings.ReplaceAll(process.Tail(s.serveLog()), " | ", "\n"))
	if !errors.Is(err, process.ErrEnded) {
		s.kill()
		return said, check.Wrong(fmt.Errorf("it serves what is damaged: %w", errors.Join(err, errors.New(said))))
	}
	if !why.MatchString(said) {
		return said, check.Wrong(fmt.Errorf("it is refused, but does not say %s: %s", why, said))
	}
	return said, nil
}

// tailDamaged damages what a killed process has left behind its last checkpoint of the file.
func tailDamaged(damage func(path string) error) func(context.Context, *drill, *visit) error {
	return func(ctx context.Context, d *drill, at *visit) error {
		s, err := d.worked(ctx, at)
		if err != nil {
			return err
		}
		s.kill()
		if err := damage(filepath.Join(s.data, "bank.db-wal")); err != nil {
			return err
		}
		said, err := s.refused(position)
		at.noted("refused: %s", said)
		return err
	}
}

func cut(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, info.Size()-info.Size()/20)
}

func flipNearEnd(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[len(b)-len(b)/20] ^= 1
	return os.WriteFile(path, b, 0o600) //nolint:gosec // a file of our own bank
}

// flipText flips a bit wherever the file has the text.
func flipText(path, text string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	n := 0
	for i := bytes.Index(b, []byte(text)); i >= 0; i = bytes.Index(b, []byte(text)) {
		b[i+len(text)/2] ^= 1
		n++
	}
	if n == 0 {
		return fmt.Errorf("%s does not have %q", path, text)
	}
	return os.WriteFile(path, b, 0o600) //nolint:gosec // a file of our own bank
}

func lastFlipped(ctx context.Context, d *drill, at *visit) error {
	s, err := d.worked(ctx, at)
	if err == nil {
		err = s.term()
	}
	if err == nil {
		err = flipText(filepath.Join(s.data, "bank.db"), s.Log.By(s.Log.Seq))
	}
	if err != nil {
		return err
	}
	first := s.Log.Seq // that names the same command: a bulk is several events
	for s.Log.By(first-1) == s.Log.By(first) {
		first--
	}
	said, err := s.refused(regexp.MustCompile(fmt.Sprintf("event %d ", first)))
	at.noted("refused: %s", said)
	return err
}

func middleFlipped(ctx context.Context, d *drill, at *visit) error {
	s, err := d.worked(ctx, at)
	if err == nil {
		err = s.term()
	}
	seq := s.Log.Seq/4 + 1
	for s.Log.By(seq) == s.Log.By(seq-1) || s.Log.By(seq) == s.Log.By(seq+1) {
		seq++ // one of a bulk would name another
	}
	if err == nil {
		err = flipText(filepath.Join(s.data, "bank.db"), s.Log.By(seq))
	}
	if err != nil {
		return err
	}
	out, err := process.Command(ctx, s.options.Bankforge, "verify", "--data", s.data)
	if err == nil || !strings.Contains(out, fmt.Sprintf("event %d", seq)) {
		return check.Wrong(fmt.Errorf("verify has not found event %d: %w: %s", seq, err, process.FirstLines(out)))
	}
	at.noted("verify: %s", process.FirstLines(out))
	return nil
}

func snapshotFlipped(ctx context.Context, d *drill, at *visit) error {
	s, err := d.worked(ctx, at)
	if err == nil {
		err = s.term()
	}
	if err != nil {
		return err
	}
	snapshots, err := filepath.Glob(filepath.Join(s.data, "snapshots", "snapshot-*.bin"))
	if err != nil || len(snapshots) == 0 {
		return errors.Join(err, errors.New("there is no snapshot"))
	}
	for _, path := range snapshots {
		if err := flipNearEnd(path); err != nil {
			return err
		}
	}
	if err := s.recover(ctx); err != nil {
		return err
	}
	passedOver, err := s.logged("snapshot is passed over")
	if err == nil && passedOver == 0 {
		err = check.Wrong(errors.New("it does not say that the snapshot is damaged"))
	}
	at.noted("ignored, %d events replayed", s.Log.Seq)
	return err
}

// viewsDeleted reads from the first moment on: what is old or not there yet, says so.
func viewsDeleted(ctx context.Context, d *drill, at *visit) error {
	s, err := d.worked(ctx, at)
	if err == nil {
		s.work(ctx, 3*time.Second)
		err = errors.Join(s.Judge(ctx), s.term())
	}
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(s.data, "views.db*"))
	for _, path := range files {
		err = errors.Join(err, os.Remove(path))
	}
	if err == nil {
		err = s.launch("")
	}
	if err != nil {
		return err
	}
	stale, fresh := 0, 0
	err = teller.Until(ctx, process.Patience, func() bool {
		for _, a := range s.Office.Accounts() {
			r, err := s.Client.Get(ctx, "/v1/accounts/"+a.ID)
			switch {
			case err != nil:
			case r.Status == http.StatusServiceUnavailable, r.Header.Get("Bankforge-Stale") == "true":
				stale++
			default:
				fresh++
				s.fresh(&r)
			}
		}
		return fresh > 30
	})
	if err == nil && stale == 0 {
		err = check.Wrong(errors.New("no read said that it was stale"))
	}
	at.noted("%d reads said stale, then %d were right", stale, fresh)
	if err := errors.Join(err, check.Broken(s.Log.Findings())); err != nil {
		return err
	}
	return s.Judge(ctx)
}

// fresh holds an account that does not say to be stale against the log.
func (s *stage) fresh(r *teller.Reply) {
	var seen teller.Seen
	if err := seen.Read(r); err != nil {
		s.Log.Found(err.Error())
		return
	}
	s.Log.Seen(&seen)
}

func stateDeleted(ctx context.Context, d *drill, at *visit) error {
	s, err := d.worked(ctx, at)
	if err == nil {
		err = s.term()
	}
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(s.data, "state.db")); err != nil {
		return err
	}
	said, err := s.refused(regexp.MustCompile(`state\.db is missing .* put it back`))
	at.noted("refused: %s", said)
	return err
}
