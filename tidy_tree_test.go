package bankforge_test

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"
)

// tree is what the rules look at: every text file of the repository.
type tree struct {
	fset  *token.FileSet
	files []*file
}

// file is one of them. Paths have slashes and begin at the root.
type file struct {
	path string
	text string
	ast  *ast.File // of Go files only
}

// finding is one place where a rule does not hold.
type finding struct {
	path string
	line int // 0: the whole
	what string
}

func (f finding) String() string {
	if f.line == 0 {
		return f.path + ": " + f.what
	}
	return fmt.Sprintf("%s:%d: %s", f.path, f.line, f.what)
}

// strange are folders that are not part of the tree: git ignores them too. Those with a slash are at the root.
var strange = []string{".git", ".tools", "node_modules", "/data", "/bin"}

func readTree(t *testing.T, root string) *tree {
	t.Helper()
	var archive txtar.Archive
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if d.IsDir() && (slices.Contains(strange, path.Base(name)) || slices.Contains(strange, "/"+name)) {
			return fs.SkipDir
		}
		if name == ".git" { // a file, where the tree is one of several of a repository
			return nil
		}
		if !d.Type().IsRegular() || strings.HasSuffix(name, ".test") || strings.HasSuffix(name, ".prof") {
			return nil
		}
		data, err := os.ReadFile(name)
		archive.Files = append(archive.Files, txtar.File{Name: name, Data: data})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return newTree(t, &archive)
}

func newTree(t *testing.T, archive *txtar.Archive) *tree {
	t.Helper()
	all := &tree{fset: token.NewFileSet()}
	for _, a := range archive.Files {
		if !utf8.Valid(a.Data) || bytes.ContainsRune(a.Data, 0) {
			continue // not text
		}
		f := &file{path: a.Name, text: string(a.Data)}
		if strings.HasSuffix(f.path, ".go") {
			var err error
			f.ast, err = parser.ParseFile(all.fset, f.path, a.Data, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
		}
		all.files = append(all.files, f)
	}
	slices.SortFunc(all.files, func(a, b *file) int { return cmp.Compare(a.path, b.path) })
	return all
}

// code returns the Go files that people wrote; tests only if asked for.
func (t *tree) code(tests bool) []*file {
	var out []*file
	for _, f := range t.files {
		if f.ast != nil && !ast.IsGenerated(f.ast) && (tests || !f.isTest()) {
			out = append(out, f)
		}
	}
	return out
}

// packages returns the folders that hold Go files other than tests, with those files.
func (t *tree) packages() map[string][]*file {
	out := map[string][]*file{}
	for _, f := range t.files {
		if f.ast != nil && !f.isTest() {
			out[f.folder()] = append(out[f.folder()], f)
		}
	}
	return out
}

func (t *tree) line(n ast.Node) int { return t.fset.Position(n.Pos()).Line }

func (t *tree) find(f *file, n ast.Node, format string, args ...any) finding {
	return finding{f.path, t.line(n), fmt.Sprintf(format, args...)}
}

// exists reports whether the path is a file or a folder of the tree, or as a pattern matches one.
func (t *tree) exists(name string) bool {
	name = strings.TrimSuffix(name, "/")
	for _, f := range t.files {
		for at := f.path; at != "."; at = path.Dir(at) {
			if ok, err := path.Match(name, at); at == name || ok && err == nil {
				return true
			}
		}
	}
	return false
}

func (f *file) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

func (f *file) folder() string { return path.Dir(f.path) }

func (f *file) imports() map[string]*ast.ImportSpec {
	out := map[string]*ast.ImportSpec{}
	for _, i := range f.ast.Imports {
		out[strings.Trim(i.Path.Value, `"`)] = i
	}
	return out
}

// below reports whether the path is the folder, or somewhere in it.
func below(name, folder string) bool {
	return folder == "..." || name == folder || strings.HasPrefix(name, folder+"/")
}

func belowAny(name string, folders []string) bool {
	return slices.ContainsFunc(folders, func(folder string) bool { return below(name, folder) })
}
