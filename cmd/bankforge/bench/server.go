package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a child of the suite. It ends when the context of its start does, and when the suite is killed.
type process struct {
	cmd  *exec.Cmd
	log  string        // the file that holds what it wrote to standard error
	done chan struct{} // closed when it has ended
	err  error         // how, once done
}

const (
	endPatience   = 60 * time.Second // for SIGTERM: a large bank writes its snapshot
	startPatience = 15 * time.Minute // until /readyz: a large log may have to be replayed
)

// start runs a program. What it prints first is handed to the caller.
func start(ctx context.Context, log, program string, args ...string) (*process, *bufio.Reader, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer out.Close() //nolint:errcheck // the child has its own
	//nolint:gosec // the program is this one
	p := &process{cmd: exec.CommandContext(ctx, program, args...), log: log, done: make(chan struct{})}
	p.cmd.Stderr, p.cmd.Env, p.cmd.SysProcAttr = out, environment(os.Environ()), dieWithParent()
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = endPatience
	said, in, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	p.cmd.Stdout = in
	err = p.cmd.Start()
	_ = in.Close() // the child has its own
	if err != nil {
		_ = said.Close()
		return nil, nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		_ = said.Close()
		close(p.done)
	}()
	return p, bufio.NewReader(said), nil
}

// environment leaves out what would set a child otherwise than a user finds it.
func environment(all []string) (out []string) {
	for _, e := range all {
		if !strings.HasPrefix(e, "BANKFORGE_") {
			out = append(out, e)
		}
	}
	return out
}

// stop asks the process to end, and waits until it has.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
	case <-time.After(endPatience):
		_ = p.cmd.Process.Kill() // it may have ended by itself
		<-p.done
		return fmt.Errorf("%s did not end within %s of SIGTERM", filepath.Base(p.cmd.Path), endPatience)
	}
	if p.err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(p.cmd.Args, " "), p.err, lastLines(p.log))
	}
	return nil
}

// lastLines is the end of a log, for messages.
func lastLines(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "; ")
}

// cpu is the processor time that the process has used.
func (p *process) cpu() time.Duration { return cpuOf(p.cmd.Process.Pid) }

// place is what a bank is kept in, and which part of it runs.
type place struct {
	data    string
	servers []string // flags that name them, for all commands
	modules string   // of --target; "": all
}

func (p *place) flags() []string { return append([]string{"--data", p.data}, p.servers...) }

// server is a running bank of the suite, with nothing else on its data directory.
type server struct {
	*process
	place
	url, admin string
	token      string // of a teller
	reader     string // of another teller, who writes nothing and so waits for no view
	ready      time.Duration
	began      time.Time
}

// serve starts a bank, and returns when it says that it is ready.
func (s *Suite) serve(ctx context.Context, at place) (*server, error) {
	b := &server{place: at}
	var err error
	if b.token, err = s.tokenFor(ctx, &at, "teller", "bench"); err != nil {
		return nil, err
	}
	if b.reader, err = s.tokenFor(ctx, &at, "teller", "reader"); err != nil {
		return nil, err
	}
	public, admin, err := freePorts()
	if err != nil {
		return nil, err
	}
	b.url, b.admin = "http://"+public, "http://"+admin
	b.began = time.Now()
	args := append([]string{"serve", "--http", public, "--admin", admin}, at.flags()...)
	if at.modules != "" {
		args = append(args, "--target", at.modules)
	}
	b.process, _, err = start(ctx, filepath.Join(at.data, "server.log"), s.Program, args...)
	if err != nil {
		return nil, err
	}
	if err := b.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	b.ready = time.Since(b.began)
	return b, nil
}

// fresh starts a new bank in files, with accounts that have money.
func (s *Suite) fresh(ctx context.Context) (*server, []string, error) { return s.freshIn(ctx, place{}) }

// freshIn starts a new bank at a place that has no data directory yet.
func (s *Suite) freshIn(ctx context.Context, at place) (_ *server, _ []string, err error) {
	if at.data, err = os.MkdirTemp(s.work, "bank-*"); err != nil {
		return nil, nil, err
	}
	b, err := s.serve(ctx, at)
	if err != nil {
		return nil, nil, err
	}
	accounts, err := OpenAccounts(ctx, b.url, b.token, s.size.accounts)
	if err == nil {
		err = b.caughtUp(ctx, catchUpLimit)
	}
	if err != nil {
		return nil, nil, errors.Join(err, b.stop())
	}
	return b, accounts, nil
}

// end stops a bank whose data is of no more use.
func (b *server) end(err *error) {
	*err = errors.Join(*err, b.stop(), os.RemoveAll(b.data))
}

func (s *Suite) tokenFor(ctx context.Context, at *place, role, subject string) (string, error) {
	return s.command(ctx, at, "token", "--role", role, "--subject", subject, "--ttl", "24h")
}

