package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// tab is a tab of a real browser that shows the bank's page. console/test/tab.mjs drives it.
type tab struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out chan string // its answers, a line each; closed when it has ended
	log string
}

// tabCommand opens the page, or asks the tab what it shows. ACCOUNT is one of those that the load moves money between.
func tabCommand(ts *testscript.TestScript, neg bool, args []string) {
	form := "tab open | state STATE | wait VERSION | check"
	usage(ts, !neg && len(args) > 0, form)
	j := of(ts)
	switch {
	case args[0] == "open":
		t, err := openTab(ts.MkAbs("tab.log"), ts.Getenv("URL"), strings.TrimPrefix(
			j.headers(ts, "GET").Get("Authorization"), "Bearer "))
		ts.Check(err)
		ts.Defer(t.close)
		j.tab = t
	case args[0] == "state" && len(args) == 2:
		_, err := j.tab.ask("state " + args[1])
		ts.Check(err)
	case args[0] == "wait" && len(args) == 2:
		_, err := j.tab.ask("wait " + j.load.accounts[0] + " " + args[1])
		ts.Check(err)
	case args[0] == "check":
		for _, account := range j.load.accounts {
			ts.Check(j.checkTab(account))
		}
	default:
		ts.Fatalf("usage: %s", form)
	}
}

func openTab(log, url, token string) (*tab, error) {
	script, err := filepath.Abs(filepath.Join("..", "..", "console", "test", "tab.mjs"))
	if err != nil {
		return nil, err
	}
	errs, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer errs.Close()
	t := &tab{cmd: exec.CommandContext(context.Background(), "node", script), out: make(chan string), log: log}
	t.cmd.Env = append(os.Environ(), "BANKFORGE_URL="+url, "BANKFORGE_TOKEN="+token)
	t.cmd.Stderr = errs
	if t.in, err = t.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := t.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := t.cmd.Start(); err != nil {
		return nil, fmt.Errorf("the browser's driver needs Node (make install): %w", err)
	}
	go func() {
		defer close(t.out)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			t.out <- lines.Text()
		}
	}()
	_, err = t.answer()
	return t, err
}

func (t *tab) ask(line string) (string, error) {
	if _, err := fmt.Fprintln(t.in, line); err != nil {
		return "", errors.Join(err, errors.New(tail(t.log)))
	}
	return t.answer()
}

func (t *tab) answer() (string, error) {
	select {
	case line, ok := <-t.out:
		if !ok {
			return "", fmt.Errorf("the tab has ended; if Chromium is missing, make install brings it: %s", tail(t.log))
		}
		return line, nil
	case <-time.After(3 * patience):
		return "", fmt.Errorf("the tab does not answer: %s", tail(t.log))
	}
}

func (t *tab) close() {
	_ = t.in.Close() // it ends by itself then
	select {
	case <-t.out:
	case <-time.After(patience):
		_ = t.cmd.Process.Kill()
	}
	_ = t.cmd.Wait()
}

// checkTab makes sure that the tab has come to show the account as the bank has it,
// and got each version once, in order.
func (j *journey) checkTab(account string) error {
	a, err := ask("GET", j.load.url+"/v1/accounts/"+account, j.load.header, "")
	if err != nil {
		return err
	}
	version, err := a.at("version")
	if err != nil {
		return err
	}
	balance, err := a.at("balance.amount")
	if err != nil {
		return err
	}
	if _, err := j.tab.ask("wait " + account + " " + version); err != nil {
		return err
	}
	shown, err := j.tab.ask("balance " + account)
	if err != nil || shown != balance {
		return errors.Join(err, fmt.Errorf("the tab shows a balance of %s for %s, not %s", shown, account, balance))
	}
	line, err := j.tab.ask("seen " + account)
	if err != nil {
		return err
	}
	var seen []uint64
	if err := json.Unmarshal([]byte(line), &seen); err != nil {
		return err
	}
	for i := 1; i < len(seen); i++ {
		if seen[i] != seen[i-1]+1 {
			return fmt.Errorf("the tab saw version %d of %s after %d", seen[i], account, seen[i-1])
		}
	}
	if len(seen) == 0 || strconv.FormatUint(seen[len(seen)-1], 10) != version {
		return fmt.Errorf("the tab saw %d versions of %s, but not %s as the last", len(seen), account, version)
	}
	return nil
}
