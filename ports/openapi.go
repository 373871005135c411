package ports

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/ports/body"
)

// doc is what the OpenAPI document says of a route beside what its action knows.
type doc struct {
	module  string // which must run; "": none
	sum     string // one line
	reply   reply
	query   []string    // parameters
	codes   []bank.Code // of business; those that every route like it has are added
	tagged  bool        // shows one resource: ETag, If-None-Match, If-Match
	matched bool        // acts on one resource: If-Match
	dry     bool        // takes dry_run
	bulk    bool        // takes a larger body
	media   string      // what it answers with, where that is not JSON
	csv     bool        // answers with CSV, too
	live    bool        // is there only with live updates
	ops     bool        // is there only with operations
	demo    bool        // is there only where failures are injected
	hidden  bool        // is a document itself
}

// reply is what a route answers when all goes well.
type reply struct {
	of       reflect.Type
	statuses []int
}

func is[T any](statuses ...int) reply { return reply{reflect.TypeFor[T](), statuses} }

func codes(all ...bank.Code) []bank.Code { return all }

// listing is the parameters of a list with these filters.
func listing(filters ...string) []string {
	return append(filters, "limit", "order", "cursor", "from", "to")
}

const unknownCurrency = body.UnknownCurrency

// The refusals of business, by what a command does.
var (
	openCodes = []bank.Code{
		bank.ExternalIDTaken, app.CodeCustomerNotFound, bank.CurrencyMismatch, bank.AmountOutOfRange, unknownCurrency,
	}
	changeCodes = []bank.Code{
		bank.AccountIsClosed, bank.ExternalIDTaken, bank.CurrencyMismatch, bank.AmountOutOfRange, unknownCurrency,
	}
	moneyCodes = []bank.Code{
		bank.AccountNotFound, bank.CurrencyMismatch, bank.AmountOutOfRange, unknownCurrency,
		bank.AccountIsClosed, bank.AccountIsFrozen, bank.LimitExceeded, bank.VersionMismatch,
	}
	debitCodes    = append(slices.Clip(moneyCodes), bank.InsufficientFunds)
	transferCodes = append(slices.Clip(debitCodes), bank.SameAccount)
	bulkCodes     = []bank.Code{
		bank.AccountNotFound, bank.CurrencyMismatch, bank.AmountOutOfRange, unknownCurrency, bank.InsufficientFunds,
		bank.LimitExceeded, bank.SameAccount,
	}
	captureCodes  = append(slices.Clip(transferCodes), bank.HoldNotActive, bank.AmountExceedsRemaining)
	reverseCodes  = append(slices.Clip(debitCodes), bank.NotReversible, bank.AmountExceedsRemaining)
	headCodes     = []bank.Code{codeNotHead, codeKeyPaused}
	sequenceCodes = []bank.Code{codeWrongState, codeKeyPaused, codeNotPaused, codeNotRebuildable}
	decideCodes   = []bank.Code{bank.NotPending, bank.AccountIsClosed, bank.AccountIsFrozen, bank.AmountOutOfRange}
)

// everyCode are all codes that the route can answer with.
func (r *route) everyCode() []bank.Code {
	out := []bank.Code{app.CodeInvalidRequest}
	if !r.may.open {
		out = append(out, codeUnauthenticated, app.CodeForbidden, codeRateLimited)
	}
	if strings.Contains(r.path, "{") {
		out = append(out, bank.NotFound)
	}
	if slices.Contains(r.query, "cursor") {
		out = append(out, app.CodeInvalidCursor)
	}
	if r.tagged || r.matched {
		out = append(out, bank.PreconditionFailed)
	}
	if r.csv {
		out = append(out, codeNotAcceptable)
	}
	if r.body != nil {
		out = append(out, codeKeyMissing, codeTooLarge, codeMediaType, app.CodeKeyReused, app.CodeOverloaded,
			app.CodeOutcomeUnknown)
	}
	if !r.may.open {
		out = append(out, app.CodeUnavailable, app.CodeViewBehind)
	}
	return append(append(out, r.codes...), codeInternal)
}

// OpenAPI is the OpenAPI 3.1 document of all routes, as JSON.
func OpenAPI(version string) ([]byte, error) {
	text, err := json.Marshal(describe(version))
	if err != nil {
		return nil, fmt.Errorf("OpenAPI document: %w", err)
	}
	return text, nil
}

// OpenAPIYAML is the same document as it is committed in api/openapi.yaml.
func OpenAPIYAML(version string) ([]byte, error) {
	text, err := describe(version).YAML()
	if err != nil {
		return nil, fmt.Errorf("OpenAPI document: %w", err)
	}
	return text, nil
}

// describe forms the document of the routes table. huma makes the schemas, of the very types that are read and written.
func describe(version string) *huma.OpenAPI {
	if version == "" {
		version = "1"
	}
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	o := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "BankForge", Version: version,
			Description: "The core of a bank. Money is a whole number of minor units, as a string. Errors are RFC 9457.",
			License:     &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
		},
		Components: &huma.Components{
			Schemas: registry,
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"bearer": {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "bankforge token prints one."},
			},
		},
	}
	for i := range routes {
		if r := &routes[i]; !r.hidden {
			o.AddOperation(r.operation(registry))
		}
	}
	return o
}

