package bench

import (
	"bytes"
	"context"
	crand "crypto/rand"
	_ "embed" // for wrk.lua
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
)

//go:embed wrk.lua
var wrkScript []byte

// Run is one run of a load generator against one server, as it was.
type Run struct {
	Line        string  `json:"line"`
	Against     string  `json:"against"` // the bank or the yardstick
	Generator   string  `json:"generator"`
	Kind        Kind    `json:"kind"`
	Connections int     `json:"connections"`
	Seconds     float64 `json:"seconds"`
	Requests    uint64  `json:"requests"`
	PerSecond   float64 `json:"per_second"`
	P50         float64 `json:"p50_ms"`
	P95         float64 `json:"p95_ms"`
	P99         float64 `json:"p99_ms"`
	Max         float64 `json:"max_ms,omitempty"`
	Errors      string  `json:"errors,omitempty"`
	// Processor time of the server for one request: where wall-clock time depends on what else the machine does, this
	// says more.
	CPUMicros float64            `json:"cpu_micros_per_request,omitempty"`
	More      map[string]float64 `json:"more,omitempty"`
}

// shot is one run of wrk.
type shot struct {
	line        string
	kind        Kind
	connections int
	duration    time.Duration
	token       string
	accounts    []string
}

// wrkSays is the line that wrk.lua prints at the end.
type wrkSays struct {
	Requests uint64  `json:"requests"`
	Micros   uint64  `json:"micros"`
	P50      float64 `json:"p50"`
	P95      float64 `json:"p95"`
	P99      float64 `json:"p99"`
	Max      float64 `json:"max"`
	Connect  uint64  `json:"connect"`
	Read     uint64  `json:"read"`
	Write    uint64  `json:"write"`
	Status   uint64  `json:"status"`
	Timeout  uint64  `json:"timeout"`
}

// wrk runs wrk against a server. Every reply that is no success makes it fail.
func (s *Suite) wrk(ctx context.Context, url string, shot *shot) (Run, error) {
	r := Run{Line: shot.line, Generator: "wrk", Kind: shot.kind, Connections: shot.connections}
	script, list := filepath.Join(s.work, "wrk.lua"), filepath.Join(s.work, "accounts.txt")
	err := os.WriteFile(script, wrkScript, 0o600)
	if err == nil {
		err = os.WriteFile(list, []byte(shot.token+"\n"+strings.Join(shot.accounts, "\n")+"\n"), 0o600)
	}
	if err != nil {
		return r, err
	}
	threads := min(runtime.NumCPU(), shot.connections, 2)
	//nolint:gosec // the arguments are the suite's own
	c := exec.CommandContext(ctx, "wrk", "-t", strconv.Itoa(threads), "-c", strconv.Itoa(shot.connections),
		"-d", strconv.Itoa(int(shot.duration.Seconds()))+"s", "--timeout", "30s", "-s", script, url, "--",
		string(shot.kind), strconv.FormatUint(seed(), 10), list)
	c.SysProcAttr = dieWithParent()
	out, err := c.CombinedOutput()
	s.ended = time.Now()
	if err != nil {
		return r, fmt.Errorf("wrk: %w: %s", err, out)
	}
	_, after, found := bytes.Cut(out, []byte("BENCH "))
	var says wrkSays
	if !found || json.NewDecoder(bytes.NewReader(after)).Decode(&says) != nil {
		return r, fmt.Errorf("wrk said: %s", out)
	}
	r.Seconds, r.Requests = float64(says.Micros)/1e6, says.Requests
	r.PerSecond = float64(says.Requests) / r.Seconds
	r.P50, r.P95, r.P99, r.Max = says.P50, says.P95, says.P99, says.Max
	if bad := says.Connect + says.Read + says.Write + says.Status + says.Timeout; bad > 0 || says.Requests == 0 {
		r.Errors = fmt.Sprintf("connect %d, read %d, write %d, status %d, timeout %d of %d", says.Connect, says.Read,
			says.Write, says.Status, says.Timeout, says.Requests)
		return r, fmt.Errorf("wrk against %s had errors: %s", url, r.Errors)
	}
	return r, nil
}

// seed is small enough for Lua to hold it exactly, and new for each run: the same keys twice would be replays.
func seed() uint64 {
	var b [8]byte
	_, _ = crand.Read(b[:]) // never fails, it says
	return binary.LittleEndian.Uint64(b[:]) >> 16
}

// ours runs wrk against the bank, and makes sure that the bank has answered each request as it should: wrk sees only
// statuses from 400, so the bank's own counters have to agree.
func (s *Suite) ours(ctx context.Context, b *server, shot *shot) (Run, error) {
	if shot.kind == Reads {
		shot.token = b.reader
	} else {
		shot.token = b.token
	}
	before, err := b.served(ctx, shot.kind)
	if err != nil {
		return Run{}, err
	}
	cpu := b.cpu()
	r, err := s.wrk(ctx, b.url, shot)
	cpu = b.cpu() - cpu
	r.Against = "bank"
	if err != nil {
		return r, err
	}
	after, err := b.settled(ctx, shot.kind)
	if err != nil {
		return r, err
	}
	r.CPUMicros = cpu.Seconds() * 1e6 / float64(r.Requests)
	s.keep(r)
	got := after.minus(before)
	if err := agree("the bank", &r, got); err != nil {
		return r, err
	}
	if shot.kind != Reads && (got.events < got.right || got.events > got.right+got.failed) {
		return r, fmt.Errorf("the bank answered %.0f transfers, and wrote %.0f events", got.right, got.events)
	}
	return r, nil
}

