// Command parity compares what the chart and kustomize give: `parity CHART.yaml KUSTOMIZE.yaml`. It fails and prints a diff when
// an object is missing in one of them, or anything in it differs, but for what agreed.go names.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func main() {
	differences, err := run(os.Args[1:])
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	case differences > 0:
		fmt.Fprintf(os.Stderr, "the chart (-) and kustomize (+) differ in %d objects\n", differences)
		os.Exit(1)
	}
}

func run(arguments []string) (int, error) {
	if len(arguments) != 2 {
		return 0, errors.New("give the file of the chart's objects and that of kustomize's")
	}
	var sides [2]map[string]map[string]any
	for i, path := range arguments {
		file, err := os.Open(path)
		if err != nil {
			return 0, err
		}
		defer func() { _ = file.Close() }()
		if sides[i], err = read(file); err != nil {
			return 0, fmt.Errorf("reading %s: %w", path, err)
		}
		if len(sides[i]) == 0 {
			return 0, fmt.Errorf("%s has no objects", path)
		}
	}
	names := maps.Clone(sides[0])
	maps.Copy(names, sides[1])
	differences := 0
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if diff := cmp.Diff(sides[0][name], sides[1][name]); diff != "" {
			fmt.Printf("%s:\n%s\n", name, diff)
			differences++
		}
	}
	return differences, nil
}

// read objects by kind, namespace and name, without what may differ.
func read(from io.Reader) (map[string]map[string]any, error) {
	objects := map[string]map[string]any{}
	for decoder := yaml.NewYAMLOrJSONDecoder(bufio.NewReader(from), 4096); ; {
		var o unstructured.Unstructured
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(o.Object) == 0 || ofOneSide(&o) {
			continue
		}
		dropAgreed(&o)
		name := fmt.Sprintf("%s %s/%s", o.GroupVersionKind(), o.GetNamespace(), o.GetName())
		if _, twice := objects[name]; twice {
			return nil, fmt.Errorf("%s is there twice", name)
		}
		objects[name] = o.Object
	}
}
