package bench

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// at is a time so many seconds after some beginning.
func at(seconds float64) time.Time { return time.Unix(0, int64(seconds*1e9)) }

// The log grows by 100 events a second. The age of the oldest missing event is what counts, not how many there are.
func TestBehind(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		t    trail
		want float64 // seconds
	}{
		{"never", trail{{at(0), 0, 0}, {at(1), 100, 100}}, 0},
		{"idle", trail{{at(0), 100, 100}, {at(60), 100, 100}}, 0},
		{"one second and a half", trail{{at(0), 0, 0}, {at(1), 100, 100}, {at(2), 200, 150}, {at(3), 300, 150}}, 1.5},
		{"a stuck view while nothing is written", trail{{at(0), 0, 0}, {at(1), 100, 0}, {at(9), 100, 0}}, 9},
		{"at the worst, not at the end", trail{{at(0), 0, 0}, {at(1), 100, 0}, {at(2), 200, 200}}, 1},
		{"behind from the first sample on", trail{{at(0), 100, 50}, {at(1), 200, 50}}, 1},
	} {
		if got := c.t.behind().Seconds(); got < c.want-1e-6 || got > c.want+1e-6 {
			t.Errorf("%s: %v s, not %v", c.name, got, c.want)
		}
	}
}

func TestFigures(t *testing.T) {
	t.Parallel()
	f, err := parseFigures(`# HELP x y
bankforge_log_seq 120
bankforge_view_lag_events{handler="balances"} 3
bankforge_view_lag_events{handler="history"} 1.2e+01
bankforge_http_seconds_count{method="POST",route="/v1/transfers",status="201"} 7
bankforge_http_seconds_count{method="POST",route="/v1/transfers",status="503"} 2
bankforge_http_seconds_count{method="POST",route="/v1/transfers/bulk",status="200"} 9
bankforge_http_seconds_counter 1
`)
	if err != nil {
		t.Fatal(err)
	}
	if lag, head, ok := f.lag(); lag != 12 || head != 120 || !ok {
		t.Errorf("lag is %v of %v, %t", lag, head, ok)
	}
	if got := f.sum("bankforge_http_seconds_count", `route="/v1/transfers"`); got != 9 {
		t.Errorf("sum is %v", got)
	}
	if _, _, ok := (figures{"bankforge_log_seq": 1}).lag(); ok {
		t.Error("without views there is a lag")
	}
	if _, err := parseFigures("a b c"); err == nil {
		t.Error("nonsense is read")
	}
}

