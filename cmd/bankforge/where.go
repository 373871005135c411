package main

import (
	"context"
	"fmt"

	"bankforge/app"
	"bankforge/cmd/bankforge/embedded"
	"bankforge/cmd/bankforge/stores"
	"bankforge/ports"
)

// Where says what a bank is kept in. All processes and commands of one bank are told the same.
type Where struct {
	Data     string `help:"Directory of the embedded stores and of the keys." default:"./data" placeholder:"DIR"`
	Store    string `help:"Where the log is: ${enum}." enum:"sqlite" default:"sqlite"`
	Broker   string `help:"What carries messages: ${enum} (the log itself)." enum:"log" default:"log"`
	Balances string `help:"Where balances are read: ${enum}." enum:"store" default:"store"`
	History  string `help:"Where history is read: ${enum}." enum:"store" default:"store"`
}

// keeper opens what a bank is kept in, and works on it without serving it.
type keeper interface {
	// Open opens everything that serving needs, and makes what is missing.
	Open(ctx context.Context, p stores.Process) (*stores.Stores, error)
	// TokenKey is the key that signs tokens; it is made when there is none.
	TokenKey(ctx context.Context) (ports.TokenKey, error)
	// Migrate brings all tables up to date, and says where they are.
	Migrate(ctx context.Context) (where string, err error)
	// Verify checks everything, also beside running processes. noViews: there are none yet.
	Verify(ctx context.Context) (report app.VerifyReport, noViews bool, err error)
	// Rebuild builds a view anew, or all of them.
	Rebuild(ctx context.Context, view string) (stores.Rebuilt, error)
}

func (w *Where) keeper() keeper { return embedded.Bank{Dir: w.Data} }

// onlyEmbedded refuses what is done with the files of the data directory where the bank is not in them.
func (w *Where) onlyEmbedded(what string) error {
	if w.Store != "sqlite" {
		return fmt.Errorf("%s is for --store sqlite; PostgreSQL has tools of its own", what)
	}
	return nil
}
