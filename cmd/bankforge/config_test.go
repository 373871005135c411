package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func TestHelpNamesWhatThereIs(t *testing.T) {
	t.Parallel()
	for command, names := range map[string][]string{
		"serve": moduleNames(),
		"token": {"customer", "auditor", "admin"},
		"bench": {"burst", "pg-burst"},
	} {
		var cli CLI
		var out bytes.Buffer
		if _, done, err := parse(&cli, []string{command, "--help"}, nil, kong.Writers(&out, &out)); err != nil || !done {
			t.Fatalf("%s: %t, %v", command, done, err)
		}
		if strings.ContainsAny(out.String(), "{}") {
			t.Errorf("%s: something is not filled in: %s", command, &out)
		}
		for _, name := range names {
			if !strings.Contains(out.String(), name) {
				t.Errorf("the help of %s does not name %s", command, name)
			}
		}
	}
}
