package v1alpha1

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// told are the names of the constants that the controller tells by: conditions, reasons, events, phases and states.
var told = regexp.MustCompile(`^(Reason|Condition|Event|Runner(Pending|Starting|Idle|Running|Failed|Terminating)$|Job(Waiting|Queued|InProgress|Completed)$)`)

// Everything that the controller can tell is reached by a test that expects it: what nothing reaches is no part of the API.
func TestEveryConditionReasonEventAndPhaseIsExpectedByATest(t *testing.T) {
	declared := constants(t)
	if len(declared) < 70 {
		t.Fatalf("only %d constants were found", len(declared))
	}
	expected := map[string]bool{}
	for _, file := range parsedFiles(t, "../..", func(path string) bool { return strings.HasSuffix(path, "_test.go") }) {
		ast.Walk(expectations{names: expected}, file)
	}
	for _, name := range declared {
		if !expected[name] {
			t.Errorf("no test expects %s", name)
		}
	}
}

// constants that the package declares.
func constants(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, file := range parsedFiles(t, ".", func(path string) bool { return !strings.HasSuffix(path, "_test.go") }) {
		for _, decl := range file.Decls {
			if decl, ok := decl.(*ast.GenDecl); ok && decl.Tok == token.CONST {
				for _, spec := range decl.Specs {
					if name := spec.(*ast.ValueSpec).Names[0].Name; told.MatchString(name) {
						names = append(names, name)
					}
				}
			}
		}
	}
	return names
}

func parsedFiles(t *testing.T, root string, wanted func(path string) bool) []*ast.File {
	t.Helper()
	var files []*ast.File
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == "testdata" || entry.Name() == ".git") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || !wanted(path) {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		files = append(files, file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// expects are the functions that are given what a test expects, or that look for a condition of a type.
var expects = regexp.MustCompile(`^(Equal|ContainElements?|ConsistOf|HaveField|HaveKey|ContainSubstring|HavePrefix|(await|expect)[A-Z].*|reason|condition|FindStatusCondition|IsStatusCondition(True|False))$`)

func called(call *ast.CallExpr) string {
	switch function := call.Fun.(type) {
	case *ast.Ident:
		return function.Name
	case *ast.SelectorExpr:
		return function.Sel.Name
	}
	return ""
}

// expectations walks through a test and notes the constants that it expects: those that are given to a matcher, that something
// is compared with, or that a table holds. What a test sets up itself is no expectation.
type expectations struct{ names map[string]bool }

func (e expectations) Visit(node ast.Node) ast.Visitor {
	switch node := node.(type) {
	case *ast.CallExpr:
		if expects.MatchString(called(node)) {
			for _, argument := range node.Args {
				e.note(argument)
			}
		}
	case *ast.BinaryExpr:
		e.note(node.X)
		e.note(node.Y)
	case *ast.CompositeLit:
		for _, element := range node.Elts {
			if pair, ok := element.(*ast.KeyValueExpr); ok {
				e.note(pair.Key)
				if field, ok := pair.Key.(*ast.Ident); ok && isField(field.Name) {
					continue
				}
				element = pair.Value
			}
			e.note(element)
		}
	}
	return e
}

// isField of an object of the API, which a test sets.
func isField(name string) bool {
	switch name {
	case "Reason", "Type", "Phase", "State", "Status":
		return true
	}
	return false
}

func (e expectations) note(node ast.Expr) {
	if selected, ok := node.(*ast.SelectorExpr); ok {
		if of, ok := selected.X.(*ast.Ident); ok && of.Name == "v1alpha1" {
			e.names[selected.Sel.Name] = true
		}
	}
}
