// Command jsonschemas makes what kubeconform checks objects by, from what ships with the sources of Kubernetes and of CRDs, so that
// nothing has to be downloaded: `jsonschemas OUT OPENAPI CRDS...`. OPENAPI is the folder with Kubernetes' OpenAPI v3 documents, CRDS
// are files or folders. The schemas are strict: they allow no field that they do not know.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: jsonschemas OUT OPENAPI CRDS...")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// types are schemas by their names.
type types map[string]any

func run(out, openapi string, crds []string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	builtIn, err := readOpenAPI(openapi)
	if err != nil {
		return err
	}
	for _, t := range builtIn {
		kinds, _ := t.(map[string]any)["x-kubernetes-group-version-kind"].([]any)
		for _, k := range kinds {
			kind := k.(map[string]any)
			if err := write(out, kind["group"].(string), kind["version"].(string), kind["kind"].(string), t.(map[string]any), builtIn); err != nil {
				return err
			}
		}
	}
	for _, path := range crds {
		if err := writeCRDs(out, path, builtIn); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// readOpenAPI gives the types of all documents in a folder.
func readOpenAPI(folder string) (types, error) {
	documents, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(documents) == 0 {
		return nil, errors.Join(fmt.Errorf("no OpenAPI documents in %s", folder), err)
	}
	all := types{}
	for _, path := range documents {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var document struct {
			Components struct {
				Schemas types `json:"schemas"`
			} `json:"components"`
		}
		if err := json.Unmarshal(text, &document); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		maps.Copy(all, document.Components.Schemas)
	}
	for _, t := range all {
		tighten(t)
	}
	return all, nil
}

func writeCRDs(out, path string, builtIn types) error {
	files, err := filepath.Glob(filepath.Join(path, "*.yaml"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		files = []string{path}
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(text, &crd); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if crd.Kind != "CustomResourceDefinition" {
			continue
		}
		for _, version := range crd.Spec.Versions {
			text, err := json.Marshal(version.Schema.OpenAPIV3Schema)
			if err != nil {
				return err
			}
			var t map[string]any
			if err := json.Unmarshal(text, &t); err != nil {
				return err
			}
			t["properties"].(map[string]any)["metadata"] = map[string]any{"$ref": components + "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
			tighten(t)
			if err := write(out, crd.Spec.Group, version.Name, crd.Spec.Names.Kind, t, builtIn); err != nil {
				return err
			}
		}
	}
	return nil
}

const (
	components  = "#/components/schemas/"
	definitions = "#/definitions/"
)

// write the schema of a kind, with all that it refers to.
func write(out, group, version, kind string, t map[string]any, all types) error {
	used := types{}
	collect(t, all, used)
	whole := maps.Clone(t)
	whole["definitions"] = used
	text, err := json.Marshal(whole)
	if err != nil {
		return err
	}
	if group == "" {
		group = version // so does kubeconform name the group that has no name
	}
	name := strings.ToLower(fmt.Sprintf("%s_%s_%s.json", kind, group, version))
	return os.WriteFile(filepath.Join(out, name), []byte(strings.ReplaceAll(string(text), components, definitions)), 0o644)
}

// collect what a schema refers to, and what that does.
func collect(value any, all, used types) {
	switch v := value.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			name := strings.TrimPrefix(ref, components)
			if _, known := used[name]; !known {
				used[name] = all[name]
				collect(all[name], all, used)
			}
		}
		for _, inner := range v {
			collect(inner, all, used)
		}
	case []any:
		for _, inner := range v {
			collect(inner, all, used)
		}
	}
}

// tighten a schema: an object has no fields but those that are named, unless it keeps others.
func tighten(value any) {
	switch v := value.(type) {
	case map[string]any:
		_, fields := v["properties"].(map[string]any)
		_, open := v["additionalProperties"]
		if fields && !open && v["x-kubernetes-preserve-unknown-fields"] != true {
			v["additionalProperties"] = false
		}
		if v["x-kubernetes-int-or-string"] == true {
			v["oneOf"] = []any{map[string]any{"type": "integer"}, map[string]any{"type": "string"}}
			delete(v, "type")
			delete(v, "anyOf")
		}
		for _, inner := range v {
			tighten(inner)
		}
	case []any:
		for _, inner := range v {
			tighten(inner)
		}
	}
}
