package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"bankforge/app"
)

// VerifyCmd checks a data directory, also that of a running bank.
type VerifyCmd struct{}

// errDiffers ends the program with status 1; what differs has been printed.
var errDiffers = errors.New("the bank differs from its log")

// Run prints one line for each difference, and what was checked.
func (VerifyCmd) Run(ctx context.Context, cli *CLI, stdout io.Writer) error {
	report, noViews, err := cli.keeper().Verify(ctx)
	if err != nil && report.State == nil { // it did not come far enough to say anything
		return err
	}
	return errors.Join(printReport(stdout, &report, noViews), err)
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

// RebuildCmd builds views anew.
type RebuildCmd struct {
	Repartition bool `help:"With topics: change the number to that of --partitions, with all processes stopped."`

	View string `arg:"" help:"balances, history, transactions (in the store, or with -redis, -mongo), all, or topics."`
}

// Run says in what the old view differed from the log, and that the new one is in its place. Of several it also does so
// when a later one has failed.
func (c *RebuildCmd) Run(ctx context.Context, cli *CLI, stdout io.Writer) error {
	rebuild := cli.keeper().Rebuild
	if c.Repartition {
		rebuild = cli.keeper().Repartition
	}
	r, err := rebuild(ctx, c.View)
	if len(r.Views) == 0 {
		return err
	}
	var out strings.Builder
	printDifferences(&out, r.Differences, r.Omitted)
	fmt.Fprintf(&out, "rebuilt %s through event %d: %d differences, %d keys were parked",
		strings.Join(r.Views, ", "), r.Through, len(r.Differences)+r.Omitted, r.Parked)
	_, failed := fmt.Fprintln(stdout, out.String())
	return errors.Join(err, failed)
}