// command runs a command of the program on a bank, and returns what it prints.
func (s *Suite) command(ctx context.Context, at *place, args ...string) (string, error) {
	c := exec.CommandContext(ctx, s.Program, append(args, at.flags()...)...) //nolint:gosec // the program is this one
	var says strings.Builder
	c.Env, c.Stderr, c.SysProcAttr = environment(os.Environ()), &says, dieWithParent()
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(says.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// freePorts finds two addresses that nobody uses now.
func freePorts() (one, two string, err error) {
	var conf net.ListenConfig
	var at [2]string
	for i := range at {
		l, err := conf.Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return "", "", err
		}
		defer l.Close() //nolint:errcheck // nothing was sent
		at[i] = l.Addr().String()
	}
	return at[0], at[1], nil
}

func (b *server) awaitReady(ctx context.Context) error {
	tick := time.NewTicker(catchUpPace)
	defer tick.Stop()
	for end := time.Now().Add(startPatience); time.Now().Before(end); {
		if _, err := get(ctx, b.url+"/readyz"); err == nil {
			return nil
		}
		select {
		case <-b.done:
			return fmt.Errorf("the bank did not start: %s", lastLines(b.log))
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return fmt.Errorf("the bank was not ready within %s: %s", startPatience, lastLines(b.log))
}

// figures asks the bank for its metrics.
func (b *server) figures(ctx context.Context) (figures, error) {
	text, err := get(ctx, b.admin+"/metrics")
	if err != nil {
		return nil, err
	}
	return parseFigures(string(text))
}

// answers are what a server has answered so far.
type answers struct {
	right  float64 // as was wanted
	wrong  float64 // a success, but another one
	failed float64 // statuses from 400, as for a client who has hung up: wrk counts those that it sees
	events float64 // written to the log
}

func (a answers) minus(b answers) answers {
	return answers{a.right - b.right, a.wrong - b.wrong, a.failed - b.failed, a.events - b.events}
}

// served is what the bank says to have answered.
func (b *server) served(ctx context.Context, k Kind) (a answers, err error) {
	f, err := b.figures(ctx)
	if err != nil {
		return a, err
	}
	method, route := `method="POST"`, `route="/v1/transfers"`
	if k == Reads {
		method, route = `method="GET"`, `route="/v1/accounts/{id}"`
	}
	const name = "bankforge_http_seconds_count"
	all := f.sum(name, method, route)
	a.right = f.sum(name, method, route, `status="`+strconv.Itoa(k.accepts())+`"`)
	a.failed = f.sum(name, method, route, `status="4`) + f.sum(name, method, route, `status="5`)
	a.wrong = all - a.right - a.failed
	a.events = f.sum("bankforge_events_total")
	return a, nil
}

// sizes of the bank's answers, as they are on the wire: of one transfer, and of one read.
func (b *server) sizes(ctx context.Context, accounts []string) (y Yardstick, err error) {
	base, err := parseURL(b.url)
	if err != nil {
		return y, err
	}
	for kind, to := range map[Kind]*Sizes{Transfers: &y.Post, Reads: &y.Get} {
		raw, err := dial(ctx, base)
		if err != nil {
			return y, err
		}
		request := newWriter(kind, base, b.token, accounts, nil).next("")
		request = []byte(strings.Replace(string(request), "\r\n", "\r\nConnection: close\r\n", 1))
		_, err = raw.Write(request)
		var answer []byte
		if err == nil {
			answer, err = io.ReadAll(raw)
		}
		if err = errors.Join(err, raw.Close()); err != nil {
			return y, err
		}
		head, body, ok := strings.Cut(string(answer), "\r\n\r\n")
		if !ok || !strings.HasPrefix(head, "HTTP/1.1 "+strconv.Itoa(kind.accepts())) {
			return y, fmt.Errorf("the first answer is %q", answer)
		}
		head = strings.Replace(head, "\r\nConnection: close", "", 1) + "\r\n\r\n"
		*to = Sizes{Body: len(body), Header: len(head)}
	}
	return y, nil
}

// yardstick is the bare server in a process of its own.
type yardstick struct {
	*process
	url string
}

// measureOf starts the yardstick for what a bank answers.
func (s *Suite) measureOf(ctx context.Context, b *server, accounts []string) (*yardstick, error) {
	sizes, err := b.sizes(ctx, accounts)
	if err != nil {
		return nil, err
	}
	s.report.Yardstick = sizes
	like, err := json.Marshal(sizes)
	if err != nil {
		return nil, err
	}
	p, out, err := start(ctx, filepath.Join(s.work, "yardstick.log"), s.Program, "bench", "--yardstick", string(like))
	if err != nil {
		return nil, err
	}
	line, err := out.ReadString('\n')
	fields := strings.Fields(line)
	if err != nil || len(fields) == 0 {
		return nil, errors.Join(errors.New("the yardstick did not start: "+lastLines(p.log)), p.stop())
	}
	return &yardstick{p, strings.TrimSuffix(fields[len(fields)-1], "/")}, nil
}

// served is what the yardstick has answered so far.
func (y *yardstick) served(ctx context.Context) (answers, error) {
	text, err := get(ctx, y.url+"/count")
	if err != nil {
		return answers{}, err
	}
	var c Counted
	err = json.Unmarshal(text, &c)
	return answers{right: float64(c.Right), failed: float64(c.Wrong)}, err
}
