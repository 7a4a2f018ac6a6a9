package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

// valuesSchema as far as the tests look at it.
type valuesSchema struct {
	Description string                   `json:"description"`
	Properties  map[string]*valuesSchema `json:"properties"`
	Additional  any                      `json:"additionalProperties"`
	Required    []string                 `json:"required"`
}

// described gives the description of every value in the schema, by its path. Sections have none.
func (s *valuesSchema) described(path string, into map[string]string, t *testing.T) {
	if s.Properties == nil {
		into[path] = s.Description
		return
	}
	if s.Additional != false && path != ".global" {
		t.Errorf("the schema lets anything into %s", path)
	}
	for key, inner := range s.Properties {
		inner.described(path+"."+key, into, t)
	}
}

// commented gives the comment of every value in values.yaml, by its path. What has a comment is a value, whatever it holds.
func commented(node *yaml.Node, path string, into map[string]string) {
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		here := path + "." + key.Value
		comment, documented := strings.CutPrefix(strings.Join(strings.Fields(strings.ReplaceAll(key.HeadComment, "\n#", " ")), " "), "# -- ")
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 && !documented {
			commented(value, here, into)
			continue
		}
		into[here] = comment
	}
}

// readValues gives every value of values.yaml, by its path, with its comment.
func readValues(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(chart + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	commented(document.Content[0], "", values)
	return values
}

func TestEveryValueIsInTheSchemaAndDescribedTheSame(t *testing.T) {
	inSchema := map[string]string{}
	readSchema(t).described("", inSchema, t)
	inValues := readValues(t)
	if diff := cmp.Diff(inValues, inSchema); diff != "" {
		t.Errorf("values.yaml (-) and values.schema.json (+) differ:\n%s", diff)
	}
	for path, description := range inValues {
		if description == "" {
			t.Errorf("%s has no comment that begins with # --", path)
		}
	}
}

func TestEveryValueIsUsed(t *testing.T) {
	var all strings.Builder
	err := filepath.WalkDir(chart+"/templates", func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	values := readValues(t)
	for path := range values {
		if strings.HasPrefix(path, ".prices.") {
			continue // The table is used as a whole.
		}
		name := path[strings.LastIndex(path, ".")+1:]
		if !strings.Contains(all.String(), "."+name) && !strings.Contains(all.String(), `"`+name+`"`) {
			t.Errorf("no template uses %s", path)
		}
	}
}

func readSchema(t *testing.T) *valuesSchema {
	t.Helper()
	text, err := os.ReadFile(chart + "/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	root := &valuesSchema{}
	if err := json.Unmarshal(text, root); err != nil {
		t.Fatal(err)
	}
	return root
}

// nulls for all that the schema does not require.
func (s *valuesSchema) nulls() map[string]any {
	values := map[string]any{}
	for key, inner := range s.Properties {
		switch {
		case !slices.Contains(s.Required, key):
			values[key] = nil
		case inner.Properties != nil:
			values[key] = inner.nulls()
		}
	}
	return values
}

// allOn is every switch.
const allOn = `
replicas: 2
webhook:
  separate: {enabled: true}
  ingress: {enabled: true, host: x}
  httpRoute: {enabled: true, parentRefs: [{name: x}]}
networkPolicy: {enabled: true}
ui: {enabled: true, service: {enabled: true}}
runnerPools: [{name: a, spec: {repository: octo/widgets}}]
`

// Whoever sets a value to null, or upgrades with values of a release that did not have it, gets objects or is told what is missing.
func TestValuesMayBeNullUnlessTheSchemaSaysSo(t *testing.T) {
	values := readSchema(t).nulls()
	if len(values) < 40 {
		t.Errorf("only %d values may be null", len(values))
	}
	text, err := yaml.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "nulls.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	on := filepath.Join(t.TempDir(), "on.yaml")
	for _, switches := range []string{"replicas: 1", allOn} {
		if err := os.WriteFile(on, []byte(switches), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, pod := range podsOf(t, rendered(t, "-f", path, "-f", on)) {
			if len(pod.Spec.Containers) == 0 || pod.Spec.Containers[0].Image == "" {
				t.Errorf("%s: %s has no image", switches, pod.Name)
			}
		}
	}
	for _, section := range []string{"workers", "webhook", "webhook.separate", "log.level"} {
		if _, err := helm(t, "template", "mrc", chart, "--kube-version=v1.37.2", "--set", section+"=null"); err == nil || !strings.Contains(err.Error(), "missing property") {
			t.Errorf("without %s: %v", section, err)
		}
	}
}
