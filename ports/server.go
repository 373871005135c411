// Package ports holds the doors by which the world asks the bank over HTTP. routes.go is the page that shows them
// all. It turns requests into calls of app and what app says into answers, and decides nothing itself
// but who may ask, how often, and whether a request is well formed.
package ports

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/ports/forward"
)

// Config is what the doors need.
type Config struct {
	App       *app.App          // required
	Auth      Authenticator     // required
	Readiness Readiness         // required
	Log       *slog.Logger      // required
	Now       func() time.Time  // nil: time.Now
	Observe   func(Observation) // told of every request that has been answered; nil: nobody is
	Page      http.Handler      // what stands at / and under /assets/; nil: nothing
	Live      *Live             // nil: there are no live updates here
	Ops       *Operations       // nil: operators can do nothing here
	AsyncAPI  []byte            // the document at /asyncapi.yaml (YAML)
	Epoch     string            // the ledger's incarnation: the epoch of live streams
	Version   string            // of this program, for the OpenAPI document; "": "1"
	Rate      Rate              // of each customer; zero: no limit
	Forward   *forward.Forward  // to the owner of the ledger, where that may be another process; nil: it is this one
	Runs      func(string) bool // whether a module runs here; routes of others do not exist; nil: all run
}

// doors is a Config that is in use.
type doors struct {
	Config
	limit      *limiter
	openAPI    []byte
	docsPolicy string
	rooms      sync.Pool // *[]byte for bodies
}

// New makes the doors. The handler is to be served by a server as NewServer makes it.
func New(c Config) (http.Handler, error) {
	if c.App == nil || c.Auth == nil || c.Readiness == nil || c.Log == nil {
		return nil, errors.New("ports: App, Auth, Readiness and Log are needed")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Ops != nil && c.Ops.Patience == 0 {
		own := *c.Ops
		own.Patience, c.Ops = actPatience, &own
	}
	limit, err := newLimiter(c.Rate)
	if err != nil {
		return nil, err
	}
	document, err := OpenAPI(c.Version)
	if err != nil {
		return nil, err
	}
	d := &doors{Config: c, limit: limit, openAPI: document, docsPolicy: policyOf(docsPage)}
	return d.engine(), nil
}

func (d *doors) engine() http.Handler {
	gin.SetMode(gin.ReleaseMode) // gin prints its routes otherwise
	e := gin.New()
	e.HandleMethodNotAllowed = true
	e.RedirectTrailingSlash = false
	e.UseRawPath = true // so that an escaped slash does not become a step of the path
	e.ForwardedByClientIP = false
	e.Use(d.middleware()...)
	for i := range routes {
		r := &routes[i]
		if !d.has(r) {
			continue
		}
		e.Handle(r.method, r.ginPath(), d.enter(r))
		if r.method == http.MethodGet && !r.live {
			e.HEAD(r.ginPath(), d.enter(r)) // the server leaves the body out
		}
	}
	e.NoMethod(notAllowed)
	e.NoRoute(d.elsewhere)
	return e
}

// has reports whether a route exists here. Commands on the ledger do wherever they can be forwarded.
func (d *doors) has(r *route) bool {
	runs := d.Runs == nil || r.module == "" || d.Runs(r.module) || d.Forward != nil && r.onLedger()
	return runs && (!r.live || d.Live != nil) && (!r.ops || d.Ops != nil) && (!r.demo || d.Ops.Demo)
}

// owns reports whether the request is to be answered here.
func (d *doors) owns(r *route) bool {
	if d.Forward == nil || !r.onLedger() {
		return true
	}
	_, here, _ := d.Forward.Owner()
	return here
}

// notAllowed answers OPTIONS with what is allowed, and other methods with 405. gin has set Allow.
func notAllowed(c *gin.Context) {
	if c.Request.Method == http.MethodOptions {
		c.Status(http.StatusNoContent)
		c.Writer.WriteHeaderNow()
		return
	}
	fail(c, refuse(codeMethodNotAllowed, "Allowed here: "+c.Writer.Header().Get("Allow")+"."))
}

// elsewhere is for paths that no route has: those of the page, or nothing.
func (d *doors) elsewhere(c *gin.Context) {
	if path := c.Request.URL.Path; d.Page == nil || path != "/" && !strings.HasPrefix(path, "/assets/") {
		fail(c, bank.Refuse(bank.NotFound, "", "There is nothing at this path."))
		return
	}
	delete(c.Writer.Header(), "Content-Security-Policy") // the page has its own
	c.Status(http.StatusOK)                              // gin has set 404
	d.Page.ServeHTTP(c.Writer, c.Request)
}

// Timeouts and limits of the server. Those who stream for longer than writeTimeout move their deadline.
const (
	headerTimeout = 10 * time.Second
	readTimeout   = 30 * time.Second
	writeTimeout  = 60 * time.Second
	idleTimeout   = 120 * time.Second
	maxHeader     = 32 << 10 // bytes; more is answered with 431
)

// NewServer makes a server that bounds what a caller can take of it.
func NewServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
	}
}
