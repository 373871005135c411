package gate_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"bankforge/cmd/drill/gate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const commit = "B\x00\x00\x00\x10\x00append\x00and more\n"

// database says every line that it hears, and hands it to heard.
func database(t *testing.T) (addr string, heard chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	heard = make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := bufio.NewReader(c)
				for {
					line, err := in.ReadString('\n')
					heard <- line
					if err != nil {
						return
					}
					_, _ = io.WriteString(c, line)
				}
			}()
		}
	}()
	return l.Addr().String(), heard
}

// through opens a gate, and a connection through it.
func through(t *testing.T) (*gate.Gate, net.Conn, *bufio.Reader, chan string) {
	t.Helper()
	addr, heard := database(t)
	g, err := gate.Open(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", g.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); _ = g.Close() })
	return g, c, bufio.NewReader(c), heard
}

func TestConnectionsAreCutWhereACommitPasses(t *testing.T) {
	t.Parallel()
	for at, want := range map[gate.Moment]string{
		gate.Before: "", gate.Within: commit[:len(commit)/2], gate.After: commit,
	} {
		t.Run(at.String(), func(t *testing.T) {
			t.Parallel()
			g, c, in, heard := through(t)
			come := g.Cut(at)
			_, _ = io.WriteString(c, "Q nothing of a commit\n")
			if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "Q") {
				t.Fatalf("%q, %v", line, err)
			}
			<-heard
			_, _ = io.WriteString(c, commit)
			if line, err := in.ReadString('\n'); err == nil {
				t.Errorf("the connection stands, and says %q", line)
			}
			<-come
			if got := <-heard; got != want {
				t.Errorf("the database has heard %q, want %q", got, want)
			}
		})
	}
}

func TestACommitWaitsUntilItIsReleased(t *testing.T) {
	t.Parallel()
	g, c, in, heard := through(t)
	held, release := g.Hold()
	_, _ = io.WriteString(c, commit)
	<-held
	select {
	case got := <-heard:
		t.Errorf("the database has heard %q", got)
	default:
	}
	release()
	if line, err := in.ReadString('\n'); err != nil || line != commit || <-heard != commit {
		t.Errorf("%q, %v", line, err)
	}
}
