package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/alecthomas/kong"
)

// run is the whole program: main and the tests call it alike. Results go to stdout, the log to stderr.
func run(ctx context.Context, args, env []string, stdout, stderr io.Writer) error {
	var cli CLI
	command, done, err := parse(&cli, args, env, kong.Writers(stdout, stderr))
	if err != nil {
		return &usageError{err}
	}
	if done {
		return nil
	}
	log, err := newLogger(&cli, stderr)
	if err != nil {
		return err
	}
	command.BindTo(ctx, (*context.Context)(nil))
	command.BindTo(stdout, (*io.Writer)(nil))
	return command.Run(&cli, log)
}

// usageError is what is wrong with how the program was called.
type usageError struct{ what error }

// Error is for whoever called it.
func (e *usageError) Error() string { return e.what.Error() }

// Unwrap is what is wrong.
func (e *usageError) Unwrap() error { return e.what }

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
