package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"runtime/debug"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"bankforge/api"
	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/ports"
)

// VersionCmd prints what this binary was built from.
type VersionCmd struct{}

// Run prints one line.
func (VersionCmd) Run(stdout io.Writer) error {
	_, err := fmt.Fprintln(stdout, "bankforge "+version())
	return err
}

// version is the module's version, or the revision that it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (v == "" || v == "(devel)") {
			v = s.Value
		}
	}
	return strings.TrimSpace(v + " " + info.GoVersion)
}

// SettingsCmd prints the settings in force. It takes the flags of serve, and checks them as serve does.
type SettingsCmd struct {
	Serve `embed:""`
}

// Run prints YAML that --config reads back.
func (*SettingsCmd) Run(command *kong.Context, stdout io.Writer) error {
	var out yaml.Node
	out.Kind = yaml.MappingNode
	for _, group := range command.Path {
		for _, flag := range group.Flags {
			if flag.Name == "help" || flag.Name == "config" {
				continue
			}
			var value yaml.Node
			if err := value.Encode(plain(command.FlagValue(flag))); err != nil {
				return err
			}
			key := yaml.Node{Kind: yaml.ScalarNode, Value: flag.Name, HeadComment: flag.Help}
			out.Content = append(out.Content, &key, &value)
		}
	}
	e := yaml.NewEncoder(stdout)
	if err := e.Encode(&out); err != nil {
		return err
	}
	return e.Close()
}

// plain is v as the configuration file writes it: durations as text.
func plain(v any) any {
	if s, ok := v.(fmt.Stringer); ok {
		return s.String()
	}
	if r := reflect.ValueOf(v); r.Kind() == reflect.Slice && r.Len() == 0 {
		return []string{}
	}
	return v
}

// Token signs a bearer token.
type Token struct {
	Role     []app.Role    `help:"What the bearer may do: {roles}." required:"" placeholder:"ROLE,…"`
	Subject  string        `help:"Who the bearer is." required:"" placeholder:"NAME"`
	Customer string        `help:"Whose accounts a customer may use." placeholder:"cus_…"`
	TTL      time.Duration `name:"ttl" help:"How long the token is good." default:"1h"`
}

// Run prints the token. The key is made if there is none yet, so tokens can be made before the first start.
func (t *Token) Run(ctx context.Context, cli *CLI, stdout io.Writer) error {
	p := app.Principal{Subject: t.Subject, Roles: t.Role}
	if t.Customer != "" {
		id, err := bank.ParseID[bank.Customer](t.Customer)
		if err != nil {
			return fmt.Errorf("--customer: %w", err)
		}
		p.Customer = id
	}
	if t.TTL <= 0 {
		return fmt.Errorf("--ttl %s is not above 0", t.TTL)
	}
	if err := ports.CheckPrincipal(p); err != nil {
		return fmt.Errorf("--role, --subject, --customer: %w", err)
	}
	key, err := cli.keeper().TokenKey(ctx)
	if err != nil {
		return err
	}
	token, err := key.Sign(p, time.Now(), t.TTL)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, token)
	return err
}

// MigrateCmd brings tables up to date.
type MigrateCmd struct{}

// Run says where they are.
func (MigrateCmd) Run(ctx context.Context, cli *CLI, stdout io.Writer) error {
	where, err := cli.keeper().Migrate(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, "the tables in "+where+" are up to date")
	return err
}

// ReadyCmd asks a running process how it is: a health check for images that hold nothing else.
type ReadyCmd struct {
	URL string `name:"url" help:"Where the process is." default:"http://127.0.0.1:8080" placeholder:"URL"`
}

// readyPatience is less than what a container engine gives a health check.
const readyPatience = 2500 * time.Millisecond

// Run prints what the process says.
func (r *ReadyCmd) Run(ctx context.Context, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(r.URL, "/")+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("--url: %w", err)
	}
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(ask)
	if err != nil {
		return fmt.Errorf("%s: %w", r.URL, err)
	}
	defer func() { _ = answer.Body.Close() }()
	if _, err := io.Copy(stdout, io.LimitReader(answer.Body, 1<<20)); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s is not ready: %s", r.URL, answer.Status)
	}
	return nil
}

// OpenAPICmd prints the document of the HTTP API.
type OpenAPICmd struct{}

// Run prints YAML.
func (OpenAPICmd) Run(stdout io.Writer) error {
	document, err := ports.OpenAPIYAML("")
	if err != nil {
		return err
	}
	_, err = stdout.Write(document)
	return err
}

// AsyncAPICmd prints the document of the messages.
type AsyncAPICmd struct{}

// Run prints YAML.
func (AsyncAPICmd) Run(stdout io.Writer) error {
	_, err := stdout.Write(api.AsyncAPI)
	return err
}
