package ports

import (
	"math"
	"strconv"
	"strings"

	"bankforge/app/bank"
)

// etag is a version as an entity tag.
func etag(v bank.Version) string { return `"` + strconv.FormatUint(uint64(v), 10) + `"` }

// noVersion is what no resource has: a condition that nothing meets.
const noVersion bank.Version = math.MaxUint64

// tags is what a conditional header lists.
type tags struct {
	any      bool           // *
	versions []bank.Version // of strong and, for If-None-Match, weak tags; tags that are not ours are left out
}

// parseTags reads the value of If-Match or If-None-Match (RFC 9110). Weak tags only count where weak says so.
func parseTags(value string, weak bool) (t tags, ok bool) {
	rest := strings.TrimSpace(value)
	if rest == "*" {
		return tags{any: true}, true
	}
	for {
		rest = strings.TrimLeft(rest, " \t,")
		if rest == "" {
			return t, true
		}
		isWeak := strings.HasPrefix(rest, "W/")
		rest = strings.TrimPrefix(rest, "W/")
		if rest == "" || rest[0] != '"' {
			return t, false
		}
		end := strings.IndexByte(rest[1:], '"')
		if end < 0 {
			return t, false
		}
		opaque := rest[1 : 1+end]
		rest = strings.TrimLeft(rest[end+2:], " \t")
		if rest != "" && rest[0] != ',' {
			return t, false
		}
		n, err := strconv.ParseUint(opaque, 10, 64)
		if err == nil && n > 0 && strconv.FormatUint(n, 10) == opaque && (weak || !isWeak) {
			t.versions = append(t.versions, bank.Version(n))
		}
	}
}

func (t *tags) match(v bank.Version) bool {
	if t.any {
		return true
	}
	for _, have := range t.versions {
		if have == v {
			return true
		}
	}
	return false
}

// conditional reads one of the two headers; given is false when it is not there.
func (q *request) conditional(header string, weak bool) (t tags, given bool, err error) {
	values := q.gin.Request.Header[header]
	if len(values) == 0 {
		return t, false, nil
	}
	t, ok := parseTags(strings.Join(values, ","), weak)
	if !ok {
		return t, true, badParameter(header, "format", `entity tags such as "7" were expected, or *`)
	}
	return t, true, nil
}

// compareTags obeys both headers on a GET: unchanged means that the caller has this version already.
func (q *request) compareTags(v bank.Version) (unchanged bool, err error) {
	want, given, err := q.conditional("If-Match", false)
	if err != nil {
		return false, err
	}
	if given && !want.match(v) {
		return false, bank.Refuse(bank.PreconditionFailed, "", "The version is "+strconv.FormatUint(uint64(v), 10)+".")
	}
	have, given, err := q.conditional("If-None-Match", true)
	return given && err == nil && have.match(v), err
}

// ifVersion is the version that If-Match asks for, 0 when it does not. The ledger compares it, after it has looked the
// key up. Of several it is the one that the account has.
func (q *request) ifVersion(id bank.AccountID) (bank.Version, error) {
	want, given, err := q.conditional("If-Match", false)
	switch {
	case err != nil, !given, want.any:
		return 0, err
	case len(want.versions) == 0:
		return noVersion, nil
	case len(want.versions) == 1:
		return want.versions[0], nil
	}
	if a, _, err := q.App.Account(q.gin.Request.Context(), q.principal, id, 0); err == nil && want.match(a.Version) {
		return a.Version, nil
	}
	return want.versions[0], nil
}

// pathID reads the id in the path. What cannot be an id names nothing.
func pathID[T any](q *request, parse func(string) (T, error)) (T, error) {
	id, err := parse(q.gin.Param("id"))
	if err != nil {
		return id, bank.Refuse(bank.NotFound, "", "There is no such thing.")
	}
	return id, nil
}

