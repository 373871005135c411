package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
)

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