// settled asks until what wrk has left under way is answered, too.
func (b *server) settled(ctx context.Context, k Kind) (answers, error) {
	tick := time.NewTicker(catchUpPace)
	defer tick.Stop()
	var last answers
	for {
		now, err := b.served(ctx, k)
		if err != nil || now.right == last.right && now.failed == last.failed {
			return now, err
		}
		last = now
		select {
		case <-ctx.Done():
			return now, ctx.Err()
		case <-tick.C:
		}
	}
}

// theirs runs wrk against the yardstick.
func (s *Suite) theirs(ctx context.Context, y *yardstick, shot *shot) (Run, error) {
	shot.token = strings.Repeat("x", len(shot.token)) // as many bytes to read as for the bank
	before, err := y.served(ctx)
	if err != nil {
		return Run{}, err
	}
	cpu := y.cpu()
	r, err := s.wrk(ctx, y.url, shot)
	cpu = y.cpu() - cpu
	r.Against = "yardstick"
	if err != nil {
		return r, err
	}
	after, err := y.served(ctx)
	if err != nil {
		return r, err
	}
	r.CPUMicros = cpu.Seconds() * 1e6 / float64(r.Requests)
	s.keep(r)
	return r, agree("the yardstick", &r, after.minus(before))
}

// agree compares what wrk has counted with what the server has. wrk saw no status from 400, and the server gave no
// success but the right one: so all that wrk saw were right. At its end wrk hangs up on a request of each connection.
func agree(who string, r *Run, got answers) error {
	most := float64(r.Requests) + float64(r.Connections)
	if got.right < float64(r.Requests) || got.right+got.failed > most || got.wrong != 0 {
		return fmt.Errorf("wrk counts %d answers, and %s %.0f right ones, %.0f other successes, %.0f failures", r.Requests,
			who, got.right, got.wrong, got.failed)
	}
	return nil
}

// Yardstick is what the bank is compared with: gin in its release mode, with a handler that reads the same JSON
// and gives a fixed answer as long as the bank's. It runs in a process of its own, as the bank does.
type Yardstick struct {
	Post Sizes `json:"post"` // of the bank's answers to a transfer
	Get  Sizes `json:"get"`  // and to a read of an account
}

// Sizes of an answer in bytes.
type Sizes struct {
	Body   int `json:"body"`
	Header int `json:"header"` // the status line and all headers
}

// order is the body of a transfer.
type order struct {
	From   string `json:"from_account_id"`
	To     string `json:"to_account_id"`
	Amount struct {
		Amount   string `json:"amount"`
		Currency string `json:"currency"`
	} `json:"amount"`
}

// Counted is what a yardstick says of itself at /count.
type Counted struct {
	Right uint64 `json:"right"`
	Wrong uint64 `json:"wrong"`
}

// headerEnd bounds how long clients may take for a header; the bank has such a bound, too.
const headerEnd = 10 * time.Second

// Serve writes the address to out, and answers until ctx ends.
func (y Yardstick) Serve(ctx context.Context, addr string, out io.Writer) error {
	var conf net.ListenConfig
	l, err := conf.Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: y.engine(), ReadHeaderTimeout: headerEnd}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if _, err := fmt.Fprintf(out, "yardstick serves http://%s/\n", l.Addr()); err != nil {
		return err
	}
	if err := server.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}

func (y Yardstick) engine() http.Handler {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	var right, wrong atomic.Uint64
	posted, read := y.Post.fixed(http.StatusCreated), y.Get.fixed(http.StatusOK)
	e.POST("/v1/transfers", func(c *gin.Context) {
		var o order
		if err := c.ShouldBindJSON(&o); err != nil || o.From == "" || o.To == "" || o.Amount.Amount != "1" {
			wrong.Add(1)
			c.Status(http.StatusBadRequest)
			return
		}
		right.Add(1)
		posted.answer(c)
	})
	e.GET("/v1/accounts/:id", func(c *gin.Context) {
		right.Add(1)
		read.answer(c)
	})
	e.GET("/count", func(c *gin.Context) { c.JSON(http.StatusOK, Counted{right.Load(), wrong.Load()}) })
	return e
}

// fixedAnswer is made once; answering only copies it.
type fixedAnswer struct {
	status  int
	body    []byte
	padding []string
}

const mimeJSON = "application/json"

// fixed makes up an answer of these sizes. What the bank says in many headers is one here: less work for the same
// bytes, so that the comparison is no easier for the bank.
func (s Sizes) fixed(status int) *fixedAnswer {
	f := &fixedAnswer{status: status}
	f.body = fmt.Appendf(nil, `{"id":%q}`, strings.Repeat("x", max(s.Body-len(`{"id":""}`), 0)))
	own := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Length: %d\r\nContent-Type: %s\r\nX-Padding: \r\n"+
		"Date: Sun, 22 Nov 2026 21:52:01 GMT\r\n\r\n", status, http.StatusText(status), len(f.body), mimeJSON)
	f.padding = []string{strings.Repeat("x", max(s.Header-len(own), 1))}
	return f
}

func (f *fixedAnswer) answer(c *gin.Context) {
	c.Writer.Header()["X-Padding"] = f.padding
	c.Data(f.status, mimeJSON, f.body)
}
