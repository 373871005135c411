package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/journal"
	"bankforge/cmd/drill/process"
	"bankforge/cmd/drill/teller"
)

// The disk of a bank that is to run out of it. What the ballast leaves is full after some hundred commands.
const (
	diskSize = 192 << 20
	diskFree = 10 << 20
)

// smallDisk mounts a file system of its own for the data of the next bank.
func (d *drill) smallDisk(ctx context.Context, at *visit) (data string, unmount func() error, err error) {
	data = filepath.Join(at.dir, fmt.Sprintf("bank-%d", len(at.held)), "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return "", nil, err
	}
	size := fmt.Sprintf("size=%d,mode=0700", diskSize)
	mount := exec.CommandContext(ctx, "mount", "-t", "tmpfs", "-o", size, "tmpfs", data) //nolint:gosec // our own path
	if out, err := mount.CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("NOT RUN: mounting a small disk needs root (%w: %s); to do without: --skip disk-full,"+
			"planted-no-undo", err, out)
	}
	return data, func() error {
		//nolint:gosec // our own path
		out, err := exec.CommandContext(context.WithoutCancel(ctx), "umount", data).CombinedOutput()
		if err != nil {
			return fmt.Errorf("unmount: %w: %s", err, out)
		}
		return nil
	}, nil
}

func diskFull(ctx context.Context, d *drill, at *visit) error { return fullDisk(ctx, d, at, "") }

// fullDisk lets the disk run full under load, twice: once the bank must go on when there is space, once it is killed.
func fullDisk(ctx context.Context, d *drill, at *visit, plant string) (err error) {
	data, unmount, err := d.smallDisk(ctx, at)
	if err != nil {
		return err
	}
	var s *stage
	defer func() { // a mount is not kept: what it has is copied beside it
		if s != nil {
			err = errors.Join(err, s.close())
		}
		if err != nil {
			err = errors.Join(err, os.CopyFS(data+"-kept", os.DirFS(data)))
		}
		err = errors.Join(err, unmount())
	}()
	if s, err = d.stage(ctx, at, plant); err != nil {
		return err
	}
	ballast := filepath.Join(data, "ballast")
	for _, killed := range []bool{false, true} {
		refused, err := s.fill(ctx, ballast)
		if err != nil {
			return err
		}
		at.noted("%d × 503", refused)
		if killed {
			s.kill()
		}
		if err := os.Remove(ballast); err != nil {
			return err
		}
		if killed {
			err = s.recover(ctx)
		} else {
			err = s.resumes(ctx)
		}
		if err != nil {
			return err
		}
	}
	at.noted("%d acked", s.Office.Acked())
	return nil
}

// fill has clients at work until the disk is full, and for a while longer. It returns how often they were turned away.
func (s *stage) fill(ctx context.Context, ballast string) (refused int, err error) {
	if err := load(ballast); err != nil {
		return 0, err
	}
	before := s.turnedAway()
	for range 40 {
		s.work(ctx, shortWork)
		if refused = s.turnedAway() - before; refused > 50 {
			break
		}
	}
	if refused <= 50 {
		return refused, fmt.Errorf("only %d commands were turned away: the disk did not fill", refused)
	}
	r, err := s.Client.Get(ctx, "/v1/ledger/head")
	if err != nil || r.Status != http.StatusOK {
		return refused, check.Wrong(fmt.Errorf("it cannot be read while the disk is full: %d %s, %w", r.Status, r.Body, err))
	}
	return refused, nil
}

func (s *stage) turnedAway() (n int) {
	for _, c := range s.Office.Commands() {
		if c.Fate == journal.NotDone {
			n++
		}
	}
	return n
}

// resumes sees the bank go on by itself when there is space again.
func (s *stage) resumes(ctx context.Context) error {
	before := s.Office.Acked()
	err := teller.Until(ctx, process.Patience, func() bool {
		s.work(ctx, 200*time.Millisecond)
		return s.Office.Acked() > before+20
	})
	if err != nil {
		return check.Wrong(fmt.Errorf("there is space again, and it does not go on: %w", err))
	}
	return s.Judge(ctx)
}

// load fills the disk with a file, up to diskFree.
func load(ballast string) error {
	f, err := os.OpenFile(ballast, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	size, chunk := int64(0), make([]byte, 1<<20)
	for err == nil {
		var n int
		n, err = f.Write(chunk)
		size += int64(n)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return errors.Join(err, f.Close())
	}
	return errors.Join(f.Truncate(max(0, size-diskFree)), f.Close())
}
