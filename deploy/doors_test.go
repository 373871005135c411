package deploy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"
)

// door is a line of the table in ports/routes.go.
type door struct {
	method, path string
	module       string // the constant's name; "": every process opens it
}

// doors reads the table from the source: it is the one page that lists them, and nobody exports it.
func doors(t *testing.T) (out []door) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../ports/routes.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		line, ok := n.(*ast.CompositeLit)
		if !ok || len(line.Elts) < 2 {
			return true
		}
		method, isName := line.Elts[0].(*ast.Ident)
		path, isText := line.Elts[1].(*ast.BasicLit)
		if !isName || !isText {
			return true
		}
		d := door{method: method.Name}
		if d.path, err = strconv.Unquote(path.Value); err != nil {
			t.Fatal(err)
		}
		ast.Inspect(line, func(n ast.Node) bool {
			if field, ok := n.(*ast.KeyValueExpr); ok {
				key, isKey := field.Key.(*ast.Ident)
				value, isValue := field.Value.(*ast.Ident)
				if isKey && isValue && key.Name == "module" {
					d.module = value.Name
				}
			}
			return true
		})
		out = append(out, d)
		return false
	})
	return out
}
