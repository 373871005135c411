package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"bankforge/adapters/sqlite"
	"bankforge/app"
	"bankforge/router"
)

// VerifyCmd checks a data directory, also that of a running bank.
type VerifyCmd struct{}

// errDiffers ends the program with status 1; what differs has been printed.
var errDiffers = errors.New("the bank differs from its log")

// Run prints one line for each difference, and what was checked.
func (VerifyCmd) Run(ctx context.Context, cli *CLI, stdout io.Writer) (err error) {
	at := paths{cli.Data}
	if err := at.refuseHalfRestored(); err != nil {
		return err
	}
	bankDB, err := openExisting(at.bank(), sqlite.BankFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bankDB.Close()) }()
	log, err := sqlite.OpenLog(ctx, bankDB, at.index(), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	var checks []app.ViewCheck
	missing, err := absent(at.views())
	if err != nil {
		return err
	}
	if !missing {
		viewsDB, err := openExisting(at.views(), sqlite.ViewsFile)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, viewsDB.Close()) }()
		checks = append(checks, sqlite.NewViewsCheck(viewsDB, router.FromLog(log), os.TempDir()))
	}
	report, err := app.Verify(ctx, log, checks...)
	return errors.Join(printReport(stdout, &report, missing), err)
}

func printReport(stdout io.Writer, r *app.VerifyReport, noViews bool) error {
	var out strings.Builder
	printDifferences(&out, r.Differences, r.Omitted)
	verdict := "verified"
	if !r.OK() {
		verdict = "differs"
	}
	fmt.Fprintf(&out, "%s: %d events up to chain %x, %d accounts", verdict, r.Events, r.Head.Chain, r.State.Len())
	if noViews {
		out.WriteString("; there are no views, they are built at the next start")
	}
	for _, p := range r.Parked {
		fmt.Fprintf(&out, "; view %s waits for %d parked keys", p.View, p.Keys)
	}
	if _, err := fmt.Fprintln(stdout, out.String()); err != nil {
		return err
	}
	if !r.OK() {
		return errDiffers
	}
	return nil
}

func printDifferences(out *strings.Builder, found []app.Difference, omitted int) {
	for _, d := range found {
		fmt.Fprintln(out, d)
	}
	if omitted > 0 {
		fmt.Fprintf(out, "and %d more\n", omitted)
	}
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

// RebuildCmd builds views anew.
type RebuildCmd struct {
	View string `arg:"" help:"balances, history, transactions, or all."`
}

// Run says in what the old view differed from the log, and that the new one is in its place.
func (c *RebuildCmd) Run(ctx context.Context, cli *CLI, stdout io.Writer) (err error) {
	names := sqlite.ViewNames()
	switch {
	case c.View == "all":
	case slices.Contains(names, c.View):
		names = []string{c.View}
	default:
		return fmt.Errorf("there is no view %q; there are all, %s", c.View, strings.Join(names, ", "))
	}
	if _, err := os.Stat(paths{cli.Data}.bank()); err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	f, err := openFiles(ctx, cli.Data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	log, err := f.openLog(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	r, err := sqlite.RebuildViews(ctx, f.views, router.FromLog(log), f.dir, names)
	if err != nil {
		return err
	}
	var out strings.Builder
	printDifferences(&out, r.Differences, r.Omitted)
	fmt.Fprintf(&out, "rebuilt %s through event %d: %d differences, %d keys were parked",
		strings.Join(names, ", "), r.Through, len(r.Differences)+r.Omitted, r.Parked)
	_, err = fmt.Fprintln(stdout, out.String())
	return err
}
