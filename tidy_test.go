// Package bankforge_test holds the rules of the house, as data, against the whole tree. Each rule says why
// it is there, and tidy_bad_test.go proves for each that it can fail.
package bankforge_test

import "testing"

// rule is something that must hold for the whole tree.
type rule struct {
	name  string
	why   string
	check func(*tree) []finding
}

// rules are all of them. To change a limit or a table below is to change the house: say why in the commit.
var rules = []rule{
	{"functions are short", "a function that fits on a screen can be judged at once", shortFunctions},
	{"files are short", "a file that is too long holds two things", shortFiles},
	{"lines are short", "two windows fit side by side", shortLines},
	{"packages are small", "a folder is read as a whole", smallPackages},
	{"folder names tell the way of a message", "a name that fits anything says nothing", folderNames},
	{"packages have a comment", "it is the first thing that a newcomer reads", packageComments},
	{"exported names have a comment", "what others may use is a promise, and the comment is its text", nameComments},
	{"arrows point inward", "a package can be understood with only what it imports", importArrows},
	{"the domain is pure", "Decide and Evolve give the same result on every machine, for ever", pureDomain},
	{"libraries stay where they belong", "a library can be replaced where one place knows it", librariesAtHome},
	{"no banned import", "each has a better replacement; see the table", bannedImports},
	{"no banned call", "each hides an input or an effect; see the table", bannedCalls},
	{"no init function", "importing a package must do nothing", noInit},
	{"no skipped test", "a test that is skipped shows nothing, and looks as if it did", noSkips},
	{"no package variable changes", "what two tests or two banks share must not change under them", constantVariables},
	{"documents name what exists", "a document that points nowhere is worse than none", namedPathsExist},
	{"the codemap is the tree", "ARCHITECTURE.md is where people look first", codemapIsTree},
	{"nothing of one machine", "the tree must work on every machine", nothingLocal},
	{"nothing is left for later", "what is missing is an issue, not a comment", nothingLeft},
}

// Limits on sizes. Generated code is exempt.
const (
	maxFunctionLines = 70
	maxFileLines     = 400
	maxLineLength    = 120 // characters; a tab is one
	maxPackageFiles  = 20  // tests not counted
)

// arrow says which packages of this module the code of one folder may import. A name that ends in
// "/..." means everything below it. The row with the longest matching folder decides. Tests of a package
// may import everything else that does not import them: they use real adapters.
type arrow struct {
	from string
	to   []string
	why  string
}

