package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	at.noted("%d files deleted, %d events indexed again", len(files), s.log.Seq)
	return s.recover(ctx)
}

func indexFlipped(ctx context.Context, d *drill, at *visit) error {
	s, err := d.worked(ctx, at)
	noticed := map[string]int{}
	for range 10 {
		if err == nil {
			err = s.term() // which writes the index out
		}
		if err == nil {
			err = s.flipIndex()
		}
		if err != nil {
			return err
		}
		said, err := s.recoverIndex(ctx)
		if err != nil {
			return err
		}
		noticed[said]++
		s.work(ctx, shortWork)
	}
	for _, how := range slices.Sorted(maps.Keys(noticed)) {
		at.noted("%d × %s", noticed[how], how)
	}
	return errors.Join(err, s.judge(ctx))
}

// What a bank says of its index.
const (
	indexAnew    = "the index is built anew"
	indexDamaged = "the index is damaged"
)

// recoverIndex starts a bank with a damaged index, and says how the damage was noticed. Whoever notices it, the bank
// must be right again after one more start, before which verify may want the index deleted.
func (s *stage) recoverIndex(ctx context.Context) (how string, err error) {
	anew, err := s.logged(indexAnew)
	if err != nil {
		return "", err
	}
	damaged, err := s.logged(indexDamaged)
	if err != nil {
		return "", err
	}
	wrong := s.recover(ctx)
	nowAnew, err1 := s.logged(indexAnew)
	nowDamaged, err2 := s.logged(indexDamaged)
	switch err := errors.Join(err1, err2); {
	case err != nil:
		return "", err
	case nowDamaged > damaged:
		said, err := s.client.Get(ctx, "/readyz")
		how = fmt.Sprintf("while serving, which then refuses (readyz: %d)", said.Status)
		s.kill()
		return how, errors.Join(err, s.recover(ctx))
	case wrong != nil && strings.Contains(wrong.Error(), indexDamaged):
		s.kill()
		how = "by verify, before anything was looked up there"
		if err = s.recover(ctx); err == nil || !strings.Contains(err.Error(), indexDamaged) {
			return how, err
		}
		s.kill()
		err = os.RemoveAll(filepath.Join(s.data, "index"))
		return how + ", and gone only when it was deleted", errors.Join(err, s.recover(ctx))
	case nowAnew > anew:
		return "at the start, and built anew", wrong
	}
	return "by nobody: it is nothing that is read", wrong
}

// flipIndex flips a random bit of a random file.
func (s *stage) flipIndex() error {
	files, err := s.indexFiles()
	if err != nil {
		return err
	}
	path := files[s.random.IntN(len(files))]
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[s.random.IntN(len(b))] ^= 1 << s.random.IntN(8)
	return os.WriteFile(path, b, 0o600) //nolint:gosec // a file of our own bank
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
