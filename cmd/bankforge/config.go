package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/cmd/bankforge/bench"
	"bankforge/cmd/bankforge/operator"
)

// CLI is the whole command line. Every flag can also be set by an environment variable
// (BANKFORGE_ and its name in capitals) and by a key of the file that --config names, in this order of precedence.
type CLI struct {
	Config string `help:"YAML file with a key for each flag." placeholder:"FILE"`
	Where

	LogLevel  string `help:"Least level that is logged: ${enum}." enum:"debug,info,warn,error" default:"info"`
	LogFormat string `help:"Form of the log on standard error: ${enum}." enum:"text,json" default:"text"`

	Serve    Serve       `cmd:"" default:"withargs" help:"Run the bank (the default command)."`
	Token    Token       `cmd:"" help:"Print a bearer token, signed with the key in the data directory."`
	Verify   VerifyCmd   `cmd:"" help:"Replay the log and check everything that must hold; exit 1 on any difference."`
	Rebuild  RebuildCmd  `cmd:"" help:"Build a view anew beside the old one, compare, switch. In SQLite, stop the server."`
	Backup   BackupCmd   `cmd:"" help:"Copy the bank, also a running one, into one file, keys included."`
	Restore  RestoreCmd  `cmd:"" help:"Make a bank of a backup, in an empty data directory."`
	Settings SettingsCmd `cmd:"" name:"config" help:"Print the settings in force, in the form that --config reads."`
	Migrate  MigrateCmd  `cmd:"" help:"Bring the tables of the data directory up to date."`
	Bench    BenchCmd    `cmd:"" help:"Load a running server, and print throughput, latencies and errors."`
	Ready    ReadyCmd    `cmd:"" help:"Ask a running process whether each of its modules is ready; exit 1 if one is not."`
	Version  VersionCmd  `cmd:"" help:"Print the version."`
	OpenAPI  OpenAPICmd  `cmd:"" name:"openapi" help:"Print the OpenAPI document of the HTTP API."`
	AsyncAPI AsyncAPICmd `cmd:"" name:"asyncapi" help:"Print the AsyncAPI document of the messages."`

	Failures operator.Failures `cmd:"" help:"See what failed to be handled, and have it tried again or given up."`
	Handlers operator.Handlers `cmd:"" help:"See handlers, pause them, and say how they treat failures."`

	Drill        drillCommands         `embed:""`
	Sequences    operator.Sequences    `cmd:"" help:"See keys of which something waits; retry, rebuild, pause them."`
	Replays      operator.Replays      `cmd:"" help:"Plan replays of many keys, start, watch and cancel them."`
	Acts         operator.Acts         `cmd:"" help:"See what operators did, and what became of it."`
	Trace        operator.Trace        `cmd:"" help:"Follow a command to its events, handlers and failures."`
	Watch        operator.Watch        `cmd:"" help:"Follow failures, acts, handlers and replays as they happen."`
	DemoFailures operator.DemoFailures `cmd:"" help:"See and switch the failures of --demo-failures."`
}

// Serve are the settings of a running bank.
type Serve struct {
	HTTP   string   `name:"http" help:"Address of the API and the console." default:"127.0.0.1:8080" placeholder:"ADDR"`
	Admin  string   `help:"Address of metrics and profiles; empty: none." default:"127.0.0.1:8081" placeholder:"ADDR"`
	Target []string `help:"Modules to run: all, or of {modules}." default:"all" placeholder:"NAME,…"`

	TLSCert      string   `name:"tls-cert" help:"Certificate (PEM)." placeholder:"FILE"`
	TLSKey       string   `name:"tls-key" help:"Its private key (PEM)." placeholder:"FILE"`
	InsecureHTTP bool     `name:"insecure-http" help:"Allow plain HTTP on other than loopback addresses."`
	Origins      []string `help:"Pages that may open the WebSocket and use cookies." placeholder:"URL,…"`
	Demo         bool     `help:"A bank with customers, accounts and a trickle of transactions, to look at."`
	DemoFailures bool     `help:"With --demo: the history of every tenth account fails, until that is repaired."`

	Advertise string        `help:"Where other processes reach this one (command modules)." placeholder:"URL"`
	OwnerCA   string        `name:"owner-ca" help:"Who signs other processes' certificates (PEM)." placeholder:"FILE"`
	Lease     time.Duration `help:"How long a silent owner of a shared ledger is left alone." default:"2s"`
	Watch     time.Duration `help:"How often a process looks for what others append to a shared log." default:"20ms"`

	PublishAbove []string `help:"Transfers of more minor units wait for the broker: EUR:1000000." placeholder:"CUR:N,…"`

	Queue         int           `help:"Commands that may wait for the decider; more are refused with 503." default:"8192"`
	QueueWait     time.Duration `help:"How long a command may wait for it; then it is refused with 503." default:"300ms"`
	Batch         int           `help:"Commands that are committed together at most." default:"1024"`
	SnapshotEvery int           `help:"Events between snapshots of the state; 0: only at the end." default:"1000000"`
	Poll          time.Duration `help:"How often handlers look for events by themselves." default:"1s"`
	Delivery      int           `help:"Messages that a handler gets at once at most." default:"8192"`
	ParkedPerKey  int           `help:"Messages parked for one key before its handler holds." default:"10000"`
	Connections   int           `help:"Connections at most; more wait until one ends." default:"16384"`
	LiveClients   int           `help:"Live connections at most; more are refused with 503." default:"10000"`
	RateLimit     float64       `help:"Requests a second of one customer, averaged; 0: no limit." default:"100"`
	RateBurst     int           `help:"Requests of one customer at once." default:"300"`
	Grace         time.Duration `help:"How long ending may take before what runs is cut off." default:"25s"`

	certificate *tls.Certificate // of TLSCert and TLSKey
	above       app.PublishAbove // of PublishAbove
	roots       *x509.CertPool   // of OwnerCA
	shares      bool             // others may own the ledger
}

