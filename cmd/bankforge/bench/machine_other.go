//go:build !linux

package bench

import (
	"errors"
	"syscall"
	"time"
)

// The suite needs Linux, its /proc and strace. A load against a running server needs nothing of it.

func fileSystem(string) (string, error) { return "", errors.New("--suite needs Linux") }

func dieWithParent() *syscall.SysProcAttr { return nil }

func cpuOf(int) time.Duration { return 0 }

func resident(int) (now, most float64) { return 0, 0 }

func filesAtMost() int { return 0 }