func (r *route) operation(registry huma.Registry) *huma.Operation {
	op := &huma.Operation{
		Method: r.method, Path: r.path, OperationID: r.operationID(), Summary: r.sum, Description: r.roles(),
		Tags: []string{r.tag()}, Responses: map[string]*huma.Response{}, Parameters: r.parameters(),
	}
	if !r.may.open {
		op.Security = []map[string][]string{{"bearer": {}}}
	}
	if r.body != nil {
		op.RequestBody = &huma.RequestBody{
			Required: r.body.NumField() > 0,
			Content:  map[string]*huma.MediaType{"application/json": {Schema: registry.Schema(r.body, true, "")}},
		}
	}
	for _, status := range r.reply.statuses {
		op.Responses[strconv.Itoa(status)] = r.success(status, registry)
	}
	if r.dry {
		op.Responses["200"] = r.success(http.StatusOK, registry)
	}
	if r.tagged {
		op.Responses["304"] = &huma.Response{Description: "The caller has this version already.", Headers: headers()}
	}
	r.refusals(op, registry)
	return op
}

// operationID is the method and the steps of the path that are words: "post-transfers-bulk".
func (r *route) operationID() string {
	words := []string{strings.ToLower(r.method)}
	for step := range strings.SplitSeq(strings.Trim(r.path, "/"), "/") {
		switch {
		case step == "v1":
		case step[0] == '{':
			words = append(words, "one")
		default:
			words = append(words, step)
		}
	}
	return strings.Join(words, "-")
}

func (r *route) tag() string {
	if r.ops {
		return "operations"
	}
	step, _, _ := strings.Cut(strings.TrimPrefix(r.path, "/v1/"), "/")
	if step == "" {
		return "system"
	}
	return step
}

func (r *route) roles() string {
	if r.may.open {
		return "Needs no token."
	}
	names := make([]string, len(r.may.roles))
	for i, role := range r.may.roles {
		names[i] = string(role)
	}
	return "Roles: " + strings.Join(names, ", ") + "."
}

func (r *route) success(status int, registry huma.Registry) *huma.Response {
	out := &huma.Response{Description: http.StatusText(status), Headers: headers()}
	if status == http.StatusSwitchingProtocols {
		return out
	}
	schema := registry.Schema(r.reply.of, true, "")
	switch {
	case r.media != "":
		if r.media == ndjson {
			out.Description = "One JSON text a line, each as EventLine describes."
		}
		out.Content = map[string]*huma.MediaType{r.media: {Schema: &huma.Schema{Type: huma.TypeString}}}
	case r.csv:
		out.Content = map[string]*huma.MediaType{
			"application/json": {Schema: schema}, "text/csv": {Schema: &huma.Schema{Type: huma.TypeString}},
		}
	default:
		out.Content = map[string]*huma.MediaType{"application/json": {Schema: schema}}
	}
	made := status == http.StatusCreated || status == http.StatusAccepted
	if r.body != nil {
		if r.dry && !made && !slices.Contains(r.reply.statuses, status) {
			out.Description = "What would happen (dry_run)."
		}
		out.Headers["Server-Timing"] = header("Where the time went, in ms: queue, decide, commit, publish.")
		out.Headers["Idempotency-Replayed"] = header("true: this is the answer that the key got the first time.")
		out.Headers["Preference-Applied"] = header("ack=published, when the broker has acknowledged.")
	} else if r.method == http.MethodGet && !r.may.open && !r.live {
		out.Headers["Bankforge-Stale"] = header("true: newer things have happened than are shown.")
	}
	if made && r.body != nil {
		out.Headers["Location"] = header("The path of what was made.")
	}
	if made && r.body != nil || r.tagged || r.matched {
		out.Headers["ETag"] = header("The version.")
	}
	return out
}

// refusals adds a response for each status that problems have, with their codes.
func (r *route) refusals(op *huma.Operation, registry huma.Registry) {
	problem := registry.Schema(reflect.TypeFor[Problem](), true, "")
	byStatus := map[int][]string{}
	for _, code := range r.everyCode() {
		status := meanings[code].status
		name := string(publicCode(code))
		if r.bulk && status == http.StatusConflict {
			status = http.StatusUnprocessableEntity
		}
		if !slices.Contains(byStatus[status], name) {
			byStatus[status] = append(byStatus[status], name)
		}
	}
	for status, names := range byStatus {
		key := strconv.Itoa(status)
		if op.Responses[key] != nil {
			continue
		}
		out := &huma.Response{
			Description: "Codes: " + strings.Join(names, ", ") + ".", Headers: headers(),
			Content: map[string]*huma.MediaType{"application/problem+json": {Schema: problem}},
		}
		switch status {
		case http.StatusUnauthorized:
			out.Headers["WWW-Authenticate"] = header("Bearer.")
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			out.Headers["Retry-After"] = header("Seconds to wait.")
		}
		op.Responses[key] = out
	}
}

// headers are those of every answer.
func headers() map[string]*huma.Header {
	h := header("The caller's own, or a new one. It is on everything that follows.")
	h.Required = true
	return map[string]*huma.Header{"X-Correlation-Id": h}
}

func header(what string) *huma.Header {
	return &huma.Header{Description: what, Schema: &huma.Schema{Type: huma.TypeString}}
}
