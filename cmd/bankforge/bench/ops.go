package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// parkedBank is a bank in which everything of one handler waits in the parking lot.
type parkedBank struct {
	place
	messages int
	operator string // a token
}

// desk is where an operator of a bank works, on one connection.
type desk struct {
	c     *conn
	base  *url.URL
	token string
}

// desk serves the bank, and opens a desk in it.
func (s *Suite) desk(ctx context.Context, p *parkedBank) (*server, *desk, error) {
	b, err := s.serve(ctx, p.place)
	if err != nil {
		return nil, nil, err
	}
	d := &desk{token: p.operator}
	err = b.caughtUp(ctx, rebuiltWithin) // the other handlers
	if err == nil {
		d.base, err = parseURL(b.url)
	}
	if err == nil {
		d.c, err = dial(ctx, d.base)
	}
	if err != nil {
		return nil, nil, errors.Join(err, b.stop())
	}
	return b, d, nil
}

func (d *desk) close(err *error) { *err = errors.Join(*err, d.c.Close()) }

// ask sends a request below /ops/v1, and reads the answer into into, if it is there.
func (d *desk) ask(method, path, body string, into any) error {
	request := fmt.Sprintf("%s /ops/v1%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", method, path, d.base.Host, d.token, len(body), body)
	r, err := d.c.ask([]byte(request))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if r.status != http.StatusOK && r.status != http.StatusCreated {
		return fmt.Errorf("%s %s: %d: %s", method, path, r.status, d.c.body.Bytes())
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(d.c.body.Bytes(), into)
}

// shown is what is needed of an element of a list.
type shown struct {
	Handler     string   `json:"handler"`
	Key         string   `json:"key"`
	Fingerprint string   `json:"fingerprint"`
	Correlation string   `json:"correlation_id"`
	Accounts    []string `json:"accounts"`
	ParkedAt    string   `json:"parked_at"`
}

type listed struct {
	Data []shown `json:"data"`
	Next string  `json:"next_cursor"`
}

// paths are all lists with all of their filters: what is there, and what is not. Pages are as long as can be.
func (d *desk) paths() (paths []string, err error) {
	var all listed
	if err := d.ask(http.MethodGet, "/failures?status=parked&limit=200", "", &all); err != nil {
		return nil, err
	}
	if len(all.Data) < 2 || all.Next == "" {
		return nil, errors.New("too little is parked")
	}
	f := all.Data[len(all.Data)/2]
	q := url.QueryEscape
	of := "handler=" + q(f.Handler)
	since := "from=" + q(f.ParkedAt)
	for _, filter := range []string{
		"", "order=asc", of, of + "&order=asc", "status=parked", "status=blocked", "status=scheduled", "status=resolved",
		"status=discarded", "waiting=true", "class=unknown", "class=poison", "class=transient",
		"fingerprint=" + q(f.Fingerprint), "account_id=" + q(f.Key), "correlation_id=" + q(f.Correlation),
		"correlation_id=none", of + "&key=" + q(f.Key), "key=" + q(f.Key),
		since, "to=" + q(f.ParkedAt), since + "&order=asc", "to=" + q(f.ParkedAt) + "&order=asc",
		"status=parked&cursor=" + q(all.Next), of + "&status=parked", of + "&status=blocked", of + "&status=discarded",
		of + "&class=unknown", of + "&class=poison&status=parked", "class=unknown&status=blocked",
		"fingerprint=" + q(f.Fingerprint) + "&status=blocked", "account_id=" + q(f.Key) + "&status=discarded",
		of + "&waiting=true&order=asc", "handler=balances&status=blocked", "handler=balances",
		"handler=balances&waiting=true",
		of + "&correlation_id=" + q(f.Correlation), of + "&class=unknown&status=discarded", "status=blocked&order=asc",
		of + "&account_id=" + q(f.Key) + "&" + since, "status=blocked&to=" + q(f.ParkedAt), "class=poison&" + since,
	} {
		paths = append(paths, "/failures?limit=200&"+filter)
	}
	for _, filter := range []string{
		"", of, "class=unknown", "class=transient", "fingerprint=" + q(f.Fingerprint), of + "&class=poison", "order=asc",
		since, "handler=balances",
	} {
		paths = append(paths, "/failure-groups?limit=200&"+filter)
	}
	for _, filter := range []string{
		"", of, "class=unknown", "class=transient", "fingerprint=" + q(f.Fingerprint), "paused=true", of + "&class=poison",
		"order=asc", since, "handler=balances", of + "&paused=true", of + "&fingerprint=" + q(f.Fingerprint),
	} {
		paths = append(paths, "/sequences?limit=200&"+filter)
	}
	return append(paths, "/sequences/"+f.Handler+"/"+url.PathEscape(f.Key), "/handlers", "/acts?limit=200",
		"/replays?limit=200"), nil
}

const (
	listRounds = 5 // of each list, for each repetition
	mostPlans  = 5
)

// lists asks for every list several times, after one time that is not counted. The figure is the median of the list
// whose median is the longest.
func (d *desk) lists(repeats int) (v value, err error) {
	paths, err := d.paths()
	if err != nil {
		return v, err
	}
	var worst time.Duration
	slowest := ""
	for _, path := range paths {
		var h Histogram
		for i := range 1 + listRounds*repeats {
			began := time.Now()
			if err := d.ask(http.MethodGet, path, "", nil); err != nil {
				return v, err
			}
			if took := time.Since(began); i > 0 {
				h.Add(took)
				worst = max(worst, took)
			}
		}
		if p50 := ms(h.Quantile(0.5)); p50 > v.figure {
			v.figure, slowest = p50, path
		}
	}
	v.note = fmt.Sprintf("%s, of %d lists; the longest of all answers took %.1f ms", slowest, len(paths), ms(worst))
	return v, nil
}

const planBody = `{"reason":"measured","filter":{"handler":"history"},"concurrency":16}`

// planned is what is needed of a replay.
type planned struct {
	ID      string `json:"id"`
	Status  string `json:"status"`
	Count   int    `json:"count"`
	Keys    int    `json:"keys"`
	Handled int    `json:"handled"`
	Failed  int    `json:"failed"`
}

// plans times the planning of a replay of all: from the request until the act was in the log, executed and counted.
func (d *desk) plans(repeats int) (value, error) {
	var h Histogram
	count := 0
	for range mostPlans * repeats {
		var p planned
		began := time.Now()
		if err := d.ask(http.MethodPost, "/replays", planBody, &p); err != nil {
			return value{}, err
		}
		h.Add(time.Since(began))
		count = p.Count
	}
	note := fmt.Sprintf("of %s messages; the act is in the log before", grouped(int64(count)))
	return value{ms(h.Quantile(0.5)), note}, nil
}

// replayPace is how often a replay is looked at: each look counts what it has handled.
const replayPace = 250 * time.Millisecond

// replay plans a replay of all, starts it, and follows it to its end.
func (d *desk) replay(ctx context.Context) (p planned, took time.Duration, err error) {
	if err := d.ask(http.MethodPost, "/replays", planBody, &p); err != nil {
		return p, 0, err
	}
	began := time.Now()
	if err := d.ask(http.MethodPost, "/replays/"+p.ID+"/start", `{"reason":"measured"}`, nil); err != nil {
		return p, 0, err
	}
	tick := time.NewTicker(replayPace)
	defer tick.Stop()
	for {
		if err := d.ask(http.MethodGet, "/replays/"+p.ID, "", &p); err != nil {
			return p, 0, err
		}
		if took := time.Since(began); p.Status != "running" && p.Status != "planned" || took > rebuiltWithin {
			return p, took, nil
		}
		select {
		case <-ctx.Done():
			return p, 0, ctx.Err()
		case <-tick.C:
		}
	}
}
