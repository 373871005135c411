package ports

import (
	"net/http"
	"reflect"
	"slices"
	"strings"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/ports/operations"
	"bankforge/ports/render"
)

// route is one door: what is asked, who may ask, what answers, and what the OpenAPI document says of it.
type route struct {
	method string
	path   string
	may    access
	action
	doc
}

// action is what answers a request.
type action struct {
	handle func(*request) (response, error)
	body   reflect.Type // of the request's body; nil: there is none
	here   bool         // a command that needs no ledger: any process does it
}

// reads makes an action of a handler that takes no body.
func reads(handle func(*request) (response, error)) action { return action{handle: handle} }

// anywhere makes an action of a command that needs no ledger.
func anywhere(a action) action {
	a.here = true
	return a
}

// access is who may ask: anybody, or those with one of the roles.
type access struct {
	open  bool
	roles []app.Role
}

func may(roles ...app.Role) access { return access{roles: roles} }

var everybody = access{open: true}

// Names that keep the table narrow.
const (
	GET, POST, PUT, PATCH = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch

	customer = app.RoleCustomer
	teller   = app.RoleTeller
	service  = app.RoleService
	fraud    = app.RoleFraud
	operator = app.RoleOperator
	auditor  = app.RoleAuditor
	admin    = app.RoleAdmin
)

// Modules that answer; a process that does not run one does not have its routes.
const (
	accountCommand     = "account-command"
	transactionCommand = "transaction-command"
	accountQuery       = "account-query"
	transactionQuery   = "transaction-query"
	eventStore         = "event-store"
	push               = "push"
	monitoring         = "monitoring"
)

var anyRole = may(customer, teller, service, fraud, operator, auditor, admin)

