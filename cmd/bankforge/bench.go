package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"bankforge/cmd/bankforge/bench"
	"bankforge/cmd/bankforge/inside"
	"bankforge/cmd/bankforge/stores"
)

// BenchCmd loads a running server; or, as the suite, measures everything on servers that it starts.
type BenchCmd struct {
	URL   string `name:"url" help:"The running server." default:"http://127.0.0.1:8080" placeholder:"URL"`
	Token string `help:"Bearer token, as bankforge token --role teller --subject me prints it." placeholder:"TOKEN"`
	Kind  string `help:"What to send: ${enum}." enum:"transfers,hot,bulk,reads" default:"transfers"`

	Connections int           `help:"How many connections, each with one request at a time." default:"64"`
	Duration    time.Duration `help:"How long." default:"10s"`
	Accounts    int           `help:"How many accounts to open for it." default:"1000"`

	Rate   float64 `help:"Requests a second on all connections; 0: as fast as they are answered." default:"0"`
	Output string  `short:"o" help:"How to print: ${enum}." enum:"table,json,markdown" default:"table"`

	Suite   bool     `help:"Measure every line of docs/performance.md on servers of its own (make bench)."`
	Profile string   `help:"Which table: ${enum} (on servers that flags name)." enum:"embedded,kafka" default:"embedded"`
	Only    []string `help:"Lines of the suite: of {benches}; of kafka: {farbenches}." placeholder:"LINE,…"`
	Short   bool     `help:"A few seconds a line of the suite, without judging times."`
	Repeat  int      `name:"runs" help:"How often what the suite compares runs in turn." default:"3"`
	Dir     string   `help:"Where the suite makes its data directories; it must be a disk." placeholder:"DIR"`
	Big     string   `help:"Keep the suite's large bank here, and use it again." placeholder:"DIR"`
	Backlog int      `help:"Events that wait for the relay and the handlers in the profile kafka." default:"500000"`
	JSON    string   `name:"json" help:"File for the suite's report with all runs." placeholder:"FILE"`
	From    string   `help:"Print this report of the suite once more." placeholder:"FILE"`

	Pids map[string]int `hidden:"" help:"The servers' processes, whose memory the suite tells: kafka=1;redis=2."`

	Yardstick string `hidden:"" help:"Be the server that the suite compares with."`
	Generate  int    `hidden:"" help:"Add so many events to a bank that nobody serves."`
	Onto      int    `hidden:"" help:"How many it must have before."`
	Park      bool   `hidden:"" help:"Park all that history has not handled, of a bank that nobody serves."`
	Isolate   string `hidden:"" help:"Leave history alone with the log of a bank that nobody serves, healthy or failing."`
	Chain     int    `hidden:"" help:"Time the steps of so many messages."`
}

// Validate checks what kong cannot.
func (c *BenchCmd) Validate() error {
	switch {
	case c.Connections < 1 || c.Connections > 1<<16:
		return fmt.Errorf("--connections %d is not from 1 to %d", c.Connections, 1<<16)
	case c.Accounts < 2 || c.Accounts > 1<<24:
		return fmt.Errorf("--accounts %d is not from 2 to %d", c.Accounts, 1<<24)
	case c.Duration <= 0:
		return fmt.Errorf("--duration %s is not above 0", c.Duration)
	case c.Rate < 0:
		return fmt.Errorf("--rate %v is below 0", c.Rate)
	case c.Repeat < 1 || c.Repeat > 100:
		return fmt.Errorf("--runs %d is not from 1 to 100", c.Repeat)
	case c.Output == "markdown" && !c.Suite && c.From == "":
		return errors.New("--output markdown is for the suite")
	case c.Backlog < 4000:
		return fmt.Errorf("--backlog %d is below 4000", c.Backlog)
	case !c.Suite && (len(c.Only) > 0 || c.Short || c.Dir != "" || c.Big != "" || c.JSON != ""):
		return errors.New("--only, --short, --dir, --big and --json are for --suite")
	case c.Suite && !c.Short && c.Repeat < 3:
		return errors.New("--runs: medians need at least 3, unless it is the --short form")
	}
	return nil
}

// Run does one of what BenchCmd can.
func (c *BenchCmd) Run(ctx context.Context, cli *CLI, stdout io.Writer) error {
	switch {
	case c.Yardstick != "":
		var like bench.Yardstick
		if err := json.Unmarshal([]byte(c.Yardstick), &like); err != nil {
			return fmt.Errorf("--yardstick: %w", err)
		}
		return like.Serve(ctx, "127.0.0.1:0", stdout)
	case c.Generate > 0:
		return generateBank(ctx, &cli.Where, c.Accounts, c.Generate, c.Onto)
	case c.Park, c.Isolate != "", c.Chain > 0:
		return c.inside(ctx, &cli.Where, stdout)
	case c.From != "":
		r, err := bench.ReadReport(c.From)
		if err != nil {
			return fmt.Errorf("--from: %w", err)
		}
		return r.Print(stdout, c.Output)
	case c.Suite:
		return c.suite(ctx, &cli.Where, stdout)
	}
	return c.load(ctx, stdout)
}

// inside is what the suite cannot do from outside.
func (c *BenchCmd) inside(ctx context.Context, where *Where, stdout io.Writer) error {
	switch {
	case c.Park:
		return where.alone(ctx, func(s *stores.Stores) error {
			parked, err := inside.Park(ctx, s)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(stdout, parked)
			return err
		})
	case c.Isolate != "":
		return where.alone(ctx, func(s *stores.Stores) error { return inside.Isolate(ctx, s, c.Isolate == "failing") })
	}
	cost, err := inside.Chain(ctx, c.Chain, newMetrics())
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(cost)
}

// load opens accounts at a running server, and sends the load.
func (c *BenchCmd) load(ctx context.Context, stdout io.Writer) error {
	if strings.TrimSpace(c.Token) == "" {
		return errors.New(`--token is needed; bankforge token --role teller --subject me prints one`)
	}
	accounts, err := bench.OpenAccounts(ctx, c.URL, c.Token, c.Accounts)
	if err != nil {
		return err
	}
	o, err := (&bench.Load{
		URL: c.URL, Token: c.Token, Kind: bench.Kind(c.Kind), Accounts: accounts,
		Connections: c.Connections, Duration: c.Duration, Rate: c.Rate,
	}).Run(ctx)
	if err != nil && o == nil {
		return err
	}
	return o.Print(stdout, c.Output) // also of a load that was interrupted
}

// errMissed means that the suite has found what should be better.
var errMissed = errors.New("targets were missed")

func (c *BenchCmd) suite(ctx context.Context, where *Where, stdout io.Writer) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	r, err := (&bench.Suite{
		Program: program, Dir: c.Dir, Only: c.Only, Short: c.Short, Repeats: c.Repeat, Big: c.Big, Progress: os.Stderr,
		Profile: c.Profile, Backlog: c.Backlog, Servers: bench.Servers{
			Postgres: where.Postgres, Kafka: strings.Join(where.Kafka, ","), Redis: where.Redis, Mongo: where.Mongo,
			Pids: c.Pids,
		},
	}).Run(ctx)
	if err != nil {
		return err
	}
	if c.JSON != "" {
		if err := r.Save(c.JSON); err != nil {
			return fmt.Errorf("--json: %w", err)
		}
	}
	if err := r.Print(stdout, c.Output); err != nil {
		return err
	}
	if !r.Good {
		return errMissed
	}
	return nil
}
