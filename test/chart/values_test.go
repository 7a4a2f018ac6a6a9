package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
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

func TestEveryValueIsInTheSchemaAndDescribedTheSame(t *testing.T) {
	text, err := os.ReadFile(chart + "/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var root valuesSchema
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	inSchema := map[string]string{}
	root.described("", inSchema, t)
	if text, err = os.ReadFile(chart + "/values.yaml"); err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	inValues := map[string]string{}
	commented(document.Content[0], "", inValues)
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