// modules are the names that --target takes.
func moduleNames() []string {
	var names []string
	for _, m := range modules {
		names = append(names, m.name)
	}
	return names
}

// parse reads the command line, the environment and the configuration file. done: help was printed.
func parse(cli *CLI, args, env []string, opts ...kong.Option) (ctx *kong.Context, done bool, err error) {
	settings, err := loadSettings(args, env)
	if err != nil {
		return nil, false, err
	}
	ended := false
	parser, err := kong.New(cli, append([]kong.Option{
		kong.Name("bankforge"),
		kong.Description("A bank's core: event-sourced, message-driven, in one binary."),
		kong.PostBuild(withNames),
		kong.Resolvers(settings),
		kong.Exit(func(int) { ended = true }),
	}, opts...)...)
	if err != nil {
		return nil, false, err
	}
	ctx, err = parser.Parse(args)
	if ended {
		return nil, true, nil
	}
	if err == nil {
		err = cli.validate()
	}
	return ctx, false, err
}

// withNames fills in what help texts name. Variables of kong's own would be looked for in one another for each flag,
// which was half of what a start took.
func withNames(k *kong.Kong) error {
	names := strings.NewReplacer(
		"{modules}", strings.Join(moduleNames(), ", "),
		"{benches}", strings.Join(bench.Lines(""), ", "), "{farbenches}", strings.Join(bench.Lines(bench.Kafka), ", "),
		"{roles}", "customer, teller, service, fraud, operator, auditor, admin",
	)
	return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
		if f, ok := node.(*kong.Flag); ok {
			f.Help = names.Replace(f.Help)
		}
		return next(nil)
	})
}

// settings resolves flags from the environment first and the configuration file second.
type settings struct {
	env  map[string]string
	file map[string]any
	path string
}

func loadSettings(args, env []string) (*settings, error) {
	s := &settings{env: map[string]string{}}
	for _, e := range env {
		if name, value, _ := strings.Cut(e, "="); strings.HasPrefix(name, "BANKFORGE_") {
			s.env[name] = value
		}
	}
	s.path = s.env["BANKFORGE_CONFIG"]
	for i, a := range args {
		if value, ok := strings.CutPrefix(a, "--config="); ok {
			s.path = value
		} else if a == "--config" && i+1 < len(args) {
			s.path = args[i+1]
		}
	}
	if s.path == "" {
		return s, nil
	}
	b, err := os.ReadFile(s.path) //nolint:gosec // whoever starts the bank says which file
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	if err := yaml.Unmarshal(b, &s.file); err != nil {
		return nil, fmt.Errorf("--config %s: %w", s.path, err)
	}
	return s, nil
}

// Validate refuses keys that no flag has: a misspelt limit must not pass in silence.
func (s *settings) Validate(app *kong.Application) error {
	known := map[string]bool{}
	err := kong.Visit(app, func(node kong.Visitable, next kong.Next) error {
		if f, ok := node.(*kong.Flag); ok {
			known[f.Name] = true
		}
		return next(nil)
	})
	for key := range s.file {
		if !known[key] {
			return fmt.Errorf("--config %s: unknown key %q", s.path, key)
		}
	}
	return err
}

// Resolve implements kong.Resolver.
func (s *settings) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if v, ok := s.env[variable(flag.Name)]; ok {
		return v, nil
	}
	v, ok := s.file[flag.Name]
	if !ok {
		return nil, nil //nolint:nilnil // kong's way to say "not set here"
	}
	if list, ok := v.([]any); ok {
		parts := make([]string, len(list))
		for i, p := range list {
			var err error
			if parts[i], err = scalar(flag.Name, p); err != nil {
				return nil, err
			}
		}
		return strings.Join(parts, ","), nil
	}
	return scalar(flag.Name, v)
}

// scalar is a value of the file as the command line would write it.
func scalar(key string, v any) (string, error) {
	switch v.(type) {
	case nil, map[string]any, []any:
		return "", fmt.Errorf("key %q needs a plain value", key)
	default:
		return fmt.Sprint(v), nil
	}
}

