package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"bankforge/app"
	"bankforge/cmd/bankforge/embedded"
	"bankforge/cmd/bankforge/remote"
)

// BackupCmd copies a bank, also a running one, into one file.
type BackupCmd struct {
	File string `arg:"" help:"The file to make. It holds the bank's keys: keep it as safe as the bank." placeholder:"FILE"`
}

// Help says what no flag does.
func (BackupCmd) Help() string {
	return "FILE gets the log, the customers, and both keys: who has it can read all personal data, and sign tokens for " +
		"any role. Only its owner may read it; encrypt it before it leaves the machine. An existing FILE is never " +
		"replaced. With --store postgres, the bank is backed up as any database there, with PostgreSQL's own tools."
}

// Run prints one line.
func (c *BackupCmd) Run(ctx context.Context, cli *CLI, stdout io.Writer) error {
	if err := cli.onlyEmbedded("backup"); err != nil {
		return err
	}
	began := time.Now()
	m, err := embedded.Backup(ctx, cli.Data, c.File, began)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout,
		"backed up to %s: %d events up to chain %s of incarnation %s, %d bytes in a file of %d, %s\n",
		c.File, m.Seq, m.Chain, m.Incarnation, m.Size(), m.Bytes, time.Since(began).Round(time.Millisecond))
	return err
}

// RestoreCmd makes a bank of a backup.
type RestoreCmd struct {
	File string `arg:"" optional:"" help:"A file that backup made; none with --store postgres." placeholder:"FILE"`
}

// Help says what no flag does.
func (RestoreCmd) Help() string {
	return "The data directory must be empty or missing. The bank begins a new incarnation there: what was done after " +
		"the backup is not in it, so live clients load anew, and nothing that was derived from the old log is believed. " +
		"The log is verified before the bank is handed over. Make sure that the old bank does not run any more. " +
		"With --store postgres, put the database back with PostgreSQL's own tools, and then run this without FILE: it " +
		"only begins the new incarnation."
}

// Run says what it has restored, and what to do next.
func (c *RestoreCmd) Run(ctx context.Context, cli *CLI, stdout io.Writer) error {
	bank, shared := cli.keeper().keeper.(remote.Bank)
	switch {
	case shared && c.File == "":
		return restoreShared(ctx, bank, stdout)
	case c.File == "":
		return errors.New("restore needs FILE")
	}
	if err := cli.onlyEmbedded("restore FILE"); err != nil {
		return err
	}
	began := time.Now()
	done, err := embedded.Restore(ctx, cli.Data, c.File, embedded.Restoring{
		Owner: owner(), At: began,
		Report: func(found *app.VerifyReport) error { return printReport(stdout, found, true) },
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout,
		"restored from %s into %s: %d events of incarnation %s, which goes on as %s in term %d, %s\n"+
			"next: bankforge serve; it builds the views anew. See that the old bank does not run any more.\n",
		c.File, cli.Data, done.Now.Seq, done.Before.Incarnation, done.Now.Incarnation, done.Now.Term,
		time.Since(began).Round(time.Millisecond))
	return err
}

// restoreShared is for a database that is already in its place.
func restoreShared(ctx context.Context, bank remote.Bank, stdout io.Writer) error {
	before, now, err := bank.Reincarnate(ctx, owner(), time.Now())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "the log of incarnation %s, which ends at event %d, goes on as %s in term %d\n"+
		"next: bankforge rebuild all, bankforge verify, bankforge serve. See that the old bank does not run any more.\n",
		before.Incarnation, before.Seq, now.Incarnation, now.Term)
	return err
}
