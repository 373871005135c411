// Package servers tells tests where the real servers are: what the environment says, or else what scripts/services.sh
// has started. Servers outlive the tests; whoever uses one makes what it needs there under a name of its own.
package servers

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Postgres is the URL of a PostgreSQL server, with a role that may make schemas.
func Postgres(tb testing.TB) string {
	tb.Helper()
	return url(tb, "BANKFORGE_POSTGRES", startPostgres)
}

func url(tb testing.TB, variable string, start func() (string, error)) string {
	tb.Helper()
	if at := os.Getenv(variable); at != "" {
		return at
	}
	at, err := start()
	if err != nil {
		tb.Fatalf("%s is not set, and %v", variable, err)
	}
	return at
}

// Name is one that no other test has: lower-case letters and digits, the first a letter.
func Name() string { return "t" + strings.ToLower(rand.Text()[:12]) }

// startWithin is how long servers may take to start: they may have to be installed first.
const startWithin = 5 * time.Minute

// startPostgres is asked at most once in a process.
var startPostgres = sync.OnceValues(func() (string, error) { return start("BANKFORGE_POSTGRES", "postgres") })

// start starts a service, and is told where it is.
func start(variable, service string) (string, error) {
	at, err := Script("up", service)
	if err == nil && at[variable] == "" {
		err = fmt.Errorf("scripts/services.sh up %s does not say %s", service, variable)
	}
	return at[variable], err
}

// Script runs scripts/services.sh, and returns the variables that it exports. It returns when the servers answer, and
// may be run by many at once. It is for tests that stop servers, which must be their own.
func Script(args ...string) (map[string]string, error) {
	root, err := root()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(root, "scripts", "services.sh"), args...) //nolint:gosec // it is our own
	cmd.Dir = root
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("scripts/services.sh %s: %w: %s", strings.Join(args, " "), err, said.String())
	}
	exports := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "="); ok {
			exports[name] = strings.Trim(value, `'"`)
		}
	}
	return exports, nil
}

// root is the folder of the module, above the one in which a test runs.
func root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no folder above this one has a go.mod")
		}
		dir = up
	}
}
