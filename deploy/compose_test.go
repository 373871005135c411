// Package deploy_test holds what runs the bank on many machines against the bank: docker-compose.yml, the gateway in
// front of the modules, the image.
package deploy_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"
)

// load reads docker-compose.yml as docker compose does, with .env beside it.
func load(t *testing.T, profiles ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"../docker-compose.yml"},
		cli.WithWorkingDirectory(".."), cli.WithEnvFiles("../.env"), cli.WithDotEnv, cli.WithProfiles(profiles))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

var servers = []string{"kafka", "mailpit", "mongo", "postgres", "redis"}

// profiles says which services each profile adds to the servers.
var profiles = map[string][]string{
	"":    nil,
	"one": {"bank"}, "watch": {"prometheus"},
	"many": {"account-query", "command-1", "command-2", "console", "event-store", "gateway", "monitoring", "push",
		"transaction-query"},
}

func TestProfiles(t *testing.T) {
	t.Parallel()
	for profile, more := range profiles {
		t.Run("profile "+profile, func(t *testing.T) {
			t.Parallel()
			var chosen []string
			if profile != "" {
				chosen = append(chosen, profile)
			}
			project := load(t, chosen...)
			want := slices.Sorted(slices.Values(append(slices.Clone(servers), more...)))
			if got := slices.Sorted(maps.Keys(project.Services)); !slices.Equal(got, want) {
				t.Errorf("services: %v, want %v", got, want)
			}
			for name, s := range project.Services {
				checkService(t, name, s)
			}
		})
	}
}

// checkService holds what is so for every service: its health is asked, what it needs is healthy first, it comes back
// when it ends, and only this machine reaches it.
func checkService(t *testing.T, name string, s types.ServiceConfig) {
	t.Helper()
	if s.HealthCheck == nil || len(s.HealthCheck.Test) == 0 || s.HealthCheck.Disable {
		t.Errorf("%s has no health check", name)
	}
	if s.Restart != types.RestartPolicyUnlessStopped {
		t.Errorf("%s: restart: %q", name, s.Restart)
	}
	for on, how := range s.DependsOn {
		if how.Condition != types.ServiceConditionHealthy {
			t.Errorf("%s waits for %s only until %s", name, on, how.Condition)
		}
	}
	for _, p := range s.Ports {
		if p.HostIP != "127.0.0.1" {
			t.Errorf("%s: port %s is published on %q, not on the loopback address", name, p.Published, p.HostIP)
		}
	}
	if len(s.Volumes) == 0 {
		t.Errorf("%s keeps nothing: it has no volume", name)
	}
}

// TestOnePlace: what .env says is what docker compose uses, every word of it, and docker-compose.yml has no version
// and no port of its own.
func TestOnePlace(t *testing.T) {
	t.Parallel()
	text := read(t, "../docker-compose.yml")
	for _, line := range regexp.MustCompile(`(?m)^ +image: .*$`).FindAllString(text, -1) {
		if !strings.Contains(line, ":v${VERSION_") && !strings.Contains(line, ":${VERSION_") &&
			strings.TrimSpace(line) != "image: bankforge" {
			t.Errorf("a version that is not from .env: %s", line)
		}
	}
	for _, published := range regexp.MustCompile(`"127\.0\.0\.1:([^"]+):`).FindAllStringSubmatch(text, -1) {
		if !strings.HasPrefix(published[1], "${PORT_") {
			t.Errorf("a port that is not from .env: %s", published[0])
		}
	}
	env := read(t, "../.env")
	for _, m := range regexp.MustCompile(`\$\{([^}]+)\}`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains("\n"+env, "\n"+m[1]+"=") {
			t.Errorf("docker-compose.yml asks for %s, and .env does not say it", m[1])
		}
	}
	// These are only for servers without a container engine.
	native := []string{"VERSION_FERRETDB", "PORT_KAFKA_CONTROLLER", "GOGC_FERRETDB"}
	for _, m := range regexp.MustCompile(`(?m)^([A-Z_]+)=`).FindAllStringSubmatch(env, -1) {
		if !strings.Contains(text, "${"+m[1]+"}") && !slices.Contains(native, m[1]) {
			t.Errorf(".env says %s, and docker-compose.yml does not ask for it", m[1])
		}
	}
}

// TestPostgresOptions: the server gets every setting of .env, as words, and nothing that comes later takes back what
// makes it durable.
func TestPostgresOptions(t *testing.T) {
	t.Parallel()
	command := load(t).Services["postgres"].Command
	if len(command) == 0 || command[0] != "postgres" {
		t.Fatalf("the command is %q", command)
	}
	last := map[string]string{}
	for i, word := range command[1:] {
		name, value, is := strings.Cut(word, "=")
		if is != (i%2 == 1) || !is && word != "-c" {
			t.Fatalf("word %d of %q is neither -c nor a setting", i+1, command)
		}
		if is {
			last[name] = value
		}
	}
	for name, want := range map[string]string{
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "max_connections": "300",
		"shared_buffers": "256MB", "min_wal_size": "1GB", "max_wal_size": "2GB",
	} {
		if last[name] != want {
			t.Errorf("%s is %q, want %q", name, last[name], want)
		}
	}
	if !strings.Contains(read(t, "../scripts/servers/native.sh"), "$POSTGRES_MEMORY $POSTGRES_DURABLE\n") {
		t.Error("the native server does not get the same")
	}
}

