package ports

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/app/ops"
	"bankforge/ports/body"
)

// Codes that only this edge gives.
const (
	codeKeyMissing       bank.Code = "idempotency_key_missing"
	codeUnauthenticated  bank.Code = "unauthenticated"
	codeMethodNotAllowed bank.Code = "method_not_allowed"
	codeNotAcceptable    bank.Code = "not_acceptable"
	codeTooLarge         bank.Code = "body_too_large"
	codeMediaType        bank.Code = "unsupported_media_type"
	codeRateLimited      bank.Code = "rate_limited"
	codeInternal         bank.Code = "internal_error"

	codeNotHead        bank.Code = ops.RefusedNotHead
	codeKeyPaused      bank.Code = ops.RefusedPaused
	codeNotPaused      bank.Code = ops.RefusedNotPaused
	codeWrongState     bank.Code = ops.RefusedState
	codeNotRebuildable bank.Code = ops.RefusedNoRebuild
)

// meaning is what a code is over HTTP.
type meaning struct {
	status int
	title  string
	again  bool // the same request with the same key may succeed later
}

// meanings is the one table from codes to statuses.
var meanings = map[bank.Code]meaning{
	app.CodeInvalidRequest: {http.StatusBadRequest, "The request is malformed", false},
	codeKeyMissing:         {http.StatusBadRequest, "A usable Idempotency-Key is missing", false},
	app.CodeInvalidCursor:  {http.StatusBadRequest, "The cursor does not belong to this list", false},
	codeUnauthenticated:    {http.StatusUnauthorized, "A valid token is needed", false},
	app.CodeForbidden:      {http.StatusForbidden, "Your role does not allow this", false},
	bank.NotFound:          {http.StatusNotFound, "There is no such thing", false},
	codeMethodNotAllowed:   {http.StatusMethodNotAllowed, "The method is not allowed here", false},
	codeNotAcceptable:      {http.StatusNotAcceptable, "None of the accepted formats can be given", false},

	bank.AccountIsFrozen: {http.StatusConflict, "The account is frozen", false},
	bank.AccountIsClosed: {http.StatusConflict, "The account is closed", false},
	bank.AccountNotEmpty: {http.StatusConflict, "The account is not empty", false},
	bank.HoldNotActive:   {http.StatusConflict, "The hold is not active", false},
	bank.NotReversible:   {http.StatusConflict, "The transaction cannot be reversed", false},
	bank.NotPending:      {http.StatusConflict, "The transaction does not wait for a decision", false},
	bank.VersionMismatch: {http.StatusConflict, "The version is another one", false},
	bank.ExternalIDTaken: {http.StatusConflict, "The external id is taken", false},

	codeNotHead:        {http.StatusConflict, "Something of its key waits before it, or it does not wait", false},
	codeKeyPaused:      {http.StatusConflict, "The key is paused", false},
	codeNotPaused:      {http.StatusConflict, "There is nothing to resume", false},
	codeWrongState:     {http.StatusConflict, "It is not in a state in which this can be done", false},
	codeNotRebuildable: {http.StatusConflict, "The view of one key cannot be built anew here", false},

	bank.PreconditionFailed: {http.StatusPreconditionFailed, "The version is another one", false},
	codeTooLarge:            {http.StatusRequestEntityTooLarge, "The body is too large", false},
	codeMediaType:           {http.StatusUnsupportedMediaType, "The body is not plain application/json", false},

	bank.InsufficientFunds:      {http.StatusUnprocessableEntity, "The funds do not suffice", false},
	bank.CurrencyMismatch:       {http.StatusUnprocessableEntity, "The currencies differ", false},
	bank.SameAccount:            {http.StatusUnprocessableEntity, "Both accounts are the same", false},
	bank.LimitExceeded:          {http.StatusUnprocessableEntity, "A limit is exceeded", false},
	bank.AmountExceedsRemaining: {http.StatusUnprocessableEntity, "The amount exceeds what remains", false},
	bank.AmountOutOfRange:       {http.StatusUnprocessableEntity, "The amount is out of range", false},
	bank.AccountNotFound:        {http.StatusUnprocessableEntity, "There is no such account", false},
	app.CodeCustomerNotFound:    {http.StatusUnprocessableEntity, "There is no such customer", false},
	body.UnknownCurrency:        {http.StatusUnprocessableEntity, "There is no such currency", false},
	app.CodeKeyReused:           {http.StatusUnprocessableEntity, "The Idempotency-Key belongs to another request", false},

	codeRateLimited:        {http.StatusTooManyRequests, "Too many requests", true},
	codeInternal:           {http.StatusInternalServerError, "The server failed", true},
	app.CodeOverloaded:     {http.StatusServiceUnavailable, "The server has too much to do", true},
	app.CodeUnavailable:    {http.StatusServiceUnavailable, "The server cannot do this now", true},
	app.CodeOutcomeUnknown: {http.StatusServiceUnavailable, "It is not known whether it was done", true},
	app.CodeViewBehind:     {http.StatusServiceUnavailable, "The answer is not there yet", true},
}

