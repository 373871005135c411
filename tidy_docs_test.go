package bankforge_test

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Documents whose words about the tree are checked. CHANGELOG.md tells of the past.
var documents = []string{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs"}

var (
	quoted     = regexp.MustCompile("`([^`\n]+)`")
	pathLike   = regexp.MustCompile(`^[A-Za-z0-9_.][A-Za-z0-9_.@*-]*(/[A-Za-z0-9_.@*-]+)*/?$`)
	fileLike   = regexp.MustCompile(`\.(go|md|sh|mjs|js|ts|yaml|yml|sql|txtar|proto|html|css|svg)$`)
	aloneAtTop = regexp.MustCompile(`^([A-Z]+\.md|Makefile|LICENSE|[a-z_]+_test\.go|\.[a-z]+\.yml)$`)
	link       = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)\s]*)?\)`)
	makeTarget = regexp.MustCompile(`^make ([a-z-]+)$`)
)

func namedPathsExist(t *tree) (out []finding) {
	for _, f := range t.documents() {
		fenced := false
		for i, line := range strings.Split(f.text, "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				fenced = !fenced
			}
			if fenced {
				continue
			}
			for _, what := range t.missing(f, line) {
				out = append(out, finding{f.path, i + 1, what})
			}
		}
	}
	return out
}

func (t *tree) documents() (out []*file) {
	for _, f := range t.files {
		if strings.HasSuffix(f.path, ".md") && belowAny(f.path, documents) {
			out = append(out, f)
		}
	}
	return out
}

// missing says what a line of a document names that is not there.
func (t *tree) missing(f *file, line string) (out []string) {
	for _, m := range quoted.FindAllStringSubmatch(line, -1) {
		name := m[1]
		if target := makeTarget.FindStringSubmatch(name); target != nil && !t.makes(target[1]) {
			out = append(out, fmt.Sprintf("there is no %s", name))
		}
		top, _, deep := strings.Cut(name, "/")
		isPath := pathLike.MatchString(name) && deep && (t.exists(top) || fileLike.MatchString(name))
		if (isPath || aloneAtTop.MatchString(name)) && !t.exists(name) {
			out = append(out, fmt.Sprintf("there is no %s", name))
		}
	}
	for _, m := range link.FindAllStringSubmatch(line, -1) {
		if !strings.Contains(m[1], ":") && !t.exists(path.Join(f.folder(), m[1])) {
			out = append(out, fmt.Sprintf("the link to %s leads nowhere", m[1]))
		}
	}
	return out
}

func (t *tree) makes(target string) bool {
	return slices.ContainsFunc(t.files, func(f *file) bool {
		return f.path == "Makefile" && strings.Contains("\n"+f.text, "\n"+target+":")
	})
}

// codemapIsTree compares the table under "## Codemap" in ARCHITECTURE.md, whose first column names
// folders, with the packages of the module.
func codemapIsTree(t *tree) (out []finding) {
	const where = "ARCHITECTURE.md"
	named := map[string]int{}
	for _, f := range t.files {
		if f.path != where {
			continue
		}
		inside := false
		for i, line := range strings.Split(f.text, "\n") {
			if strings.HasPrefix(line, "## ") {
				inside = line == "## Codemap"
			}
			first, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
			if !inside || !strings.HasPrefix(line, "|") {
				continue
			}
			for _, m := range quoted.FindAllStringSubmatch(first, -1) {
				named[strings.TrimSuffix(m[1], "/")] = i + 1
			}
		}
	}
	for folder := range t.packages() {
		if named[folder] == 0 && folder != "." {
			out = append(out, finding{where, 0, "the codemap does not name the package " + folder})
		}
	}
	for folder, line := range named {
		if !t.exists(folder) {
			out = append(out, finding{where, line, "the codemap names " + folder + ", which is not there"})
		}
	}
	return out
}

// The patterns are put together from parts, so that they do not find themselves.
var (
	// Folders of one machine, and hosts from which only one machine gets its packages.
	local = regexp.MustCompile(`(^|[^\w.])/(ro` + `ot|wo` + `rk|tm` + `p|ho` + `me/\w+)/`)
	// In a lock file, where packages are loaded from; public registries are for everybody.
	resolved = regexp.MustCompile(`"resolved": "https?://([^/"]+)/`)
	indexURL = regexp.MustCompile(`(?m)^(--)?(extra-)?index-` + `url|^registry *=|GOPRO` + `XY=http`)
	// Three X alone are the currency code for "none".
	later = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME)\b|\bXX` + `X[:(]`)
)

// suspicious are parts of what nothingLocal looks for: most files have none of them, which is quickly seen.
var suspicious = []string{
	"/ro" + "ot/", "/wo" + "rk/", "/tm" + "p/", "/ho" + "me/", "resolved", "index-", "registry", "GOPRO",
}

func nothingLocal(t *tree) (out []finding) {
	for _, f := range t.files {
		if !slices.ContainsFunc(suspicious, func(s string) bool { return strings.Contains(f.text, s) }) {
			continue
		}
		for i, line := range strings.Split(f.text, "\n") {
			what := local.FindString(line)
			if m := resolved.FindStringSubmatch(line); m != nil && m[1] != "registry.npmjs.org" {
				what = m[1]
			}
			if m := indexURL.FindString(line); m != "" {
				what = m
			}
			if what != "" {
				out = append(out, finding{f.path, i + 1, fmt.Sprintf("%q is only on one machine", what)})
			}
		}
	}
	return out
}

func nothingLeft(t *tree) (out []finding) {
	for _, f := range t.files {
		if base := path.Base(f.path); base == "go.sum" || base == "package-lock.json" || below(f.path, "console/dist") {
			continue // hashes and minified code hold any letters
		}
		if !later.MatchString(f.text) {
			continue
		}
		for i, line := range strings.Split(f.text, "\n") {
			if m := later.FindString(line); m != "" {
				out = append(out, finding{f.path, i + 1, m})
			}
		}
	}
	return out
}
