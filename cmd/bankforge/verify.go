package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"bankforge/adapters/sqlite"
	"bankforge/app"
)

// VerifyCmd checks a data directory, also that of a running bank.
type VerifyCmd struct{}

// errDiffers ends the program with status 1; what differs has been printed.
var errDiffers = errors.New("the bank differs from its log")

// Run prints one line for each difference, and what was checked.
func (VerifyCmd) Run(ctx context.Context, cli *CLI, stdout io.Writer) (err error) {
	at := paths{cli.Data}
	bankDB, err := openExisting(at.bank(), sqlite.BankFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bankDB.Close()) }()
	report, err := app.Verify(ctx, sqlite.NewLog(bankDB))
	for _, d := range report.Differences {
		if _, err := fmt.Fprintln(stdout, d); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if !report.OK() {
		return errDiffers
	}
	_, err = fmt.Fprintf(stdout, "verified: %d events, %d accounts, chain %x\n",
		report.Events, report.State.Len(), report.Head.Chain)
	return err
}

func openExisting(path string, f sqlite.File) (*sqlite.DB, error) {
	missing, err := absent(path)
	if err != nil {
		return nil, err
	}
	if missing {
		return nil, fmt.Errorf("--data: there is no %s", path)
	}
	return sqlite.OpenReadOnly(path, f)
}