// routes are all doors, on one page.
var routes = []route{
	{POST, "/v1/customers", may(teller, service), anywhere(command(createCustomer)), doc{
		module: accountCommand, sum: "Create a customer", reply: is[Customer](201), codes: codes(bank.ExternalIDTaken)}},
	{GET, "/v1/customers", may(customer, teller, service, auditor), reads(listCustomers), doc{module: accountQuery,
		sum: "List customers", reply: is[List[Customer]](200), query: listing("external_id", "email", "phone")}},
	{GET, "/v1/customers/{id}", may(customer, teller, service, auditor), reads(getCustomer), doc{module: accountQuery,
		sum: "Show a customer", reply: is[Customer](200), tagged: true}},

	{POST, "/v1/accounts", may(teller, service), command(openAccount), doc{module: accountCommand,
		sum: "Open an account", reply: is[render.Account](201), codes: openCodes}},
	{GET, "/v1/accounts", readers, reads(listAccounts), doc{module: accountQuery, sum: "List accounts",
		reply: is[List[render.Account]](200), query: listing("customer_id", "status", "currency", "external_id")}},
	{GET, "/v1/accounts/{id}", readers, reads(getAccount), doc{module: accountQuery,
		sum: "Show an account, now or as it was", reply: is[render.Account](200), tagged: true,
		query: []string{"at", "at_version", "min_version"}}},
	{PATCH, "/v1/accounts/{id}", may(teller, service), command(changeAccount), doc{module: accountCommand, matched: true,
		sum: "Change an account", reply: is[render.Account](200), codes: changeCodes}},
	{POST, "/v1/accounts/{id}/freeze", may(teller, service, fraud), command(setStatus(bank.Frozen)), doc{
		module: accountCommand, matched: true, sum: "Freeze an account", reply: is[render.Account](200),
		codes: codes(bank.AccountIsClosed)}},
	{POST, "/v1/accounts/{id}/unfreeze", may(teller, service, fraud), command(setStatus(bank.Active)), doc{
		module: accountCommand, matched: true, sum: "Unfreeze an account", reply: is[render.Account](200),
		codes: codes(bank.AccountIsClosed)}},
	{POST, "/v1/accounts/{id}/close", may(teller, service), command(setStatus(bank.Closed)), doc{
		module: accountCommand, matched: true, sum: "Close an account", reply: is[render.Account](200),
		codes: codes(bank.AccountNotEmpty, bank.AccountIsFrozen, bank.AccountIsClosed)}},
	{POST, "/v1/accounts/{id}/review", may(fraud), command(setReview), doc{
		module: accountCommand, matched: true, sum: "Put an account under review", reply: is[render.Account](200),
		codes: codes(bank.AccountIsClosed, bank.CurrencyMismatch, bank.AmountOutOfRange, unknownCurrency)}},
	{GET, "/v1/accounts/{id}/entries", readers, reads(listEntries), doc{module: transactionQuery,
		sum: "List the entries of an account", reply: is[List[EntryRow]](200), query: listing("after_version")}},
	{GET, "/v1/accounts/{id}/events", readers, reads(listAccountEvents), doc{module: transactionQuery,
		sum: "Read what happened to an account", reply: is[render.EventLine](200), media: ndjson,
		query: []string{"after_version", "limit", "from", "to"}}},
	{GET, "/v1/accounts/{id}/statement", readers, reads(getStatement), doc{module: transactionQuery,
		sum: "Make a statement", reply: is[Statement](200), csv: true, query: []string{"from", "to"}}},
	{GET, "/v1/accounts/{id}/live", readers, reads(accountLive), doc{module: push, live: true,
		sum: "Follow an account as server-sent events", reply: is[string](200), media: "text/event-stream",
		query: []string{"epoch"}}},

	{POST, "/v1/deposits", may(teller, service), command(deposit), doc{module: transactionCommand, dry: true,
		sum: "Bring money in", reply: is[render.Transaction](201), codes: moneyCodes}},
	{POST, "/v1/withdrawals", may(teller, service), command(withdraw), doc{module: transactionCommand, dry: true,
		sum: "Take money out", reply: is[render.Transaction](201), codes: debitCodes}},
	{POST, "/v1/transfers", may(customer, teller, service), command(transfer), doc{module: transactionCommand, dry: true,
		sum: "Move money", reply: is[render.Transaction](201, 202), codes: transferCodes}},
	{POST, "/v1/transfers/bulk", may(customer, teller, service), reading(bulk), doc{module: transactionCommand, dry: true,
		sum: "Move money many times at once", reply: is[BulkAnswer](200), codes: bulkCodes, bulk: true}},
	{GET, "/v1/transactions", readers, reads(listTransactions), doc{module: transactionQuery, sum: "List transactions",
		reply: is[List[render.Transaction]](200), query: listing("account_id", "customer_id", "kind", "status",
			"reference", "hold_id", "correlation_id", "idempotency_key")}},
	{GET, "/v1/transactions/{id}", readers, reads(getTransaction), doc{module: transactionQuery,
		sum: "Show a transaction", reply: is[render.Transaction](200), tagged: true}},
	{POST, "/v1/transactions/{id}/reversals", may(teller, service), command(reverse), doc{module: transactionCommand,
		dry: true, sum: "Reverse a transaction, whole or in part", reply: is[render.Transaction](201), codes: reverseCodes}},
	{POST, "/v1/transactions/{id}/approve", may(fraud), command(decidePending(true)), doc{module: transactionCommand,
		sum: "Approve a transfer that waits for review", reply: is[render.Transaction](200), codes: decideCodes}},
	{POST, "/v1/transactions/{id}/reject", may(fraud), command(decidePending(false)), doc{module: transactionCommand,
		sum: "Reject a transfer that waits for review", reply: is[render.Transaction](200), codes: decideCodes}},

	{POST, "/v1/holds", may(customer, teller, service), command(placeHold), doc{module: transactionCommand, dry: true,
		sum: "Keep money back", reply: is[render.Hold](201), codes: debitCodes}},
	{GET, "/v1/holds", readers, reads(listHolds), doc{module: transactionQuery, sum: "List holds",
		reply: is[List[render.Hold]](200), query: listing("account_id", "status")}},
	{GET, "/v1/holds/{id}", readers, reads(getHold), doc{module: transactionQuery,
		sum: "Show a hold", reply: is[render.Hold](200), tagged: true}},
	{POST, "/v1/holds/{id}/captures", may(teller, service), command(capture), doc{module: transactionCommand, dry: true,
		sum: "Move money that is kept back", reply: is[render.Transaction](201), codes: captureCodes}},
	{POST, "/v1/holds/{id}/void", may(customer, teller, service), command(voidHold), doc{module: transactionCommand,
		dry: true, sum: "Release a hold", reply: is[render.Hold](200), codes: codes(bank.HoldNotActive)}},

	{GET, "/v1/events", may(service, auditor), reads(listEvents), doc{module: eventStore, sum: "Read the log",
		reply: is[render.EventLine](200), media: ndjson, query: []string{"after_seq", "limit"}}},
	{GET, "/v1/ledger/head", anyRole, reads(getHead), doc{module: eventStore,
		sum: "Where the log ends", reply: is[Head](200)}},
	{GET, "/v1/currencies", anyRole, reads(listCurrencies), doc{sum: "List currencies", reply: is[Currencies](200)}},

	{GET, "/v1/live", everybody, reads(liveSocket), doc{module: push, live: true,
		sum: "Open a WebSocket for live updates", reply: is[string](101),
		codes: codes(app.CodeForbidden, app.CodeOverloaded)}},
	{POST, "/v1/live/tickets", anyRole, reads(liveTicket), doc{module: push, live: true,
		sum: "Make a ticket that opens one live connection", reply: is[LiveTicket](201)}},

	{GET, "/ops/v1/failures", watchers, reads(listFailures), doc{module: monitoring, ops: true,
		sum: "List what is, or was, in the parking lot", reply: is[List[operations.Failure]](200), query: listing("handler",
			"key", "class", "fingerprint", "account_id", "correlation_id", "status", "waiting")}},
	{GET, "/ops/v1/failures/{id}", watchers, reads(getFailure), doc{module: monitoring, ops: true,
		sum: "Show a failure with its message and every attempt", reply: is[operations.Detail](200)}},
	{POST, "/ops/v1/failures/{id}/retry", operators, act(onHead(bank.FailureRetry)), doc{module: monitoring, ops: true,
		sum: "Try the head of a sequence again", reply: is[operations.Acted](200), codes: headCodes}},
	{POST, "/ops/v1/failures/{id}/discard", operators, act(onHead(bank.FailureDiscard)), doc{module: monitoring, ops: true,
		sum: "Give the head of a sequence up", reply: is[operations.Acted](200), codes: headCodes}},
	{POST, "/ops/v1/failures/{id}/schedule", operators, act(scheduled), doc{module: monitoring, ops: true,
		sum: "Try the head of a sequence again at a time", reply: is[operations.Acted](200), codes: headCodes}},
	{GET, "/ops/v1/failure-groups", watchers, reads(listGroups), doc{module: monitoring, ops: true,
		sum: "List failures by their reasons", reply: is[List[operations.Group]](200),
		query: listing("handler", "class", "fingerprint")}},
	{POST, "/ops/v1/failure-groups/{fingerprint}/retry", operators, act(onGroup), doc{module: monitoring, ops: true,
		sum: "Try all sequences again whose heads failed for a reason", reply: is[operations.Acted](200)}},
	{GET, "/ops/v1/sequences", watchers, reads(listSequences), doc{module: monitoring, ops: true,
		sum: "List the keys of which something waits", reply: is[List[operations.Sequence]](200),
		query: listing("handler", "class", "fingerprint", "paused", "diverged")}},
	{GET, "/ops/v1/sequences/{handler}/{key}", watchers, reads(getSequence), doc{module: monitoring, ops: true,
		sum: "Show what waits of a key, in order", reply: is[operations.SequenceInOrder](200),
		query: []string{"limit", "cursor"}}},
	{POST, "/ops/v1/sequences/{handler}/{key}/retry", operators, act(onSequence(bank.SequenceRetry)), doc{
		module: monitoring, ops: true, sum: "Try all that waits of a key again, in order",
		reply: is[operations.Acted](200), codes: sequenceCodes}},
	{POST, "/ops/v1/sequences/{handler}/{key}/rebuild", operators, act(onSequence(bank.SequenceRebuild)), doc{
		module: monitoring, ops: true, sum: "Build the view of a key anew from the log",
		reply: is[operations.Acted](200), codes: sequenceCodes}},
	{POST, "/ops/v1/sequences/{handler}/{key}/pause", operators, act(onSequence(bank.SequencePause)), doc{
		module: monitoring, ops: true, sum: "Let everything of a key wait",
		reply: is[operations.Acted](200), codes: sequenceCodes}},
	{POST, "/ops/v1/sequences/{handler}/{key}/resume", operators, act(onSequence(bank.SequenceResume)), doc{
		module: monitoring, ops: true, sum: "Let a key go on that was paused",
		reply: is[operations.Acted](200), codes: sequenceCodes}},
	{GET, "/ops/v1/replays", watchers, reads(listReplays), doc{module: monitoring, ops: true,
		sum: "List replays", reply: is[List[operations.Replay]](200), query: listing("status")}},
	{POST, "/ops/v1/replays", operators, planned, doc{module: monitoring, ops: true,
		sum: "Plan a replay: how much it would try", reply: is[operations.Planned](201, 202)}},
	{GET, "/ops/v1/replays/{id}", watchers, reads(getReplay), doc{module: monitoring, ops: true,
		sum: "Show a replay as it goes", reply: is[operations.Replay](200), tagged: true}},
	{POST, "/ops/v1/replays/{id}/start", operators, act(onReplay(bank.ReplayStart)), doc{module: monitoring, ops: true,
		sum: "Start a replay that is planned", reply: is[operations.Acted](200), codes: codes(codeWrongState)}},
	{POST, "/ops/v1/replays/{id}/cancel", operators, act(onReplay(bank.ReplayCancel)), doc{module: monitoring, ops: true,
		sum: "Cancel a replay", reply: is[operations.Acted](200), codes: codes(codeWrongState)}},
	{GET, "/ops/v1/handlers", watchers, reads(listHandlers), doc{module: monitoring, ops: true,
		sum: "List handlers: where they are, and how", reply: is[operations.Handlers](200)}},
	{POST, "/ops/v1/handlers/{name}/pause", operators, act(onHandler(bank.HandlerPause)), doc{module: monitoring,
		ops: true, sum: "Pause a handler on every process", reply: is[operations.Acted](200),
		codes: codes(codeWrongState)}},
	{POST, "/ops/v1/handlers/{name}/resume", operators, act(onHandler(bank.HandlerResume)), doc{module: monitoring,
		ops: true, sum: "Let a handler go on", reply: is[operations.Acted](200)}},
	{GET, "/ops/v1/handlers/{name}/policy", watchers, reads(getPolicy), doc{module: monitoring, ops: true, tagged: true,
		sum: "Show how a handler treats failures", reply: is[operations.Policy](200)}},
	{PUT, "/ops/v1/handlers/{name}/policy", operators, treated, doc{module: monitoring, ops: true, matched: true,
		sum: "Change how a handler treats failures", reply: is[operations.Acted](200)}},
	{GET, "/ops/v1/trace/{correlation_id}", watchers, reads(getTrace), doc{module: monitoring, ops: true,
		sum: "Follow a command to all that came of it", reply: is[operations.Trace](200)}},
	{GET, "/ops/v1/acts", watchers, reads(listActs), doc{module: monitoring, ops: true,
		sum: "List what operators did", reply: is[List[operations.Acted]](200),
		query: listing("handler", "key", "target", "status")}},
	{GET, "/ops/v1/acts/{id}", watchers, reads(getAct), doc{module: monitoring, ops: true,
		sum: "Show what became of an act", reply: is[operations.Acted](200)}},
	{GET, "/ops/v1/demo-failures", watchers, reads(getDemo), doc{module: monitoring, ops: true, demo: true,
		sum: "Whether failures are injected", reply: is[operations.DemoFailures](200), codes: codes(bank.NotFound)}},
	{POST, "/ops/v1/demo-failures", operators, act(demonstrated), doc{module: monitoring, ops: true, demo: true,
		sum: "Inject failures, or no more", reply: is[operations.Acted](200), codes: codes(bank.NotFound)}},

	{GET, "/healthz", everybody, reads(healthz), doc{sum: "Whether the process is alive", reply: is[Alive](200)}},
	{GET, "/readyz", everybody, reads(readyz), doc{sum: "Whether each module is ready", reply: is[Ready](200, 503)}},
	{GET, "/openapi.json", everybody, reads(serveText("application/json", (*doors).openAPIText)), doc{hidden: true}},
	{GET, "/asyncapi.yaml", everybody, reads(serveText("application/yaml", (*doors).asyncAPIText)), doc{hidden: true}},
	{GET, "/docs", everybody, reads(docs), doc{hidden: true}},
	{GET, "/problems/{code}", everybody, reads(problemPage), doc{hidden: true}},
}

// What belongs to operators.
var (
	operators = may(operator, admin)
	watchers  = may(operator, admin, auditor)
)

// opsPrefix is where their paths begin.
const opsPrefix = "/ops/v1/"

// readers may read accounts and what happened on them: customers their own.
var readers = may(customer, teller, service, fraud, auditor)

// ginPath is the path as gin writes it.
func (r *route) ginPath() string {
	return strings.ReplaceAll(strings.ReplaceAll(r.path, "{", ":"), "}", "")
}

// onLedger reports whether the owner of the ledger must do it.
func (r *route) onLedger() bool { return r.body != nil && !r.here }

// needsKey reports whether a command must come with an Idempotency-Key.
func (r *route) needsKey() bool { return r.method == POST && r.body != nil && !r.ops }

// takes are the query parameters that the route knows.
func (r *route) takes(name string) bool {
	return slices.Contains(r.query, name) || r.dry && name == "dry_run"
}
