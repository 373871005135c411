package succession_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"bankforge/app"
	"bankforge/app/apptest"
	"bankforge/app/bank"
	"bankforge/app/succession"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	term = 2 * time.Second
	soon = term / 4 // how often processes look
)

// shared is what all processes of a bank share.
type shared struct{ log apptest.MemoryLog }

// process is one of them. While it is stopped, nothing that it asks is heard.
type process struct {
	*succession.Succession
	apptest.LeasedLog

	mu   sync.Mutex
	wake chan struct{} // closed: it runs
	fail func(app.Batch) error
}

func start(t *testing.T, of *shared, name string, change ...func(*succession.Config)) *process {
	t.Helper()
	p := &process{LeasedLog: of.log.Share("http://"+name, term), wake: make(chan struct{})}
	close(p.wake)
	conf := succession.Config{
		Lease: p, Term: term, Address: "http://" + name,
		Ledger: app.LedgerConfig{Owner: name, Log: p, Lookup: &of.log, ResolveWithin: time.Second},
	}
	for _, c := range change {
		c(&conf)
	}
	s, err := succession.Start(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	p.Succession = s
	t.Cleanup(func() { p.close(t) })
	return p
}

func (p *process) close(t *testing.T) {
	t.Helper()
	p.cont()
	if err := p.Succession.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

// stop and cont are SIGSTOP and SIGCONT, as far as others can tell.
func (p *process) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake = make(chan struct{})
}

func (p *process) cont() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.wake:
	default:
		close(p.wake)
	}
}

func (p *process) runs() {
	p.mu.Lock()
	wake := p.wake
	p.mu.Unlock()
	<-wake
}

func (p *process) Append(ctx context.Context, b app.Batch) error {
	p.runs()
	if err := p.LeasedLog.Append(context.WithoutCancel(ctx), b); err != nil {
		return err
	}
	p.runs()
	p.mu.Lock()
	fail := p.fail
	p.mu.Unlock()
	if fail != nil {
		return fail(b)
	}
	return nil
}

func (p *process) Resolve(ctx context.Context, b app.Batch) (bool, app.Head, error) {
	p.runs()
	return p.LeasedLog.Resolve(ctx, b)
}

func (p *process) Renew(ctx context.Context) error {
	p.runs()
	return p.LeasedLog.Renew(context.WithoutCancel(ctx))
}

func (p *process) Holder(ctx context.Context) (app.Holder, error) {
	p.runs()
	return p.LeasedLog.Holder(context.WithoutCancel(ctx))
}

func (p *process) is(t *testing.T, want succession.Standing) {
	t.Helper()
	if got, holder := p.State(); got != want {
		t.Fatalf("it is %s and not %s; the owner is %s", got, want, holder.Owner)
	}
}

// open opens an account under a key.
func (p *process) open(t *testing.T, n int) (app.Answer, bank.Code) {
	t.Helper()
	eur, err := bank.ParseCurrency("EUR")
	if err != nil {
		t.Fatal(err)
	}
	var id [16]byte
	copy(id[:], fmt.Sprintf("%016d", n))
	key := sha256.Sum256(fmt.Append(nil, "open ", n))
	got, err := p.Execute(t.Context(), app.Ask{Name: "open", Call: app.Call{Key: key, Fingerprint: key},
		Command: bank.OpenAccount{ID: bank.MakeID[bank.Account](id), DailyDebitLimit: bank.NoLimit,
			Opening: bank.Opening{Currency: eur, Type: bank.Current}}})
	return got, codeOf(err)
}

func codeOf(err error) bank.Code {
	if e, ok := errors.AsType[*bank.Error](err); ok {
		return e.Code
	}
	if err != nil {
		return bank.Code(err.Error())
	}
	return ""
}

func (p *process) must(t *testing.T, n int) app.Answer {
	t.Helper()
	got, code := p.open(t, n)
	if code != "" {
		t.Fatalf("opening account %d: %s", n, code)
	}
	return got
}

func (s *shared) head(t *testing.T) app.Head {
	t.Helper()
	h, err := s.log.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestTheLeaseOfTheseTestsConforms(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		open := func(n int) (all []apptest.LeasedLog, _ error) {
			var log apptest.MemoryLog
			for i := range n {
				all = append(all, log.Share(fmt.Sprint("http://", i), term))
			}
			return all, nil
		}
		if err := apptest.TestLease(t.Context(), apptest.LeaseStore{For: term, Open: open}); err != nil {
			t.Error(err)
		}
	})
}

func TestTheFirstOneOwnsTheLedgerAndOthersStandBy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		of := new(shared)
		one := start(t, of, "one")
		synctest.Wait()
		two, watcher := start(t, of, "two"), start(t, of, "three", func(c *succession.Config) { c.Watches = true })
		pass(10 * term)
		one.is(t, succession.Owning)
		two.is(t, succession.StandingBy)
		watcher.is(t, succession.Watching)
		one.must(t, 1)
		for name, p := range map[string]*process{"standby": two, "watcher": watcher} {
			if _, code := p.open(t, 2); code != app.CodeUnavailable {
				t.Errorf("the %s says %q", name, code)
			}
			if to, here, _ := p.Owner(); to != "http://one" || here {
				t.Errorf("the %s knows the owner as %q, %v", name, to, here)
			}
			if err := p.Ready(); err != nil {
				t.Errorf("the %s is not ready: %v", name, err)
			}
		}
		if h := of.head(t); h.Term != 1 || h.Seq != 1 {
			t.Errorf("the head is %+v", h)
		}
	})
}

func TestAnOwnerWhoEndsLetsGoAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		of := new(shared)
		one := start(t, of, "one")
		synctest.Wait()
		two := start(t, of, "two")
		first := one.must(t, 1)
		one.close(t)
		pass(soon)
		two.is(t, succession.Owning)
		again := two.must(t, 1)
		if !again.Replayed || again.Account.ID != first.Account.ID {
			t.Errorf("the second owner does not know what the first has done: %+v", again)
		}
	})
}

func TestADeadOwnersLedgerIsTakenOverInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		of := new(shared)
		one := start(t, of, "one")
		synctest.Wait()
		two := start(t, of, "two")
		pass(10*term + soon/3)
		one.must(t, 1)
		one.stop()
		died := time.Now()
		for {
			if _, code := two.open(t, 2); code == "" {
				break
			}
			pass(10 * time.Millisecond)
		}
		if took := time.Since(died); took > term+2*soon {
			t.Errorf("it took %s", took)
		}
		if h := of.head(t); h.Owner != "two" || h.Term != 2 {
			t.Errorf("the head is %+v", h)
		}
	})
}

// TestWhoStartsAgainWaitsForItself: the lease of the start before is still good, but nobody is there.
func TestWhoStartsAgainWaitsForItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		of := new(shared)
		before := start(t, of, "one")
		synctest.Wait()
		before.must(t, 1)
		before.stop()
		again := start(t, of, "one", func(c *succession.Config) { c.Ledger.Owner = "one again" })
		synctest.Wait()
		if to, here, _ := again.Owner(); to != "" || here || again.Ready() == nil {
			t.Errorf("it takes %q for the owner, here: %v, ready: %v", to, here, again.Ready())
		}
		pass(term + soon)
		again.is(t, succession.Owning)
	})
}

// TestOthersHearWhenTheOwnerIsAnother, so that they do not wait for an answer of the old one.
func TestOthersHearWhenTheOwnerIsAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		of := new(shared)
		one := start(t, of, "one")
		synctest.Wait()
		two, three := start(t, of, "two"), start(t, of, "three", func(c *succession.Config) { c.Watches = true })
		synctest.Wait()
		for _, p := range []*process{two, three} {
			if to, _, over := p.Owner(); to != "http://one" || closed(over) {
				t.Errorf("the owner is %q, over: %v", to, closed(over))
			}
		}
		_, _, second := two.Owner()
		_, _, third := three.Owner()
		one.stop()
		pass(term + 2*soon)
		if !closed(second) || !closed(third) {
			t.Errorf("they have heard: %v, %v", closed(second), closed(third))
		}
		if to, _, over := three.Owner(); to != "http://two" || closed(over) {
			t.Errorf("the owner is %q, over: %v", to, closed(over))
		}
	})
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestAStoppedOwnerWhoWakesUpWritesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		of := new(shared)
		one := start(t, of, "one")
		synctest.Wait()
		two := start(t, of, "two")
		one.must(t, 1)
		one.stop()
		underWay := make(chan bank.Code, 1)
		go func() {
			_, code := one.open(t, 2)
			underWay <- code
		}()
		pass(2 * term)
		two.is(t, succession.Owning)
		two.must(t, 3)
		before := of.head(t)
		if _, code := one.open(t, 4); code != app.CodeUnavailable {
			t.Errorf("before it knows, it says %q", code)
		}
		one.cont()
		if code := <-underWay; code != app.CodeUnavailable {
			t.Errorf("who waited hears %q", code)
		}
		pass(soon)
		one.is(t, succession.StandingBy)
		if after := of.head(t); after != before {
			t.Errorf("the head moved from %+v to %+v", before, after)
		}
		if to, here, _ := one.Owner(); to != "http://two" || here {
			t.Errorf("it knows the owner as %q, %v", to, here)
		}
		if again := two.must(t, 2); again.Replayed {
			t.Error("what the old owner had under way was done after all")
		}
		two.close(t)
		pass(soon)
		one.is(t, succession.Owning)
		if again := one.must(t, 2); !again.Replayed {
			t.Error("the first owner does not know what the second has done")
		}
	})
}

// counted keeps the mark of the last snapshot.
type counted struct{ mark app.SnapshotMark }

func (c *counted) Save(_ context.Context, m app.SnapshotMark, write func(io.Writer) error) error {
	c.mark = m
	return write(io.Discard)
}

func (*counted) Load(context.Context, func(app.SnapshotMark, io.Reader) error) (bool, error) {
	return false, nil
}
