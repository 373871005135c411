package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"
	"github.com/gofrs/flock"
)

// run is the whole program: main and the tests call it alike. Results go to stdout, the log to stderr.
func run(ctx context.Context, args, env []string, stdout, stderr io.Writer) error {
	var cli CLI
	command, done, err := parse(&cli, args, env, kong.Writers(stdout, stderr))
	if err != nil || done {
		return err
	}
	log, err := newLogger(&cli, stderr)
	if err != nil {
		return err
	}
	command.BindTo(ctx, (*context.Context)(nil))
	command.BindTo(stdout, (*io.Writer)(nil))
	return command.Run(&cli, log)
}

func newLogger(cli *CLI, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cli.LogLevel)); err != nil {
		return nil, fmt.Errorf("--log-level: %w", err)
	}
	o := &slog.HandlerOptions{Level: level}
	if cli.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return slog.New(slog.NewTextHandler(w, o)), nil
}

// errInUse means that another process works on the data directory.
var errInUse = errors.New("is in use by another bankforge")

// lockData makes the directory if it is not there, and makes this process its only owner until unlock.
func lockData(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	lock := flock.New(filepath.Join(dir, lockName))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("--data %s: %w", dir, err)
	}
	if !ok {
		return nil, fmt.Errorf("--data %s %w", dir, errInUse)
	}
	return lock.Close, nil
}
