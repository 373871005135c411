package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bankforge/cmd/drill/check"
	"bankforge/cmd/drill/process"
	"bankforge/cmd/drill/servers"
	"bankforge/cmd/drill/teller"
)

// bank is one whose handlers fail.
type bank struct {
	conf     *Config
	servers  *servers.Set // nil: there are none
	where    []string     // flags that say where it is kept
	members  []*member
	log      *check.Log
	accounts []string
	random   *rand.Rand // of who kills
	moves    *rand.Rand // of who moves money
	lives    lives
	poisoned int
	topics   topics
}

// lives are how processes ended.
type lives struct{ killed, inHandler, ended, began int }

// open starts servers and processes. What it returns must be closed, also after an error.
func open(ctx context.Context, c *Config) (*bank, error) {
	b := &bank{conf: c, log: check.NewLog()}
	b.random = rand.New(rand.NewPCG(c.Seed, 0)) //nolint:gosec // replayed
	b.moves = rand.New(rand.NewPCG(c.Seed, 1))  //nolint:gosec // replayed
	if err := b.place(ctx); err != nil {
		return b, err
	}
	for _, cast := range b.cast() {
		addr, err := process.FreeAddress(ctx)
		if err != nil {
			return b, err
		}
		b.members = append(b.members, &member{bank: b, name: cast[0], target: cast[1], addr: addr})
	}
	token, err := process.Command(ctx, c.Bankforge, slices.Concat([]string{"token"}, b.found(),
		[]string{"--role", "teller,auditor,operator", "--subject", "drill", "--ttl", "24h"})...)
	if err != nil {
		return b, fmt.Errorf("make a token: %w: %s", err, token)
	}
	for _, m := range b.members { // who takes commands first: the others wait for the ledger that it makes
		m.client = teller.NewClient("http://"+m.addr, token)
		if err := m.start(ctx, false); err != nil {
			return b, err
		}
		if err := m.process.Ready(ctx); err != nil {
			return b, fmt.Errorf("start %s: %w: %s", m.name, err, process.Tail(m.log()))
		}
	}
	return b, nil
}

// place says where the bank is kept, and has that there.
func (b *bank) place(ctx context.Context) (err error) {
	if !b.conf.Servers {
		return nil
	}
	b.servers, err = servers.Up(ctx, b.conf.Script, filepath.Join(b.conf.Dir, "servers"), servers.Postgres, servers.Kafka)
	if err != nil {
		return err
	}
	b.where = []string{
		"--store", "postgres", "--postgres", b.servers.At("POSTGRES"), "--broker", "kafka",
		"--kafka", b.servers.At("KAFKA"), "--master-key-file", filepath.Join(b.conf.Dir, "master.key"),
	}
	return nil
}

// Who relays, by name.
const relaying = "relay"

// cast says which processes there are: names and modules. The first one takes commands.
func (b *bank) cast() [][2]string {
	if !b.conf.Servers {
		return [][2]string{{"bank", "all"}}
	}
	const handle = "account-query,transaction-query,monitoring"
	return [][2]string{
		{"ledger", "account-command,transaction-command"}, {relaying, "event-store"},
		{"one", handle}, {"two", handle}, {"three", handle},
	}
}

// handling are the processes with handlers and replayers.
func (b *bank) handling() []*member {
	if !b.conf.Servers {
		return b.members
	}
	return b.members[2:]
}

func (b *bank) named(name string) *member {
	return b.members[slices.IndexFunc(b.members, func(m *member) bool { return m.name == name })]
}

// shows is who shows the log.
func (b *bank) shows() *teller.Client {
	if !b.conf.Servers {
		return b.members[0].client
	}
	return b.named(relaying).client
}