var arrows = []arrow{
	{"app/bank", nil, "the domain knows nothing but itself"},
	{"app/codec", []string{"app/bank"}, "the stored form of the domain's events, and nothing else"},
	{"app/fault", nil, "a drill is nothing that the program knows of"},
	{"app", []string{"app/bank", "app/codec", "app/fault"},
		"use cases say what they need as interfaces; whoever gives it, imports them"},
	{"app/ops", []string{"app/bank"}, "what operators see and want: words, whoever stores them and whoever shows them"},
	{"app/succession", []string{"app", "app/bank"}, "who decides is for the write path to know, whatever holds the lease"},
	{"app/apptest", []string{
		"app", "app/bank", "app/codec", "app/ops", "handlers", "router", "router/relay", "router/repair"},
		"contracts are written against interfaces, wherever those are, and never against one adapter"},
	{"app/apptest/rebuilds", []string{"app", "app/bank", "router", "router/rebuild"},
		"how a rebuild is broken, whatever is rebuilt"},
	{"app/apptest/servers", nil, "where real servers are, whatever is tested on them"},
	{"handlers", []string{"app/bank"}, "a reaction sees facts, and answers nobody"},
	{"handlers/...", []string{"app/bank", "handlers"},
		"a reaction says what it needs as an interface, and knows no other reaction"},
	{"router", []string{"app", "app/bank", "app/fault", "app/ops", "handlers", "router/payload"},
		"it moves messages from the log to reactions, whatever stores them"},
	{"router/payload", []string{"app/bank"}, "what messages say, as JSON, whatever carries them"},
	{"router/repair", []string{"app/bank", "app/ops", "handlers", "router"},
		"it tries again what waits for handlers, whatever stores it"},
	{"router/herald", []string{"app/bank", "app/ops", "handlers/push"},
		"it tells live clients what becomes of what failed, wherever that stands and however they listen"},
	{"router/relay", []string{"app", "app/bank", "handlers", "router"},
		"it moves messages from the log to a broker, whichever that is"},
	{"router/mirror", []string{"app/bank", "app/ops", "router", "router/rebuild", "router/relay"},
		"it shows in a broker what is parked, whichever that is, and why, with all that it quotes"},
	{"router/rebuild", []string{"app", "app/bank", "handlers", "router"},
		"it builds views outside from the log, wherever they stand"},
	{"ports", []string{"app", "app/bank", "app/codec", "app/ops", "ports/..."},
		"a door calls use cases; how they are stored is none of its business"},
	{"ports/...", []string{"app", "app/bank", "ports/strictjson"},
		"how requests are read and answers written, without HTTP"},
	{"ports/operations",
		[]string{"app", "app/bank", "app/codec", "app/ops", "ports/body", "ports/render", "ports/strictjson"},
		"as every other, of what operators see and want"},
	{"adapters/lot", []string{"app/bank", "app/ops", "handlers", "router", "router/repair"},
		"SQL that two databases understand: it speaks to neither"},
	{"adapters/...", []string{"app", "app/bank", "handlers", "handlers/...", "router", "router/relay"},
		"one technology each, behind the interfaces of others; never one another"},
	{"adapters/postgres/broker", []string{"app", "app/bank", "handlers", "router"},
		"the log as a broker: it asks the schema of the log, whoever has opened that"},
	{"adapters/archive", nil, "one file that holds others, whatever is in them"},
	{"adapters/sqlite",
		[]string{"adapters/lot", "adapters/sqlite/index", "app", "app/bank", "handlers", "handlers/...", "router",
			"router/rebuild"},
		"as every adapter, and the index that stands beside its log; the parking lot has its SQL from one place"},
	{"adapters/postgres",
		[]string{"adapters/lot", "app", "app/bank", "app/fault", "handlers", "handlers/...", "router", "router/mirror",
			"router/rebuild", "router/relay"},
		"as every adapter, and the fence that a drill takes out; the parking lot has its SQL from one place"},
	{"adapters/failover", []string{"app"}, "where a view is read now: it knows neither the view nor where it stands"},
	{"adapters/redis",
		[]string{"adapters/failover", "app", "app/bank", "app/codec", "handlers", "handlers/projection", "router",
			"router/rebuild"},
		"as every adapter; its accounts are stored as the codec writes them, and while it is away the store is read"},
	{"adapters/mongo",
		[]string{"adapters/failover", "app", "app/bank", "handlers", "handlers/history", "router", "router/rebuild"},
		"as every adapter, and while it is away the store is read"},
	{"adapters/snapshots", []string{"app", "app/bank", "app/fault"}, "what the decider writes and reads, as files"},
	{"adapters/sqlite/index", nil, "files of records: it knows neither SQL nor money"},
	{"api", nil, "documents, embedded"},
	{"api/apitest", []string{"api"}, "tests hold messages against the documents, wherever they find them"},
	{"console", nil, "the page, embedded"},
	{"scripts/ferretdb", nil, "a server for tests, in a module of its own"},
	{"cmd/...", []string{"..."}, "the wiring: the only place that knows everything"},
}

// pureImports are the packages of the standard library that app/bank may use: none of them has a clock that is
// asked (see bannedCallTable), an effect, or a context.
var pureImports = []string{
	"cmp", "container/heap", "errors", "fmt", "iter", "maps", "math", "math/big", "math/bits", "slices", "sort",
	"strconv", "strings", "time", "unicode", "unicode/utf8",
}

// home says where alone a library may be imported, tests aside.
type home struct {
	library string // the import path, or the beginning of it up to a slash
	in      []string
	why     string
}

