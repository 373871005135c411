package main

import (
	"fmt"
	"io"
	"reflect"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
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
