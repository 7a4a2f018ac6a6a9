package main

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The differences that are agreed:
//
//   - kustomize makes the namespace, `helm install --create-namespace` does for the chart;
//   - the chart has hooks, which are Helm's own;
//   - the chart has the price table in its values, and so a ConfigMap; the manager has the same table built in, which kustomize
//     leaves it to (a test of internal/cost holds the two against each other);
//   - Helm's own labels and annotations, and the name of the release in selectors.
const (
	prices       = "prices"
	pricesFlag   = "--prices-file="
	hookMark     = "helm.sh/hook"
	checksumMark = "checksum/"
)

var helmLabels = []string{"app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"}

// ofOneSide says that an object is there in one of the two alone, as agreed.
func ofOneSide(o *unstructured.Unstructured) bool {
	_, hook := o.GetAnnotations()[hookMark]
	return hook || o.GetKind() == "Namespace" || o.GetKind() == "ConfigMap" && strings.HasSuffix(o.GetName(), "-"+prices)
}

func dropAgreed(o *unstructured.Unstructured) {
	dropMarks(o.Object)
	pod, found, _ := unstructured.NestedMap(o.Object, "spec", "template", "spec")
	if !found {
		return
	}
	pod["volumes"] = without(pod["volumes"], named)
	containers, _ := pod["containers"].([]any)
	for _, c := range containers {
		container := c.(map[string]any)
		container["volumeMounts"] = without(container["volumeMounts"], named)
		container["args"] = without(container["args"], func(arg any) bool { return strings.HasPrefix(arg.(string), pricesFlag) })
	}
	_ = unstructured.SetNestedMap(o.Object, pod, "spec", "template", "spec")
}

func named(volume any) bool { return volume.(map[string]any)["name"] == prices }

func without(list any, agreed func(any) bool) any {
	items, _ := list.([]any)
	return slices.DeleteFunc(items, agreed)
}

// dropMarks of Helm's, wherever there are labels and annotations, and maps that have become empty by that.
func dropMarks(value any) {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			if marks, ok := inner.(map[string]any); ok && slices.Contains([]string{"labels", "annotations", "matchLabels", "selector"}, key) {
				for mark := range marks {
					if slices.Contains(helmLabels, mark) || strings.HasPrefix(mark, "helm.sh/") || strings.HasPrefix(mark, checksumMark) {
						delete(marks, mark)
					}
				}
				if len(marks) == 0 {
					delete(v, key)
				}
			}
			dropMarks(inner)
		}
	case []any:
		for _, inner := range v {
			dropMarks(inner)
		}
	}
}