var homes = []home{
	{"github.com/ThreeDotsLabs/watermill", []string{"router", "adapters", "cmd"},
		"no broker's type reaches a reaction or a use case"},
	{"github.com/gin-gonic/gin", []string{"ports", "cmd"}, "HTTP is a matter of the door"},
	{"github.com/danielgtaylor/huma", []string{"ports", "cmd"}, "HTTP is a matter of the door"},
	{"github.com/centrifugal/centrifuge", []string{"adapters/websocket", "cmd"}, "one adapter speaks the live protocol"},
	{"modernc.org/sqlite", []string{"adapters/sqlite"}, "one adapter speaks to SQLite"},
	{"github.com/jackc/pgx", []string{"adapters/postgres", "cmd/bankforge/bench"},
		"one adapter speaks to PostgreSQL; who measures looks from outside"},
	{"github.com/IBM/sarama", []string{"adapters/kafka", "cmd"}, "one adapter speaks to Kafka"},
	{"github.com/redis/go-redis", []string{"adapters/redis"}, "one adapter speaks to Redis"},
	{"go.mongodb.org/mongo-driver", []string{"adapters/mongo"}, "one adapter speaks to MongoDB"},
	{"github.com/ThreeDotsLabs/watermill-sql", []string{"adapters/postgres/broker"},
		"one package reads the log through it"},
	{"database/sql", []string{"adapters"}, "SQL is a matter of adapters"},
	{"github.com/pressly/goose", []string{"adapters"}, "tables are a matter of the adapter that owns them"},
	{"github.com/alecthomas/kong", []string{"cmd"}, "only the command line reads settings"},
}

// ban names something that must not be imported or called.
type ban struct {
	what  string   // an import path; or path and name, as in "time.Now"
	in    []string // folders; none: everywhere
	not   []string // folders and files in which it is allowed after all
	tests scope
	why   string
}

type scope int

const (
	everywhere scope = iota
	onlyTests
	notTests
)

var bannedImportTable = []ban{
	{what: "log", why: "logs are structured: log/slog, with the logger that was passed in"},
	{what: "math/rand", why: "use math/rand/v2, or crypto/rand for ids and keys"},
	{what: "io/ioutil", why: "it is os and io now"},
	{what: "github.com/golang/mock/gomock", why: "write a fake by hand: it shows what the contract is"},
	{what: "go.uber.org/mock/gomock", why: "write a fake by hand: it shows what the contract is"},
}

var bannedCallTable = []ban{
	{what: "time.Now", in: []string{"app/bank", "app/codec", "handlers"}, tests: notTests,
		why: "time is an argument: replaying the log must give the same state"},
	{what: "time.Since", in: []string{"app/bank", "app/codec", "handlers"}, tests: notTests,
		why: "time is an argument: replaying the log must give the same state"},
	{what: "time.Sleep", tests: onlyTests,
		why: "a test that sleeps is slow or wrong; use testing/synctest, a channel, or poll with a deadline"},
	{what: "time.Sleep", tests: notTests, why: "it does not end when the context does; use a timer and select"},
	{what: "os.Getenv", not: []string{"cmd", "app/apptest/servers"}, tests: notTests,
		why: "only cmd reads the environment, and what tells tests where real servers are"},
	{what: "os.LookupEnv", not: []string{"cmd"}, tests: notTests, why: "only cmd reads the environment"},
	{what: "os.Environ", not: []string{"cmd"}, tests: notTests, why: "only cmd reads the environment"},
	{what: "os.Exit", not: []string{"cmd/bankforge/main.go", "cmd/drill/main.go", "scripts/ferretdb/main.go"},
		tests: notTests, why: "what is deferred would not run; return an error"},
	{what: "fmt.Print", tests: notTests, why: "libraries return values; commands write to the writer they are given"},
	{what: "fmt.Printf", tests: notTests, why: "libraries return values; commands write to the writer they are given"},
	{what: "fmt.Println", tests: notTests, why: "libraries return values; commands write to the writer they are given"},
	{what: "log/slog.Default", why: "a logger is passed in, so that a test sees what is logged"},
	{what: "log/slog.SetDefault", why: "it changes what others log"},
}

// bannedFolders are names that fit anything.
var bannedFolders = []string{
	"common", "util", "utils", "helper", "helpers", "misc", "shared", "base", "lib", "model", "models", "types",
	"service", "services", "manager", "managers", "pkg",
}

func TestHouse(t *testing.T) {
	t.Parallel()
	all := readTree(t, ".")
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			for _, f := range r.check(all) {
				t.Errorf("%s\n\twhy: %s", f, r.why)
			}
		})
	}
}