// publicCode is the code that callers see.
func publicCode(c bank.Code) bank.Code {
	if c == bank.PreconditionFailed {
		return bank.VersionMismatch
	}
	return c
}

// Problem is every error over HTTP (RFC 9457).
type Problem struct {
	Type          string         `json:"type" format:"uri-reference" example:"/problems/insufficient_funds"`
	Title         string         `json:"title" doc:"The same for all problems of one code."`
	Status        int            `json:"status" minimum:"400" maximum:"599" example:"422"`
	Detail        string         `json:"detail" doc:"What is wrong this time."`
	Instance      string         `json:"instance" doc:"The path that was asked for."`
	Code          string         `json:"code" example:"insufficient_funds" doc:"For machines; permanent."`
	CorrelationID string         `json:"correlation_id"`
	Retryable     bool           `json:"retryable" doc:"true: same key again; false: a new key."`
	Errors        []ProblemError `json:"errors" nullable:"false" doc:"Which parts of the request are at fault."`
	EventID       string         `json:"event_id,omitempty" doc:"Of an act that was recorded, and then refused."`
}

// ProblemError is one part of the request that is at fault.
type ProblemError struct {
	Pointer string `json:"pointer" example:"/amount/amount" doc:"RFC 6901 into the body; empty for other parts."`
	Where   string `json:"parameter,omitempty" example:"limit" doc:"The query parameter or header, where it is one."`
	Code    string `json:"code" example:"pattern"`
	Detail  string `json:"detail"`
}

// refusal is an error with more to say than one field, or with another status than its code has.
type refusal struct {
	what   *bank.Error
	parts  []ProblemError
	status int    // 0: that of the code
	event  string // of an act that was recorded all the same; "": there is none
}

// Error is for logs.
func (r *refusal) Error() string { return r.what.Error() }

// Unwrap makes it the error of the bank that it is.
func (r *refusal) Unwrap() error { return r.what }

func refuse(code bank.Code, detail string, parts ...ProblemError) error {
	return &refusal{what: bank.Refuse(code, "", detail), parts: parts}
}

// badParameter refuses a query parameter or a header.
func badParameter(name, reason, detail string) error {
	return refuse(app.CodeInvalidRequest, name+": "+detail, ProblemError{"", name, reason, detail})
}

// problemOf is err as callers see it. What is not a *bank.Error is a fault, and only its existence is told.
func problemOf(err error, instance, correlation string) Problem {
	e := bank.Refuse(codeInternal, "", "The server failed. What it was is in its log, by the correlation id.")
	if known, ok := errors.AsType[*bank.Error](err); ok {
		if _, ok := meanings[known.Code]; ok {
			e = known
		}
	}
	if e.CorrelationID != "" {
		correlation = e.CorrelationID // a replay says what was said the first time
	}
	m := meanings[e.Code]
	code := string(publicCode(e.Code))
	p := Problem{
		Type: "/problems/" + code, Title: m.title, Status: m.status, Detail: e.Detail, Instance: instance,
		Code: code, CorrelationID: correlation, Retryable: m.again, Errors: []ProblemError{},
	}
	var r *refusal
	if errors.As(err, &r) {
		p.EventID = r.event
		if r.status != 0 {
			p.Status = r.status
		}
	}
	switch {
	case r != nil && r.parts != nil:
		p.Errors = r.parts
	case e.Field != "" || e.Item >= 0:
		p.Errors = []ProblemError{{Pointer: pointerTo(e), Code: code, Detail: e.Detail}}
	}
	return p
}

// pointerTo is where in the body the fault is.
func pointerTo(e *bank.Error) string {
	pointer := ""
	if e.Item >= 0 {
		pointer = "/items/" + strconv.Itoa(e.Item)
	}
	if e.Field != "" {
		pointer += "/" + e.Field
	}
	return pointer
}

// retryAfter is how many seconds callers are asked to wait when nothing better is known.
const retryAfter = "1"

// fail answers with a problem, and returns its status.
func fail(c *gin.Context, err error) {
	q := requestOf(c)
	p := problemOf(err, c.Request.URL.Path, q.correlation)
	h := c.Writer.Header()
	switch p.Status {
	case http.StatusUnauthorized:
		challenge := `Bearer realm="bankforge"`
		if c.Request.Header.Get("Authorization") != "" {
			challenge += `, error="invalid_token"`
		}
		h.Set("WWW-Authenticate", challenge)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if h.Get("Retry-After") == "" {
			h.Set("Retry-After", retryAfter)
		}
	}
	q.failed = err
	q.writeJSON(p.Status, problemJSON, p)
	c.Abort()
}
