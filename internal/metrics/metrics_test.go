package metrics

import (
	"os"
	"regexp"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

var documented = regexp.MustCompile("`(modalrunner_[a-z_]+)`")

// Every metric that there is is in the docs, and none beside them.
func TestTheDocsHaveEveryMetric(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	inDocs := map[string]bool{}
	for _, match := range documented.FindAllStringSubmatch(string(text), -1) {
		inDocs[match[1]] = true
	}
	described := make(chan *prometheus.Desc, 100)
	for _, c := range all {
		c.Describe(described)
	}
	close(described)
	name := regexp.MustCompile(`fqName: "([a-z_]+)"`)
	for desc := range described {
		found := name.FindStringSubmatch(desc.String())[1]
		if !inDocs[found] {
			t.Errorf("%s is not in docs/operations.md", found)
		}
		delete(inDocs, found)
	}
	for left := range inDocs {
		t.Errorf("docs/operations.md tells of %s, which there is not", left)
	}
}
