package deploy_test

import (
	"bufio"
	"context"
	"debug/elf"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// nobody is whom the image runs as.
const nobody = 65532

// TestImageRuns builds what the Dockerfile builds, and runs it as the image does: by a user without rights, and, where
// the test may do so, in a tree that holds nothing else.
func TestImageRuns(t *testing.T) {
	t.Parallel()
	image := t.TempDir()
	build(t, image)
	for dir, mode := range map[string]os.FileMode{"": 0o755, "data": 0o700, "tmp": 0o1777} {
		if err := os.MkdirAll(filepath.Join(image, dir), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(image, dir), mode); err != nil {
			t.Fatal(err)
		}
	}
	if os.Getuid() == 0 {
		if err := os.Chown(filepath.Join(image, "data"), nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	env := append(dataOf(image), "BANKFORGE_HTTP=127.0.0.1:0", "BANKFORGE_ADMIN=")
	url := serveImage(t, inImage(t, image, env, "serve"))
	waitFor(t, func() bool {
		answer, err := http.Get(url + "readyz")
		return err == nil && answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
	})
	said, err := inImage(t, image, env, "ready", "--url", strings.TrimSuffix(url, "/")).CombinedOutput()
	if err != nil {
		t.Errorf("the health check: %v: %s", err, said)
	}
}

// TestComposeSettings: the program takes what docker-compose.yml says to each process, and has every flag of it.
func TestComposeSettings(t *testing.T) {
	t.Parallel()
	image := t.TempDir()
	build(t, image)
	for _, profile := range []string{"one", "many"} {
		for name, s := range load(t, profile).Services {
			if s.Image != "bankforge" {
				continue
			}
			env := []string{}
			for key, value := range s.Environment {
				env = append(env, key+"="+*value)
			}
			out, err := inImage(t, image, env, "config").CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v: %s", name, err, out)
			}
			for key, value := range s.Environment {
				flag := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(key, "BANKFORGE_")), "_", "-")
				line := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(flag) + `:(.*(?:\n +- .*)*)`).FindString(string(out))
				for part := range strings.SplitSeq(*value, ",") {
					if !strings.Contains(line, part) {
						t.Errorf("%s: %s is %q, and the program has %q", name, key, *value, line)
					}
				}
			}
		}
	}
}

// build runs the go build of the Dockerfile, with the image below dir.
func build(t *testing.T, dir string) {
	t.Helper()
	command := regexp.MustCompile(`CGO_ENABLED=0 go build [^\n\\]*`).FindString(read(t, "../Dockerfile"))
	if !strings.Contains(command, " /image/usr/bin/bankforge ") {
		t.Fatalf("the Dockerfile builds with %q", command)
	}
	c := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(command, " /image/", " \"$IMAGE\"/"))
	c.Dir, c.Env = "..", append(os.Environ(), "IMAGE="+dir)
	if said, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, said)
	}
	program, err := elf.Open(filepath.Join(dir, "usr/bin/bankforge"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the program asks for a loader, which the image does not have")
		}
	}
	if err := program.Close(); err != nil {
		t.Error(err)
	}
}

// dataOf is the directory of data, as the program sees it.
func dataOf(image string) []string {
	if os.Getuid() == 0 {
		return []string{"BANKFORGE_DATA=/data"}
	}
	return []string{"BANKFORGE_DATA=" + filepath.Join(image, "data")}
}

// inImage is the program in the image. Only root may change the root and the user; others have no rights anyway.
func inImage(t *testing.T, image string, env []string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(image, "usr/bin/bankforge"), args...)
	c.Env = env
	if os.Getuid() == 0 {
		c.Path, c.Dir = "/usr/bin/bankforge", "/"
		c.SysProcAttr = &syscall.SysProcAttr{
			Chroot: image, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, Pdeathsig: syscall.SIGKILL,
		}
	}
	return c
}

var serves = regexp.MustCompile(`^BankForge serves (http://\S+/)`)

// serveImage starts the server, and returns its URL. At the end it must end well when it is told to.
func serveImage(t *testing.T, c *exec.Cmd) string {
	t.Helper()
	var complaints strings.Builder
	c.Stderr = &complaints
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := c.Wait(); err != nil {
			t.Errorf("it ended with %v: %s", err, complaints.String())
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := serves.FindStringSubmatch(lines.Text()); m != nil {
			go io.Copy(io.Discard, out) //nolint:errcheck // until it ends
			return m[1]
		}
	}
	t.Fatalf("it does not serve: %v", lines.Err())
	return ""
}
