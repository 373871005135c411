// Command drill attacks a running bank in every way that it is said to stand, and holds what comes of it against
// a journal of its own. It prints a table, and fails when one promise was broken.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// options are the command line.
type options struct {
	Bankforge string   `help:"The program to attack, built with the tag drill." default:"bin/bankforge-drill"`
	Profile   string   `help:"What is attacked: ${enum}." enum:"embedded,postgres,kafka" default:"embedded"`
	Services  string   `help:"The script that starts servers, if the profile has some." default:"scripts/services.sh"`
	Dir       string   `help:"Directory for what a failed round leaves; empty: a temporary one." placeholder:"DIR"`
	Seed      uint64   `help:"Of everything that is drawn; 0: one is drawn, and printed."`
	Rounds    int      `help:"Rounds of kill -9." default:"60"`
	Clients   int      `help:"Clients that move money at once." default:"8"`
	Messages  int      `help:"Messages that handlers fail at in the round faults, at least." default:"100000"`
	Watchers  int      `help:"Clients of the live channel." default:"1000"`
	Only      []string `help:"Run only the rounds whose names begin so." placeholder:"NAME,…"`
	Skip      []string `help:"Do not run the rounds whose names begin so." placeholder:"NAME,…"`
	Short     bool     `help:"A few rounds of each kind that need a minute or two together."`
	JSON      string   `help:"File for the table." placeholder:"FILE"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "drill:", err)
		os.Exit(1)
	}
}

// run is the whole program.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options
	parser, err := kong.New(&o, kong.Name("drill"), kong.Writers(stdout, stderr),
		kong.Description("Attacks a bank, and finds out whether it keeps what it promises."))
	if err != nil {
		return err
	}
	if _, err := parser.Parse(args); err != nil {
		return err
	}
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	d, err := newDrill(&o, stdout)
	if err != nil {
		return err
	}
	return d.run(ctx)
}