func variable(flag string) string {
	return "BANKFORGE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Validate checks what kong cannot, before anything is opened.
func (s *Serve) Validate() error {
	if err := s.validateTarget(); err != nil {
		return err
	}
	for name, addr := range map[string]string{"--http": s.HTTP, "--admin": s.Admin} {
		if name == "--admin" && addr == "" {
			continue
		}
		if _, err := net.ResolveTCPAddr("tcp", addr); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if (s.TLSCert == "") != (s.TLSKey == "") {
		return errors.New("--tls-cert and --tls-key: give both or neither")
	}
	if s.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(s.TLSCert, s.TLSKey)
		if err != nil {
			return fmt.Errorf("--tls-cert, --tls-key: %w", err)
		}
		s.certificate = &pair
	}
	if s.TLSCert == "" && !s.InsecureHTTP && !loopback(s.HTTP) {
		return fmt.Errorf("--http %s is not a loopback address: give --tls-cert and --tls-key, or --insecure-http", s.HTTP)
	}
	if s.DemoFailures && !s.Demo {
		return errors.New("--demo-failures is for --demo: give both or neither")
	}
	if err := s.validateOthers(); err != nil {
		return err
	}
	for _, o := range s.Origins {
		if u, err := url.Parse(o); err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" {
			return fmt.Errorf("--origins: %q is not an origin such as https://bank.example", o)
		}
	}
	return s.validateLimits()
}

// validateOthers checks what is said of other processes.
func (s *Serve) validateOthers() error {
	if s.Advertise != "" {
		u, err := url.Parse(s.Advertise)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
			return fmt.Errorf("--advertise: %q is not a URL such as https://bank-1.example:8080", s.Advertise)
		}
		s.Advertise = u.Scheme + "://" + u.Host
	}
	if s.OwnerCA != "" {
		text, err := os.ReadFile(s.OwnerCA)
		if err != nil {
			return fmt.Errorf("--owner-ca: %w", err)
		}
		if s.roots = x509.NewCertPool(); !s.roots.AppendCertsFromPEM(text) {
			return fmt.Errorf("--owner-ca: there is no certificate in %s", s.OwnerCA)
		}
	}
	if err := s.validateAbove(); err != nil {
		return err
	}
	if s.Lease < 100*time.Millisecond || s.Lease > time.Minute {
		return fmt.Errorf("--lease %s is not from 100ms to 1m", s.Lease)
	}
	if s.Watch < time.Millisecond || s.Watch > time.Minute {
		return fmt.Errorf("--watch %s is not from 1ms to 1m", s.Watch)
	}
	return nil
}

func (s *Serve) validateAbove() (err error) {
	var all []bank.Amount
	for _, text := range s.PublishAbove {
		code, digits, _ := strings.Cut(text, ":")
		currency, err := bank.ParseCurrency(code)
		if err != nil {
			return fmt.Errorf("--publish-above %s: %w", text, err)
		}
		minor, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return fmt.Errorf("--publish-above %s is not like EUR:1000000", text)
		}
		amount, err := bank.NewAmount(minor, currency)
		if err != nil {
			return fmt.Errorf("--publish-above %s: %w", text, err)
		}
		all = append(all, amount)
	}
	if s.above, err = app.NewPublishAbove(all...); err != nil {
		return fmt.Errorf("--publish-above: %w", err)
	}
	return nil
}

func (s *Serve) validateTarget() error {
	if len(s.Target) == 0 {
		return errors.New("--target: name a module, or all")
	}
	for _, t := range s.Target {
		if t != "all" && !slices.Contains(moduleNames(), t) {
			return fmt.Errorf("--target: unknown module %q; there are all, %s", t, strings.Join(moduleNames(), ", "))
		}
	}
	return nil
}

func (s *Serve) validateLimits() error {
	for _, l := range []struct {
		flag      string
		value     int
		low, high int
	}{
		{"--queue", s.Queue, 1, 1 << 20},
		{"--batch", s.Batch, 1, 1 << 14},
		{"--snapshot-every", s.SnapshotEvery, 0, 1 << 40},
		{"--delivery", s.Delivery, 1, 1 << 16},
		{"--parked-per-key", s.ParkedPerKey, 1, 1 << 30},
		{"--connections", s.Connections, 1, 1 << 20},
		{"--live-clients", s.LiveClients, 1, 1 << 20},
		{"--rate-burst", s.RateBurst, 1, 1 << 20},
	} {
		if l.value < l.low || l.value > l.high {
			return fmt.Errorf("%s %d is not from %d to %d", l.flag, l.value, l.low, l.high)
		}
	}
	if s.RateLimit < 0 {
		return fmt.Errorf("--rate-limit %v is below 0", s.RateLimit)
	}
	if s.QueueWait < time.Millisecond {
		return errors.New("--queue-wait is at least 1ms")
	}
	if s.Poll < time.Millisecond || s.Grace <= 0 {
		return errors.New("--poll is at least 1ms, and --grace above 0")
	}
	return nil
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