func TestTraceIsRead(t *testing.T) {
	t.Parallel()
	const reply = `7 write(20<TCP:[127.0.0.1:1->127.0.0.1:2]>, "HTTP/1.1 201 Cre"..., 1319) = 1319` + "\n"
	const good = `7 fsync(12</d/bank.db-wal>) = 0
` + reply + `8 fdatasync(12</d/bank.db-wal> <unfinished ...>
9 fsync(18</d/views.db-wal>) = 0
9 write(5<anon_inode:[eventfd]>, "\1\0\0\0\0\0\0\0", 8) = 8
8 <... fdatasync resumed>)               = 0
` + reply + `9 fsync(18</other/bank.db-wal>) = 0
9 fsync(11</d/bank.db>) = 0
9 fsync(11</d/state.db-wal>) = 0
9 --- SIGURG {si_signo=SIGURG} ---
9 write(20<TCP:[127.0.0.1:1->127.0.0.1:2]>, "HTTP/1.1 200 OK\r"..., 1319) = 1319
`
	const begun = `8 fsync(12</d/bank.db-wal> <unfinished ...>` + "\n"
	for _, c := range []struct {
		trace string
		want  traced
	}{
		{good, traced{flushes: 3, replies: 2}},
		{reply + reply, traced{replies: 2, early: 2}},
		{good + reply + reply, traced{flushes: 3, replies: 4, early: 1}},
		{begun + reply + "8 <... fsync resumed>) = 0\n", traced{flushes: 1, replies: 1, early: 1}},
		{"9 fsync(18</d/views.db-wal>) = 0\n" + reply, traced{replies: 1, early: 1}},
	} {
		if got, err := readTrace([]byte(c.trace), "/d"); got != c.want || err != nil {
			t.Errorf("%+v, %v of %s", got, err, c.trace)
		}
	}
	for _, bad := range []string{"7 fsync(12</d/bank.db-wal>) = -1 EIO (error)", "7 <... fsync resumed>) = -1 EIO"} {
		if _, err := readTrace([]byte(good+bad), "/d"); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

func TestWrkAndServerMustAgree(t *testing.T) {
	t.Parallel()
	r := &Run{Requests: 100, Connections: 8}
	for _, c := range []struct {
		got  answers
		good bool
	}{
		{answers{right: 100}, true},
		{answers{right: 103, failed: 5}, true}, // those that wrk has hung up on
		{answers{right: 99, failed: 1}, false},
		{answers{right: 100, wrong: 1}, false}, // a 200 or 202 where 201 is due
		{answers{right: 109}, false},
		{answers{right: 100, failed: 9}, false},
	} {
		if err := agree("the bank", r, c.got); (err == nil) != c.good {
			t.Errorf("%+v: %v", c.got, err)
		}
	}
}

func TestGrowth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		samples []float64
		want    float64
	}{{nil, 1}, {[]float64{1, 2}, 1}, {[]float64{1, 4, 3, 4, 4, 4}, 1}, {[]float64{1, 1, 4, 4, 8, 2}, 2}} {
		if got := growth(c.samples); got != c.want {
			t.Errorf("growth of %v is %v, not %v", c.samples, got, c.want)
		}
	}
}

// The yardstick's answers are as long as was asked for, on the wire, and it takes only what it can read.
func TestYardstick(t *testing.T) {
	t.Parallel()
	want := Yardstick{Post: Sizes{Body: 840, Header: 560}, Get: Sizes{Body: 548, Header: 400}}
	s := httptest.NewServer(want.engine())
	defer s.Close()
	b := &server{url: s.URL, token: "t"}
	got, err := b.sizes(t.Context(), []string{"acc_a", "acc_b"})
	if err != nil || got != want {
		t.Errorf("sizes are %+v, %v", got, err)
	}
	for _, body := range []string{"", "{}", `{"from_account_id":"a"}`, "nonsense"} {
		r, err := http.Post(s.URL+"/v1/transfers", mimeJSON, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != 400 {
			t.Errorf("%q is answered %s: %s", body, r.Status, answer)
		}
	}
	text, err := get(t.Context(), s.URL+"/count")
	var c Counted
	if err != nil || json.Unmarshal(text, &c) != nil || c != (Counted{Right: 2, Wrong: 4}) {
		t.Errorf("it counts %s, %v", text, err)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestEnvironmentOfChildren(t *testing.T) {
	t.Parallel()
	got := environment([]string{"PATH=/bin", "BANKFORGE_TARGET=console", "GOGC=50"})
	if !slices.Equal(got, []string{"PATH=/bin", "GOGC=50"}) {
		t.Errorf("children get %v", got)
	}
}

func TestLedgerReadyIsRead(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	b := &server{process: &process{log: log}}
	text := `time=2026-11-22T21:51:59.751Z level=INFO msg="the log is open" seq=7 term=1 incarnation=R took=3ms
time=2026-11-22T21:52:59.751Z level=INFO msg="the log is open" seq=5000001 term=2 incarnation=R took=1m2.5s
`
	if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, took, err := b.ledgerReady(); n != 5_000_001 || took != 62500*time.Millisecond || err != nil {
		t.Errorf("%v events in %s, %v", n, took, err)
	}
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.ledgerReady(); err == nil {
		t.Error("a log that does not say it is taken")
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for text, good := range map[string]bool{
		"http://127.0.0.1:8080": true, "https://bank.example": true, "127.0.0.1:8080": false, "ftp://x": false, "": false,
	} {
		if u, err := parseURL(text); (err == nil) != good {
			t.Errorf("%q is %v, %v", text, u, err)
		}
	}
}
