package ports

import (
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// parameters are those of the path, the query and the headers, as the OpenAPI document has them.
func (r *route) parameters() []*huma.Param {
	var out []*huma.Param
	for step := range strings.SplitSeq(r.path, "/") {
		name := strings.Trim(step, "{}")
		if p, ok := steps[name]; ok && name != step {
			out = append(out, &huma.Param{
				Name: name, In: "path", Required: true, Description: p.what, Schema: p.schema(),
			})
		}
	}
	if r.hasID() {
		out = append(out, &huma.Param{
			Name: "id", In: "path", Required: true, Description: "An opaque id.",
			Schema: &huma.Schema{Type: huma.TypeString, Examples: []any{r.idExample()}},
		})
	}
	for _, name := range r.query {
		q := queries[name]
		out = append(out, &huma.Param{Name: name, In: "query", Description: q.what, Schema: q.schema()})
	}
	if r.dry {
		out = append(out, &huma.Param{
			Name: "dry_run", In: "query", Schema: &huma.Schema{Type: huma.TypeBoolean},
			Description: "true: say what would happen, and store nothing. Needs no Idempotency-Key.",
		})
	}
	if r.body != nil {
		out = append(out, r.commandHeaders()...)
	}
	if r.tagged {
		out = append(out, headerParam("If-None-Match", "304 when the version is one of these."))
	}
	if r.tagged || r.matched {
		out = append(out, headerParam("If-Match", "412 unless the version is one of these."))
	}
	return append(out, headerParam("X-Correlation-Id", "1 to 64 of A-Z a-z 0-9 . _ -; others are replaced."))
}

func (r *route) commandHeaders() []*huma.Param {
	least, most := 1, maxKey
	key := headerParam("Idempotency-Key",
		"Names the command for ever: 1 to 255 visible characters. The same key and request get the same answer.")
	key.Required = r.needsKey() && !r.dry
	key.Schema = &huma.Schema{Type: huma.TypeString, MinLength: &least, MaxLength: &most, Pattern: "^[!-~]+$"}
	return []*huma.Param{key, headerParam("Prefer", "ack=published: answer only after the broker's acknowledgement.")}
}

func headerParam(name, what string) *huma.Param {
	return &huma.Param{Name: name, In: "header", Description: what, Schema: &huma.Schema{Type: huma.TypeString}}
}

func (r *route) hasID() bool { return strings.Contains(r.path, "{id}") }

func (r *route) idExample() string {
	for step, prefix := range map[string]string{
		"/accounts/": "acc_", "/customers/": "cus_", "/transactions/": "txn_", "/holds/": "hold_",
		"/failures/": "fail_", "/replays/": "rpl_", "/acts/": "act_",
	} {
		if strings.Contains(r.path, step) {
			return prefix + "06h09h3q657ss5pr9u4kq9irho"
		}
	}
	return ""
}

// queryDoc is what the document says of one query parameter.
type queryDoc struct {
	what   string
	schema func() *huma.Schema
}

var queries = map[string]queryDoc{
	"limit":           {"How many at most; default: 50.", whole(1, maxLimit)},
	"order":           {"desc (the default): the newest first.", oneOf("asc", "desc")},
	"cursor":          {"The next_cursor of the page before.", word},
	"from":            {"Not before this time.", instant},
	"to":              {"Before this time.", instant},
	"at":              {"As it was at this time, changes at that very time included.", instant},
	"at_version":      {"As it was at this version.", whole(1, maxVersion)},
	"min_version":     {"Wait for this version, up to 2 s.", whole(1, maxVersion)},
	"after_version":   {"Only what is newer than this version.", whole(0, maxVersion)},
	"epoch":           {"The stream.epoch of the account as it is known; 400 when it is another one by now.", word},
	"after_seq":       {"Only what is behind this place of the log.", whole(0, maxVersion)},
	"account_id":      {"Of this account.", word},
	"customer_id":     {"Of this customer.", word},
	"hold_id":         {"Captures of this hold.", word},
	"external_id":     {"With this external id.", word},
	"email":           {"With this e-mail address.", word},
	"phone":           {"With this telephone number.", word},
	"currency":        {"In this currency.", word},
	"reference":       {"With this reference.", word},
	"correlation_id":  {"Made by a command with this correlation id.", word},
	"idempotency_key": {"Made by a command with this key.", word},
	"kind":            {"Of this kind.", oneOf("deposit", "withdrawal", "transfer", "capture", "reversal")},
	"status":          {"In this state.", word},
	"handler":         {"Of this handler.", word},
	"key":             {"Of this key.", word},
	"class":           {"Failed with an error of this class.", oneOf("unknown", "transient", "unavailable", "poison")},
	"fingerprint":     {"Failed for this reason.", word},
	"target":          {"About this failure, replay, group or version of a policy.", word},
	"waiting":         {"true: only what is still to be handled.", oneOf("true", "false")},
	"paused":          {"true: only what is paused.", oneOf("true", "false")},
	"diverged": {"true: the keys whose view lacks what was discarded, also those that flow; with handler only.",
		oneOf("true", "false")},
}

// steps are parts of paths that are no ids.
var steps = map[string]queryDoc{
	"handler":        {"A handler's name.", word},
	"name":           {"A handler's name.", word},
	"key":            {"The key of a sequence, such as the id of an account.", segment},
	"fingerprint":    {"Of a group of failures.", word},
	"correlation_id": {"As X-Correlation-Id was answered.", word},
}

func segment() *huma.Schema {
	least := 1
	return &huma.Schema{Type: huma.TypeString, MinLength: &least}
}

func word() *huma.Schema {
	least, most := 1, maxParameter
	return &huma.Schema{Type: huma.TypeString, MinLength: &least, MaxLength: &most}
}

func instant() *huma.Schema { return &huma.Schema{Type: huma.TypeString, Format: "date-time"} }

func whole(low, high float64) func() *huma.Schema {
	return func() *huma.Schema { return &huma.Schema{Type: huma.TypeInteger, Minimum: &low, Maximum: &high} }
}

func oneOf(options ...any) func() *huma.Schema {
	return func() *huma.Schema { return &huma.Schema{Type: huma.TypeString, Enum: options} }
}
