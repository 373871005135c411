package main

import (
	"context"
	"fmt"

	"bankforge/app"
	"bankforge/cmd/bankforge/embedded"
	"bankforge/cmd/bankforge/remote"
	"bankforge/cmd/bankforge/stores"
	"bankforge/ports"
)

// Where says what a bank is kept in. All processes and commands of one bank are told the same.
type Where struct {
	Data     string `help:"Directory of what is kept in files." default:"./data" placeholder:"DIR"`
	Store    string `help:"Where the log is: ${enum}." enum:"sqlite,postgres" default:"sqlite"`
	Postgres string `help:"PostgreSQL, for --store postgres." placeholder:"URL"`
	Broker   string `help:"What carries messages: ${enum} (the log itself)." enum:"log" default:"log"`
	Balances string `help:"Where balances are read: ${enum}." enum:"store" default:"store"`
	History  string `help:"Where history is read: ${enum}." enum:"store" default:"store"`

	PostgresPrefix string `help:"Before the names of the bank's schemas: several banks in one database." placeholder:"NAME"`
	PostgresConns  int    `help:"Connections to PostgreSQL for the readers of each schema." default:"8"`
	MasterKeyFile  string `help:"32 random bytes that the keys of a shared bank are wrapped with." placeholder:"FILE"`
}

// validate checks what kong cannot, before anything is opened.
func (w *Where) validate() error {
	shared := w.Store == "postgres"
	for _, part := range []struct {
		is         bool
		what, need string
		given      bool
	}{
		{shared, "--store postgres", "--postgres", w.Postgres != ""},
	} {
		if part.is && !part.given {
			return fmt.Errorf("%s needs %s", part.what, part.need)
		}
	}
	if w.PostgresConns < 1 || w.PostgresConns > 1000 {
		return fmt.Errorf("--postgres-conns %d is not from 1 to 1000", w.PostgresConns)
	}
	return nil
}

// keeper is what knows the stores that were chosen.
func (w *Where) keeper() keeper {
	if w.Store == "postgres" {
		return remote.Bank{
			Postgres: w.Postgres, Prefix: w.PostgresPrefix, Conns: w.PostgresConns, Data: w.Data, KeyFile: w.MasterKeyFile,
		}
	}
	return embedded.Bank{Dir: w.Data}
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

// onlyEmbedded refuses what is done with the files of the data directory where the bank is not in them.
func (w *Where) onlyEmbedded(what string) error {
	if w.Store != "sqlite" {
		return fmt.Errorf("%s is for --store sqlite; PostgreSQL has tools of its own", what)
	}
	return nil
}
