package bankforge_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/types"
	"path"
	"slices"
	"strings"
)

const module = "bankforge"

// importArrows fails in four ways: an arrow that the table does not allow, a package that the table does not
// know, a row for nothing, and a permission that nobody uses.
func importArrows(t *tree) (out []finding) {
	used := map[string]bool{}
	for _, f := range t.code(false) {
		row, ok := arrowOf(f.folder())
		if !ok {
			what := "no row of arrows says what " + f.folder() + " may import: add one, with its reason"
			out = append(out, finding{f.path, 0, what})
			continue
		}
		used[row.from] = true
		for what, i := range f.imports() {
			to, inside := strings.CutPrefix(what, module+"/")
			if !inside {
				continue
			}
			allowed := row.permits(to)
			if allowed == "" {
				out = append(out, t.find(f, i, "%s may not import %s; it may import %s, for %s. "+
					"Turn the dependency round with an interface beside its consumer, or defend a new arrow in the table",
					row.from, to, list(row.to), row.why))
			}
			used[row.from+" → "+allowed] = true
		}
	}
	return append(out, idleArrows(used)...)
}

func idleArrows(used map[string]bool) (out []finding) {
	for _, a := range arrows {
		if !used[a.from] {
			what := "arrows has a row for " + a.from + ", where there is no code: remove it"
			out = append(out, finding{"tidy_test.go", 0, what})
			continue
		}
		for _, to := range a.to {
			if !used[a.from+" → "+to] {
				what := "arrows allows " + a.from + " → " + to + ", and nobody uses it: remove it"
				out = append(out, finding{"tidy_test.go", 0, what})
			}
		}
	}
	return out
}

func list(names []string) string {
	if len(names) == 0 {
		return "nothing of this module"
	}
	return strings.Join(names, ", ")
}

// arrowOf returns the row with the longest folder that matches.
func arrowOf(folder string) (best arrow, ok bool) {
	for _, a := range arrows {
		if matches(folder, a.from) && (!ok || len(a.from) > len(best.from)) {
			best, ok = a, true
		}
	}
	return best, ok
}

// permits returns the entry of the row that allows the import.
func (a arrow) permits(to string) string {
	i := slices.IndexFunc(a.to, func(pattern string) bool { return matches(to, pattern) })
	if i < 0 {
		return ""
	}
	return a.to[i]
}

// matches: "x" is x alone, "x/..." what is below it, "..." all.
func matches(folder, pattern string) bool {
	if up, below := strings.CutSuffix(pattern, "..."); below {
		return strings.HasPrefix(folder, up) && folder != strings.TrimSuffix(up, "/")
	}
	return folder == pattern
}

func pureDomain(t *tree) (out []finding) {
	for _, f := range t.code(false) {
		if !below(f.path, "app/bank") {
			continue
		}
		for what, i := range f.imports() {
			if !slices.Contains(pureImports, what) {
				out = append(out, t.find(f, i, "the domain imports %s; it may import %s", what, list(pureImports)))
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if field, ok := n.(*ast.Field); ok && field.Tag != nil {
				out = append(out, t.find(f, field, "a tag: how the domain is written down is for others to say"))
			}
			return true
		})
	}
	return out
}

func librariesAtHome(t *tree) (out []finding) {
	for _, f := range t.code(false) {
		for what, i := range f.imports() {
			for _, h := range homes {
				if below(what, h.library) && !belowAny(f.path, h.in) {
					out = append(out, t.find(f, i, "%s may only be imported in %s: %s", what, list(h.in), h.why))
				}
			}
		}
	}
	return out
}

// constantVariables finds assignments to variables of the package, or to a part of one. It cannot see a change by a
// method or through a pointer, and so does not know all; what it finds is certain.
func constantVariables(t *tree) (out []finding) {
	for _, files := range byPackage(t.code(true)) {
		info := types.Info{Uses: map[*ast.Ident]types.Object{}}
		config := types.Config{Importer: blind{}, Error: func(error) {}} // names within the package are enough
		var parsed []*ast.File
		for _, f := range files {
			parsed = append(parsed, f.ast)
		}
		pkg, _ := config.Check(files[0].folder(), t.fset, parsed, &info) // its errors are all about imports
		for _, f := range files {
			ast.Inspect(f.ast, func(n ast.Node) bool {
				for _, e := range writes(n) {
					id := root(e)
					if id == nil {
						continue
					}
					if v, ok := info.Uses[id].(*types.Var); ok && v.Parent() == pkg.Scope() {
						out = append(out, t.find(f, n, "%s is a variable of the package, and changes here", id.Name))
					}
				}
				return true
			})
		}
	}
	return out
}

// root is the variable that an expression is, or is a part of.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// blind resolves no import.
type blind struct{}

// Import refuses, so that only names of the package itself are known.
func (blind) Import(what string) (*types.Package, error) {
	return nil, fmt.Errorf("%s: %w", path.Base(what), errors.ErrUnsupported)
}