// TestEveryModuleRuns: in the profile "many" each module that there is runs somewhere, and those of command twice.
func TestEveryModuleRuns(t *testing.T) {
	t.Parallel()
	runs := map[string]int{}
	for name, s := range load(t, "many").Services {
		target := s.Environment["BANKFORGE_TARGET"]
		if target == nil {
			continue
		}
		for module := range strings.SplitSeq(*target, ",") {
			runs[module]++
		}
		if at := s.Environment["BANKFORGE_ADVERTISE"]; strings.Contains(*target, "command") &&
			(at == nil || *at != "http://"+name+":8080") {
			t.Errorf("%s does not say where others reach it", name)
		}
	}
	table := regexp.MustCompile(`(?m)^\t\{"([a-z-]+)", (true|false), `)
	modules := table.FindAllStringSubmatch(read(t, "../cmd/bankforge/modules.go"), -1)
	if len(modules) < 7 {
		t.Fatalf("cmd/bankforge/modules.go has only %d modules for this test", len(modules))
	}
	for _, m := range modules {
		want := 1
		if m[2] == "true" {
			want = 2 // one owns the ledger, one waits
		}
		if runs[m[1]] != want {
			t.Errorf("%s runs in %d processes, want %d", m[1], runs[m[1]], want)
		}
		delete(runs, m[1])
	}
	for module := range runs {
		t.Errorf("there is no module %s", module)
	}
}

// TestUpstreams: the gateway looks for processes where docker-compose.yml runs them.
func TestUpstreams(t *testing.T) {
	t.Parallel()
	project := load(t, "many")
	lines := regexp.MustCompile(`(?m)^ +server ([a-z0-9-]+):8080`)
	found := lines.FindAllStringSubmatch(read(t, "upstreams.conf"), -1)
	if len(found) != len(profiles["many"])-1 {
		t.Errorf("%d upstreams, want one for each process but the gateway", len(found))
	}
	gateway := project.Services["gateway"]
	for _, m := range found {
		if _, ok := project.Services[m[1]]; !ok {
			t.Errorf("upstreams.conf names %s, which docker-compose.yml does not run", m[1])
		}
		if _, ok := gateway.DependsOn[m[1]]; !ok {
			t.Errorf("the gateway does not wait for %s", m[1])
		}
	}
}

// TestImage: the image holds a static program that is run by a user without rights, and asks it how it is.
// TestPrometheus: it asks every process of the bank, whichever profile runs it, where that serves its metrics, and has
// the rules that docs/alerts.md tells of.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	var conf struct {
		RuleFiles []string `yaml:"rule_files"`
		Scrape    []struct {
			DNS []struct {
				Names []string `yaml:"names"`
				Type  string   `yaml:"type"`
				Port  int      `yaml:"port"`
			} `yaml:"dns_sd_configs"`
		} `yaml:"scrape_configs"`
	}
	d := yaml.NewDecoder(strings.NewReader(read(t, "prometheus.yml")))
	if err := d.Decode(&conf); err != nil || len(conf.Scrape) != 1 || len(conf.Scrape[0].DNS) != 1 {
		t.Fatalf("%+v, %v", conf, err)
	}
	project, asked := load(t, "one", "many", "watch"), conf.Scrape[0].DNS[0]
	var processes []string
	for name, s := range project.Services {
		if s.Image != "bankforge" {
			continue
		}
		processes = append(processes, name)
		if at := s.Environment["BANKFORGE_ADMIN"]; at == nil || *at != fmt.Sprint("0.0.0.0:", asked.Port) {
			t.Errorf("%s does not serve its metrics at port %d", name, asked.Port)
		}
		for _, p := range s.Ports {
			if int(p.Target) == asked.Port {
				t.Errorf("%s publishes its metrics and profiles", name)
			}
		}
	}
	slices.Sort(processes)
	if got := slices.Sorted(slices.Values(asked.Names)); !slices.Equal(got, processes) || asked.Type != "A" {
		t.Errorf("asked are %q, and there are %q", got, processes)
	}
	mounted := map[string]string{}
	for _, v := range project.Services["prometheus"].Volumes {
		mounted[v.Target] = v.Source
	}
	for _, file := range append(conf.RuleFiles, "prometheus.yml") {
		if from := mounted["/etc/prometheus/"+file]; !strings.HasSuffix(from, "deploy/"+file) {
			t.Errorf("%s is %q in the container", file, from)
		}
	}
}

func TestImage(t *testing.T) {
	t.Parallel()
	text := read(t, "../Dockerfile")
	_, last, _ := strings.Cut(text, "\nFROM scratch\n")
	for _, want := range []string{"USER 65532:65532\n", "HEALTHCHECK ", "--chown=65532:65532", "VOLUME /data\n"} {
		if !strings.Contains(last, want) {
			t.Errorf("the image has no %q", want)
		}
	}
	if !strings.Contains(text, "CGO_ENABLED=0 go build") {
		t.Error("the program is not static")
	}
	env := read(t, "../.env")
	version := regexp.MustCompile(`(?m)^VERSION_GO=(.*)$`).FindStringSubmatch(env)[1]
	if !strings.Contains(read(t, "../go.mod"), "\ngo "+version+"\n") {
		t.Errorf("go.mod wants another version than %s of .env", version)
	}
	if !strings.Contains(text, "ARG VERSION_GO="+version+"\n") {
		t.Errorf("the Dockerfile has another version than %s of .env", version)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
