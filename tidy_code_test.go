package bankforge_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

func shortFunctions(t *tree) (out []finding) {
	for _, f := range t.code(true) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			name := "a function literal"
			switch n := n.(type) {
			case *ast.FuncDecl:
				name = n.Name.Name
			case *ast.FuncLit:
			default:
				return true
			}
			if lines := t.fset.Position(n.End()).Line - t.line(n) + 1; lines > maxFunctionLines {
				out = append(out, t.find(f, n, "%s has %d lines, at most %d", name, lines, maxFunctionLines))
			}
			return true
		})
	}
	return out
}

func shortFiles(t *tree) (out []finding) {
	for _, f := range t.code(true) {
		if lines := strings.Count(f.text, "\n"); lines > maxFileLines {
			out = append(out, finding{f.path, 0, fmt.Sprintf("%d lines, at most %d", lines, maxFileLines)})
		}
	}
	return out
}

func shortLines(t *tree) (out []finding) {
	for _, f := range t.code(true) {
		for i, line := range strings.Split(f.text, "\n") {
			if n := utf8.RuneCountInString(line); n > maxLineLength {
				out = append(out, finding{f.path, i + 1, fmt.Sprintf("%d characters, at most %d", n, maxLineLength)})
			}
		}
	}
	return out
}

func smallPackages(t *tree) (out []finding) {
	for folder, files := range t.packages() {
		if len(files) > maxPackageFiles {
			out = append(out, finding{folder, 0, fmt.Sprintf("%d files, at most %d", len(files), maxPackageFiles)})
		}
	}
	return out
}

func folderNames(t *tree) (out []finding) {
	for folder := range t.packages() {
		for part := range strings.SplitSeq(folder, "/") {
			if slices.Contains(bannedFolders, part) {
				out = append(out, finding{folder, 0, fmt.Sprintf("a folder is not called %q", part)})
			}
		}
	}
	return out
}

func packageComments(t *tree) (out []finding) {
	for folder, files := range t.packages() {
		var comments []string
		for _, f := range files {
			if f.ast.Doc != nil {
				comments = append(comments, f.path)
			}
		}
		switch {
		case len(comments) == 0:
			out = append(out, finding{folder, 0, "the package has no comment"})
		case len(comments) > 1:
			out = append(out, finding{folder, 0, "more than one package comment: " + strings.Join(comments, ", ")})
		}
	}
	return out
}

func nameComments(t *tree) (out []finding) {
	for _, f := range t.code(false) {
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
					out = append(out, t.find(f, d, "%s has no comment", d.Name.Name))
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if name := uncommented(d, s); name != "" {
						out = append(out, t.find(f, s, "%s has no comment", name))
					}
				}
			}
		}
	}
	return out
}

// exportedReceiver: methods of types that nobody else sees are often there for an interface that says it all.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	exported := true
	ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		if ok {
			exported = id.IsExported()
		}
		return !ok && exported
	})
	return exported
}

// uncommented returns the exported name that nothing explains: a group's comment explains all of it.
func uncommented(d *ast.GenDecl, s ast.Spec) string {
	switch s := s.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
			return s.Name.Name
		}
	case *ast.ValueSpec:
		for _, n := range s.Names {
			if n.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
				return n.Name
			}
		}
	}
	return ""
}

func bannedImports(t *tree) (out []finding) {
	for _, f := range t.code(true) {
		for _, b := range bannedImportTable {
			if i := f.imports()[b.what]; i != nil && b.applies(f) {
				out = append(out, t.find(f, i, "imports %s: %s", b.what, b.why))
			}
		}
	}
	return out
}

func (b ban) applies(f *file) bool {
	switch {
	case b.tests == onlyTests && !f.isTest(), b.tests == notTests && f.isTest():
		return false
	case len(b.in) > 0 && !belowAny(f.path, b.in):
		return false
	default:
		return !belowAny(f.path, b.not)
	}
}

// bannedCalls also finds what is only mentioned: passing time.Now on is as good as calling it.
func bannedCalls(t *tree) (out []finding) {
	for _, f := range t.code(true) {
		names := localNames(f)
		bubble := false // inside synctest.Test, where time is not the clock's
		var visit func(n ast.Node) bool
		visit = func(n ast.Node) bool {
			if c, ok := n.(*ast.CallExpr); ok && !bubble && qualified(c.Fun, names) == "testing/synctest.Test" {
				bubble = true
				ast.Inspect(c, visit)
				bubble = false
				return false
			}
			what := qualified(n, names)
			for _, b := range bannedCallTable {
				if b.what == what && b.applies(f) && (!bubble || what != "time.Sleep") {
					out = append(out, t.find(f, n, "%s: %s", what, b.why))
				}
			}
			return true
		}
		ast.Inspect(f.ast, visit)
	}
	return out
}

// localNames maps the names by which a file knows packages to their import paths.
func localNames(f *file) map[string]string {
	names := map[string]string{}
	for what, i := range f.imports() {
		name := path.Base(what)
		if i.Name != nil {
			name = i.Name.Name
		}
		names[name] = what
	}
	return names
}

// qualified is "time.Now" or "log/slog.Default" for such an expression, whatever the file calls the package.
func qualified(n ast.Node, names map[string]string) string {
	s, ok := n.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	x, ok := s.X.(*ast.Ident)
	if !ok || names[x.Name] == "" {
		return ""
	}
	return names[x.Name] + "." + s.Sel.Name
}

func noInit(t *tree) (out []finding) {
	for _, f := range t.code(true) {
		for _, d := range f.ast.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && d.Recv == nil && d.Name.Name == "init" {
				out = append(out, t.find(f, d, "func init"))
			}
		}
	}
	return out
}

func noSkips(t *tree) (out []finding) {
	skips := []string{"Skip", "Skipf", "SkipNow"}
	for _, f := range t.code(true) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			c, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			s, ok := c.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains(skips, s.Sel.Name) {
				return true
			}
			if x, ok := s.X.(*ast.Ident); ok && slices.Contains([]string{"t", "tb", "b", "f"}, x.Name) {
				out = append(out, t.find(f, n, "%s.%s", x.Name, s.Sel.Name))
			}
			return true
		})
	}
	return out
}

// byPackage groups Go files by folder and package name: a folder may also hold an external test package.
func byPackage(files []*file) [][]*file {
	groups := map[string][]*file{}
	for _, f := range files {
		key := f.folder() + " " + f.ast.Name.Name
		groups[key] = append(groups[key], f)
	}
	var out [][]*file
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		out = append(out, groups[key])
	}
	return out
}

// writes returns what a statement writes to.
func writes(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return n.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	case *ast.RangeStmt:
		if n.Tok == token.ASSIGN {
			return []ast.Expr{n.Key, n.Value}
		}
	}
	return nil
}
