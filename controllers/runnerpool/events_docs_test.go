package runnerpool

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// The events that the docs tell of are exactly those that the code makes, with the types that it gives them.
func TestTheDocsHaveEveryEvent(t *testing.T) {
	g := NewWithT(t)
	values := valuesOf(t, "../../api/v1alpha1/*.go")
	pools, runners := reasonsIn(t, values, "*.go", nil), reasonsIn(t, values, "../runner/*.go", []string{"fail", "hung", "endHung", "replace", "warn"})
	for _, file := range []string{"../runner/death.go", "../runner/hung.go"} {
		runners = append(runners, reasonsIn(t, values, file, nil)...)
	}
	// The pool tells of a Runner that takes no job, and Degraded is told by events of its own.
	pools = slices.DeleteFunc(pools, func(r string) bool { return r == "RunnerDeaf" || r == "AttemptsFailed" || r == "AttemptsSucceed" })
	pools = append(append(pools, reasonsIn(t, values, "../orphan/*.go", nil)...), "Degraded", "Recovered")
	runners = append(runners, "RunnerDeaf")
	documented, types := documentedEvents(t)
	g.Expect(documented["RunnerPool"]).To(Equal(unique(pools)))
	g.Expect(documented["Runner"]).To(Equal(unique(runners)))
	g.Expect(documented["WorkflowJob"]).To(Equal(unique(append(reasonsIn(t, values, "../workflowjob/*.go", nil), reasonsIn(t, values, "../../api/v1alpha1/admission.go", nil)...))))
	for _, reason := range documented["RunnerPool"] {
		if reason != "Recovered" {
			g.Expect(types[reason]).To(Equal(levelOf(reason)), reason)
		}
	}
}

func unique(all []string) []string {
	all = slices.Clone(all)
	slices.Sort(all)
	return slices.Compact(all)
}

// valuesOf the constants in some files.
func valuesOf(t *testing.T, pattern string) map[string]string {
	t.Helper()
	values := map[string]string{}
	inspect(t, pattern, func(node ast.Node) {
		if spec, ok := node.(*ast.ValueSpec); ok && len(spec.Values) == 1 {
			if literal, ok := spec.Values[0].(*ast.BasicLit); ok && literal.Kind == token.STRING {
				values[spec.Names[0].Name], _ = strconv.Unquote(literal.Value)
			}
		}
	})
	return values
}

// reasonsIn some files: every constant for a reason or an event; of the functions, if any are given, those that they are called with.
func reasonsIn(t *testing.T, values map[string]string, pattern string, functions []string) []string {
	t.Helper()
	var found []string
	note := func(node ast.Node) {
		name := ""
		switch node := node.(type) {
		case *ast.SelectorExpr:
			name = node.Sel.Name
		case *ast.Ident:
			name = node.Name
		}
		if strings.HasPrefix(name, "Reason") && values[name] != "" || strings.HasPrefix(name, "Event") && values[name] != "" {
			found = append(found, values[name])
		}
	}
	inspect(t, pattern, func(node ast.Node) {
		if functions == nil {
			note(node)
			return
		}
		call, ok := node.(*ast.CallExpr)
		if !ok {
			return
		}
		if called, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains(functions, called.Sel.Name) {
			for _, argument := range call.Args {
				note(argument)
			}
		}
	})
	return found
}

func inspect(t *testing.T, pattern string, visit func(ast.Node)) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatal(pattern, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			visit(node)
			return true
		})
	}
}

var quoted = regexp.MustCompile("`([A-Za-z]+)`")

// documentedEvents by kind, and the type of each.
func documentedEvents(t *testing.T) (of map[string][]string, types map[string]string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## Events\n")
	section, _, ended := strings.Cut(section, "\n## ")
	if !found || !ended {
		t.Fatal("docs/operations.md has no section about events")
	}
	of, types = map[string][]string{}, map[string]string{}
	for line := range strings.Lines(section) {
		cells := strings.Split(line, " | ")
		if len(cells) != 4 {
			continue
		}
		kind := strings.TrimPrefix(cells[0], "| ")
		for _, match := range quoted.FindAllStringSubmatch(cells[2], -1) {
			of[kind] = append(of[kind], match[1])
			types[match[1]] = cells[1]
		}
	}
	for kind := range of {
		slices.Sort(of[kind])
	}
	return of, types
}
