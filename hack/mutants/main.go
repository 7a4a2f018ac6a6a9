// Command mutants proves that the tests of the invariants can fail: it takes out one mechanism after the other, by
// compiling the product with one file changed (go build -overlay), and runs the test that is to notice. It fails when a test
// still passes.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

func main() {
	only := flag.String("only", ".", "Regular expression of the mutants to try, matched with invariant and mechanism.")
	out := flag.String("out", "out/mutants.md", "File for the table.")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *only, *out)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only, out string) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	table := &strings.Builder{}
	fmt.Fprintf(table, "| Invariant | Mechanism taken out | Test that fails |\n| --- | --- | --- |\n")
	survived := 0
	for _, m := range mutants {
		if !wanted.MatchString(m.invariant + " " + m.mechanism) {
			continue
		}
		begun := time.Now()
		killed, output, err := m.try(ctx, folder)
		if err != nil {
			return fmt.Errorf("%s: %w", m.mechanism, err)
		}
		verdict := "noticed"
		if !killed {
			verdict = "SURVIVED"
			survived++
			fmt.Println(output)
		}
		fmt.Printf("%-8s %-3s %s: %s (%.0f s)\n", verdict, m.invariant, m.mechanism, m.test, time.Since(begun).Seconds())
		fmt.Fprintf(table, "| %s | %s | `%s` in `%s`: %s |\n", m.invariant, m.mechanism, m.test, m.pkg, verdict)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(out, []byte(table.String()), 0o644); err != nil {
		return err
	}
	if survived > 0 {
		return fmt.Errorf("%d survived", survived)
	}
	return nil
}

// mutant is the product without one of its mechanisms.
type mutant struct {
	invariant string
	mechanism string
	file      string
	// old is replaced by new: it must be in the file once.
	old, new string
	pkg      string
	test     string
}

// try the mutant, and say whether its test noticed.
func (m mutant) try(ctx context.Context, folder string) (killed bool, output string, err error) {
	text, err := os.ReadFile(m.file)
	if err != nil {
		return false, "", err
	}
	if count := strings.Count(string(text), m.old); count != 1 {
		return false, "", fmt.Errorf("%s has the code of the mechanism %d times: bring hack/mutants up to date", m.file, count)
	}
	changed := filepath.Join(folder, "changed.go")
	if err := os.WriteFile(changed, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o600); err != nil {
		return false, "", err
	}
	original, err := filepath.Abs(m.file)
	if err != nil {
		return false, "", err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{original: changed}})
	if err != nil {
		return false, "", err
	}
	overlayFile := filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		return false, "", err
	}
	if result, err := m.command(ctx, overlayFile, "vet").CombinedOutput(); err != nil {
		return false, "", fmt.Errorf("the mutant does not compile: %w\n%s", err, result)
	}
	result, err := m.command(ctx, overlayFile, "test").CombinedOutput()
	return err != nil && strings.Contains(string(result), "--- FAIL: "), string(result), nil
}

// command of go for the mutant's package. The overlay goes through the environment, so that what a test builds has it too.
func (m mutant) command(ctx context.Context, overlay, verb string) *exec.Cmd {
	args := []string{verb, m.pkg}
	if verb == "test" {
		args = []string{verb, "-count=1", "-timeout=10m", "-run=" + m.test, m.pkg}
	}
	command := exec.CommandContext(ctx, "go", args...)
	command.Env = append(os.Environ(), "GOFLAGS=-overlay="+overlay, "E2E_PATIENCE=30s")
	return command
}
