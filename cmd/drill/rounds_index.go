package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/process"
	"bankforge/cmd/drill/teller"
)

// indexRounds are about the index of the log. It can be made anew, and must never give a wrong answer: what it does not
// know any more, the bank would do a second time.
func indexRounds() []round {
	return []round{
		{"index-deleted", "the index of the log deleted", indexDeleted},
		{"index-flipped", "one bit of the index flipped, ten times", indexFlipped},
	}
}

func indexDeleted(ctx context.Context, d *drill, at *visit) error {
	s, err := d.worked(ctx, at)
	if err == nil {
		err = s.term()
	}
	if err != nil {
		return err
	}
	files, err := s.indexFiles()
	if err == nil {
		err = os.RemoveAll(filepath.Join(s.data, "index"))
	}
	if err != nil {
		return err
	}
	at.noted("%d files deleted, %d events indexed again", len(files), s.Log.Seq)
	return s.recover(ctx)
}

// indexFlipped flips bits of what is on the disk between two processes, and of what a process has open.
func indexFlipped(ctx context.Context, d *drill, at *visit) error {
	s, err := d.worked(ctx, at)
	noticed := map[string]int{}
	for n := range 10 {
		if err != nil {
			return err
		}
		var how string
		if n%2 == 0 {
			how, err = s.flippedWhileStopped(ctx)
		} else {
			how, err = s.flippedWhileServing(ctx)
		}
		if err == nil {
			err = s.Judge(ctx)
		}
		noticed[how]++
		s.work(ctx, shortWork)
	}
	for _, how := range slices.Sorted(maps.Keys(noticed)) {
		at.noted("%d × %s", noticed[how], how)
	}
	return errors.Join(err, s.Judge(ctx))
}

func (s *stage) flippedWhileStopped(ctx context.Context) (how string, err error) {
	if err := s.term(); err != nil {
		return "", err
	}
	before, err := s.indexLog()
	if err != nil {
		return "", err
	}
	path, err := s.flipIndex()
	if err != nil {
		return "", err
	}
	return s.startDamaged(ctx, path, before)
}

// startDamaged starts a bank with a damaged index, which must notice that, and be whole again by itself.
func (s *stage) startDamaged(ctx context.Context, path string, before indexLog) (how string, err error) {
	if err := s.start(ctx); err != nil {
		return "", check.Wrong(err)
	}
	var now indexLog
	err = teller.Until(ctx, process.Patience, func() bool {
		now, err = s.indexLog()
		_, gone := os.Stat(path)
		noticed := now.anew > before.anew || now.healed > before.healed || errors.Is(gone, os.ErrNotExist)
		return err == nil && noticed && s.whole(ctx)
	})
	switch {
	case err != nil:
		return "", check.Wrong(fmt.Errorf("a bit of %s is wrong, and after the start nobody mends that: %w", path, err))
	case now.anew > before.anew:
		return "noticed at the start", nil
	case now.healed > before.healed:
		return "looked through after the start", nil
	}
	return "gone with a merge", nil
}

// flippedWhileServing is noticed by whoever meets it, or at the next start.
func (s *stage) flippedWhileServing(ctx context.Context) (how string, err error) {
	if err := errors.Join(s.term(), s.start(ctx)); err != nil { // which writes the index out
		return "", err
	}
	before, err := s.indexLog()
	if err != nil {
		return "", err
	}
	path, err := s.flipIndex()
	if err != nil {
		return "", err
	}
	s.work(ctx, shortWork)
	if err := s.AskAgain(ctx, s.Office.Commands()); err != nil { // old keys are what an index is for
		return "", check.Wrong(err)
	}
	if err := teller.Until(ctx, process.Patience, func() bool { return s.whole(ctx) }); err != nil {
		return "", check.Wrong(fmt.Errorf("a bit of %s is wrong, and nobody mends that: %w", path, err))
	}
	now, err := s.indexLog()
	switch {
	case err != nil:
		return "", err
	case now.damaged > before.damaged:
		return "met while serving", nil
	}
	s.kill()
	how, err = s.startDamaged(ctx, path, now)
	return "not met while serving, but " + how, err
}

// indexLog is how often a bank has said something of its index.
type indexLog struct {
	anew    int // at a start
	damaged int // while serving
	healed  int // again
}

func (s *stage) indexLog() (said indexLog, err error) {
	for what, n := range map[string]*int{
		"the index is built anew": &said.anew, "the index is damaged: commands are refused": &said.damaged,
		"the index was built anew": &said.healed,
	} {
		var wrong error
		*n, wrong = s.logged(what)
		err = errors.Join(err, wrong)
	}
	return said, err
}

// whole reports whether the bank says that it is.
func (s *stage) whole(ctx context.Context) bool {
	r, err := s.Client.Get(ctx, "/readyz")
	return err == nil && r.Status == http.StatusOK
}

// flipIndex flips a random bit of a random file where it is, and says of which.
func (s *stage) flipIndex() (path string, err error) {
	files, err := s.indexFiles()
	if err != nil {
		return "", err
	}
	path = files[s.Random.IntN(len(files))]
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return path, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return path, err
	}
	at, b := s.Random.Int64N(info.Size()), make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		return path, err
	}
	b[0] ^= 1 << s.Random.IntN(8)
	_, err = f.WriteAt(b, at)
	return path, err
}

// indexFiles are those that have something in them.
func (s *stage) indexFiles() (files []string, err error) {
	all, err := filepath.Glob(filepath.Join(s.data, "index", "*"))
	for _, path := range all {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			files = append(files, path)
		}
	}
	if err == nil && len(files) == 0 {
		err = errors.New("there is no index")
	}
	return files, err
}

// logged is how often the bank has said something in its log.
func (s *stage) logged(what string) (int, error) {
	b, err := os.ReadFile(s.serveLog())
	return bytes.Count(b, []byte(what)), err
}
