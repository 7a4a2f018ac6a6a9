package modaljs

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

// patience with the whole suite, on a machine that has much else to do.
const patience = 8 * time.Minute

// install gives a folder that holds the suite and the SDK: node looks for packages in the folders above a file, and there
// shall be none in the work tree.
func install(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "../../hack/modaljs/fetch.sh").Output()
	if err != nil {
		t.Fatalf("Modal's JavaScript SDK is needed: run hack/modaljs/fetch.sh, which needs npm: %v", err)
	}
	g := NewWithT(t)
	folder := t.TempDir()
	files, err := filepath.Glob("*.mjs")
	g.Expect(err).NotTo(HaveOccurred())
	for _, name := range files {
		text, err := os.ReadFile(name)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(os.WriteFile(filepath.Join(folder, name), text, 0o600)).To(Succeed())
	}
	packages := filepath.Join(strings.TrimSpace(string(out)), "node_modules")
	g.Expect(os.Symlink(packages, filepath.Join(folder, "node_modules"))).To(Succeed())
	return folder
}

// node runs the suite against a server and gives the results, of which there is at least one for each file. Nothing of this
// program's environment but the PATH is in the suite's: a proxy for HTTP would be taken for gRPC too.
//
// Node tells of a file itself when it cannot be read, or when there is no test in it: neither is a success.
func node(t *testing.T, folder, url string) []result {
	t.Helper()
	g := NewWithT(t)
	files, err := filepath.Glob(filepath.Join(folder, "*.test.mjs"))
	g.Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", append([]string{"--test", "--test-reporter=tap", "--test-concurrency=2"}, files...)...)
	cmd.Dir, cmd.WaitDelay = folder, 10*time.Second
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "MODAL_SERVER_URL=" + url,
		"MODAL_TOKEN_ID=" + tokenID, "MODAL_TOKEN_SECRET=" + tokenSecret,
		"MODAL_IMAGE_BUILDER_VERSION=2025.06", "MODAL_CONFIG_PATH=" + os.DevNull,
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	results := read(bytes.NewReader(out.Bytes()))
	failed := false
	for i := range results {
		if result := &results[i]; slices.Contains(files, result.name) {
			result.name, result.passed = filepath.Base(result.name), false
		}
		failed = failed || !results[i].passed
	}
	if err != nil && !failed || len(results) < len(files) || len(files) == 0 {
		t.Fatalf("node has not run the suite: %d results of %d files: %v\n%s", len(results), len(files), err, out.String())
	}
	return results
}

// result of one test of the suite.
type result struct {
	name   string
	passed bool
	// directive is why a test was left out, and text what node says about it.
	directive, text string
}

// report a result. A test that was left out has not passed: the suite has no reason to leave one out.
func (r result) report(t *testing.T) {
	if !r.passed || r.directive != "" {
		t.Errorf("%s\n%s", r.directive, r.text)
	}
}

// Lines of the Test Anything Protocol, testanything.org, as node writes it: tests within tests are indented.
var (
	testLine  = regexp.MustCompile(`^(not )?ok \d+ - (.*?)( # (?:SKIP|TODO).*)?$`)
	unescaper = strings.NewReplacer(`\\`, `\`, `\#`, "#")
)

// read the results of the tests that are in no other. What is said before a result is about it or its children, and so is the
// block after it.
func read(tap io.Reader) []result {
	var results []result
	var before strings.Builder
	block := false
	lines := bufio.NewScanner(tap)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		line := lines.Text()
		if found := testLine.FindStringSubmatch(line); found != nil {
			results = append(results, result{
				name: unescaper.Replace(found[2]), passed: found[1] == "", directive: strings.TrimSpace(found[3]), text: before.String(),
			})
			before.Reset()
			continue
		}
		switch {
		case line == "  ---":
			block = true
		case line == "  ...":
			block = false
		case block:
			results[len(results)-1].text += line + "\n"
		default:
			before.WriteString(line + "\n")
		}
	}
	return results
}

func TestReadKnowsWhatNodeSays(t *testing.T) {
	results := read(strings.NewReader(`TAP version 13
# Subtest: a \# and a \\
ok 1 - a \# and a \\
  ---
  duration_ms: 1
  ...
# Subtest: parent
    # Subtest: child
    not ok 1 - child
      ---
      error: 'no'
      ...
    1..1
not ok 2 - parent
  ---
  error: '1 subtest failed'
  ...
ok 3 - left out # SKIP not today
  ---
  duration_ms: 1
  ...
1..3
# fail 1
`))
	g := NewWithT(t)
	g.Expect(results).To(HaveLen(3))
	g.Expect(results[1].text).To(And(ContainSubstring("error: 'no'"), ContainSubstring("1 subtest failed")))
	for i := range results {
		results[i].text = ""
	}
	g.Expect(results).To(Equal([]result{
		{name: `a # and a \`, passed: true}, {name: "parent"}, {name: "left out", passed: true, directive: "# SKIP not today"},
	}))
}