// killSomebody lets everybody live for a while, and then kills one of the processes, most often one that handles.
// Whoever has ended by now begins anew.
func (b *bank) killSomebody(ctx context.Context) error {
	if err := teller.Rest(ctx, b.lifetime()); err != nil {
		return err
	}
	of := b.handling()
	if b.random.IntN(5) == 0 {
		of = b.members
	}
	m := of[b.random.IntN(len(of))]
	switch {
	case m.process.Ended(): // in a handler's transaction, as it was ordered to
	case !m.doomed && b.random.IntN(3) == 0:
		b.lives.ended++
		if err := m.process.Term(); err != nil {
			return check.Wrong(err)
		}
	default:
		b.lives.killed++
		m.doomed = false
		m.process.Kill()
	}
	return b.reviveAll(ctx, true)
}

// reviveAll starts whoever has ended again; if they may be doomed, every other one is.
func (b *bank) reviveAll(ctx context.Context, mayBeDoomed bool) error {
	for _, m := range b.members {
		if err := m.revive(ctx, mayBeDoomed && b.random.IntN(2) == 0); err != nil {
			return err
		}
	}
	return nil
}

// behind is how many events all processes say that they are behind; ok is false while one is not ready. One that shares
// partitions with others stays behind by the last few events, if these were not in its own.
func (b *bank) behind(ctx context.Context) (events uint64, ok bool) {
	for _, m := range b.handling() {
		var ready struct {
			Modules []struct {
				Ready bool   `json:"ready"`
				Lag   uint64 `json:"lag"`
			} `json:"modules"`
		}
		if err := m.client.GetInto(ctx, "/readyz", &ready); err != nil {
			return 0, false
		}
		for _, of := range ready.Modules {
			if !of.Ready {
				return 0, false
			}
			events += of.Lag
		}
	}
	return events, true
}

func (b *bank) close() (err error) {
	for _, m := range b.members {
		if m.process != nil && !m.process.Ended() {
			m.process.Kill()
		}
		if m.client != nil {
			m.client.Close()
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if b.servers != nil {
		err = b.servers.Down(context.Background())
	}
	return err
}

// member is one process of the bank, through all its lives.
type member struct {
	bank         *bank
	name, target string
	addr         string
	client       *teller.Client
	process      *process.Process
	doomed       bool // it ends itself in a handler's transaction
}

func (m *member) log() string { return filepath.Join(m.bank.conf.Dir, m.name+".log") }

// start starts it, and does not wait until it is ready.
func (m *member) start(ctx context.Context, doomed bool) error {
	c := m.bank.conf
	data := filepath.Join(c.Dir, m.name)
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	orders := []string{fmt.Sprintf("fail:%d:%d", c.Seed, failsAtEvery)}
	if c.Plant != "" {
		orders = append(orders, c.Plant)
	}
	if m.doomed = doomed; doomed {
		orders = append(orders, fmt.Sprintf("kill:in-handler:%d", 1+m.bank.random.IntN(40)))
	}
	m.client.Close()
	m.bank.lives.began++
	var err error
	m.process, err = process.Launch(c.Bankforge, m.log(), strings.Join(orders, ","),
		slices.Concat([]string{"serve", "--data", data}, m.bank.where, []string{
			"--http", m.addr, "--admin", "", "--target", m.target, "--grace", "10s", "--poll", "100ms",
		})...)
	if doomed && errors.Is(err, process.ErrEnded) {
		return ctx.Err()
	}
	if err != nil {
		return check.Wrong(fmt.Errorf("start %s: %w: %s", m.name, err, process.Tail(m.log())))
	}
	return nil
}

// revive starts it again, if it has ended.
func (m *member) revive(ctx context.Context, doomed bool) error {
	if !m.process.Ended() {
		return nil
	}
	if m.doomed {
		m.bank.lives.inHandler++
	}
	return m.start(ctx, doomed)
}

// calm has it live on: one that would end itself is killed before it does.
func (m *member) calm(ctx context.Context) error {
	if m.doomed && !m.process.Ended() {
		m.process.Kill()
		m.bank.lives.killed++
		m.doomed = false
	}
	return m.revive(ctx, false)
}
