package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"bankforge/app"
	"bankforge/ports"
)

// Run runs the bank until ctx ends, and then lets it finish what it has accepted.
func (s *Serve) Run(ctx context.Context, cli *CLI, log *slog.Logger, stdout io.Writer) (err error) {
	s.shares = cli.Store == "postgres"
	public, err := listen(ctx, "--http", s.HTTP)
	if err != nil {
		return err
	}
	public = netutil.LimitListener(public, s.Connections)
	defer closing(public, &err)
	if err := s.advertise(public.Addr()); err != nil {
		return err
	}
	admin, err := s.listenAdmin(ctx)
	if err != nil {
		return err
	}
	if admin != nil {
		defer closing(admin, &err)
	}
	b, err := newBankProcess(ctx, s, &cli.Where, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	doors, err := b.doors()
	if err != nil {
		return err
	}
	if err := b.announce(stdout, public.Addr()); err != nil {
		return err
	}
	return b.serve(ctx, public, admin, doors)
}

// advertise says where others reach this process when no flag does: where it listens.
func (s *Serve) advertise(at net.Addr) error {
	if s.Advertise != "" {
		return nil
	}
	host, port, err := net.SplitHostPort(at.String())
	if err != nil {
		return fmt.Errorf("--http: %w", err)
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		if s.shares && s.decides() {
			return fmt.Errorf("--http %s does not say where other processes reach this one: give --advertise", s.HTTP)
		}
		return nil
	}
	s.Advertise = s.scheme() + "://" + net.JoinHostPort(host, port)
	return nil
}

func (s *Serve) scheme() string {
	if s.certificate != nil {
		return "https"
	}
	return "http"
}

// closing closes l at the end, also when it has been closed by then.
func closing(l net.Listener, err *error) {
	if e := l.Close(); e != nil && !errors.Is(e, net.ErrClosed) {
		*err = errors.Join(*err, e)
	}
}

func (s *Serve) listenAdmin(ctx context.Context) (net.Listener, error) {
	if s.Admin == "" {
		return nil, nil //nolint:nilnil // none is wanted
	}
	return listen(ctx, "--admin", s.Admin)
}

func listen(ctx context.Context, flag, addr string) (net.Listener, error) {
	var conf net.ListenConfig
	l, err := conf.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return l, nil
}

// announce says where the bank is, and to those who want to look at a demonstration, how to get in.
func (b *bankProcess) announce(stdout io.Writer, addr net.Addr) error {
	url := b.conf.scheme() + "://" + addr.String() + "/"
	if _, err := fmt.Fprintf(stdout, "BankForge serves %s\n", url); err != nil {
		return err
	}
	if !b.conf.Demo {
		return nil
	}
	roles := []app.Role{app.RoleTeller, app.RoleFraud, app.RoleAuditor}
	if b.conf.DemoFailures {
		roles = append(roles, app.RoleOperator)
	}
	token, err := b.stores.TokenKey.Sign(app.Principal{Subject: demoSubject, Roles: roles}, time.Now(), demoTokenLife)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "Look at the demonstration: %s#token=%s\n", url, token)
	return err
}

const demoTokenLife = 24 * time.Hour

// decides reports whether this process decides commands now.
func (b *bankProcess) decides() bool {
	if b.owners == nil {
		return b.decider != nil
	}
	_, here, _ := b.owners.Owner()
	return here
}

// serve runs everything, and when ctx ends or a part fails, ends it in the order in which work flows: first the
// doors, then the decider, then what reacts.
func (b *bankProcess) serve(ctx context.Context, public, admin net.Listener, doors http.Handler) error {
	parts, failed := errgroup.WithContext(ctx)
	reactions, stopReactions := context.WithCancel(context.WithoutCancel(ctx))
	defer stopReactions()
	for _, m := range modules {
		if m.run != nil && b.conf.runs(m.name) {
			parts.Go(func() error { return inModule(m.name, m.run(reactions, b)) })
		}
	}
	parts.Go(func() error { b.wake(reactions); return nil })
	if b.published != nil {
		parts.Go(func() error { return b.published.Run(reactions) })
	}
	if b.owners != nil {
		parts.Go(func() error { return app.Watch(reactions, b.watching()) })
	}
	if b.conf.Demo {
		d := demo{bank: b.app, log: b.log, decides: b.decides, fails: b.conf.DemoFailures}
		parts.Go(func() error { return d.run(failed) })
	}
	server := ports.NewServer(doors)
	parts.Go(func() error { return notClosed(b.serveTLS(server, public)) })
	operators := ports.NewServer(b.metrics.handler())
	operators.WriteTimeout = 0 // profiles take their time
	if admin != nil {
		parts.Go(func() error { return notClosed(operators.Serve(admin)) })
	}
	parts.Go(func() error {
		<-failed.Done()
		defer stopReactions()
		return errors.Join(b.end(context.WithoutCancel(ctx), server), operators.Close())
	})
	return parts.Wait()
}

// end stops taking work and finishes what was accepted. A request that has not arrived whole was not, so the doors
// do not wait for such ones as long as the ledger may need.
func (b *bankProcess) end(ctx context.Context, server *http.Server) error {
	b.log.Info("ending", "grace", b.conf.Grace)
	grace, cancel := context.WithTimeout(ctx, b.conf.Grace)
	defer cancel()
	doors, cancel := context.WithTimeout(grace, b.conf.Grace/2)
	defer cancel()
	if err := errors.Join(b.hub.Shutdown(doors), server.Shutdown(doors)); err != nil {
		b.log.Warn("connections are cut", "error", err)
		err = server.Close()
		if err != nil {
			b.log.Warn("a connection could not be cut", "error", err)
		}
	}
	if b.decider == nil {
		return nil
	}
	return b.decider.Close(grace)
}

func (b *bankProcess) serveTLS(s *http.Server, l net.Listener) error {
	if b.conf.certificate == nil {
		return s.Serve(l)
	}
	s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*b.conf.certificate}, MinVersion: tls.VersionTLS12}
	return s.ServeTLS(l, "", "")
}

func notClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func inModule(name string, err error) error {
	if err != nil {
		return fmt.Errorf("module %s: %w", name, err)
	}
	return nil
}

// watching is how a process hears of what others append.
func (b *bankProcess) watching() app.Watching {
	return app.Watching{
		Log: b.stores.Log, Tide: b.tide, Incarnation: b.head.Incarnation, Every: b.conf.Watch, Logger: b.log,
	}
}

// wake tells the handlers of this process of every commit.
func (b *bankProcess) wake(ctx context.Context) {
	for {
		next := b.tide.Next()
		b.routing.Hints.Wake()
		select {
		case <-ctx.Done():
			return
		case <-next:
		}
	}
}
