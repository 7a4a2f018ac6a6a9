package install

import (
	"slices"
	"strings"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
)

// passing are kinds of objects that come and go by themselves, or show others.
var passing = []string{"events", "endpoints", "endpointslices", "componentstatuses"}

// everything that is in the cluster, as "resource.group namespace/name". Events end by themselves.
func (w *world) everything() map[string]bool {
	w.t.Helper()
	lists, err := discovery.NewDiscoveryClientForConfigOrDie(plane.Config).ServerPreferredResources()
	w.Expect(err).NotTo(HaveOccurred())
	objects, err := dynamic.NewForConfig(plane.Config)
	w.Expect(err).NotTo(HaveOccurred())
	found := map[string]bool{}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		w.Expect(err).NotTo(HaveOccurred())
		for _, r := range list.APIResources {
			if !slices.Contains(r.Verbs, "list") || slices.Contains(passing, r.Name) {
				continue
			}
			all, err := objects.Resource(gv.WithResource(r.Name)).List(w.ctx, metav1.ListOptions{})
			w.Expect(err).NotTo(HaveOccurred(), "listing %s", r.Name)
			for _, o := range all.Items {
				found[strings.TrimSuffix(r.Name+"."+gv.Group, ".")+" "+strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/")] = true
			}
		}
	}
	return found
}

// left over since the world began, sorted.
func (w *world) leftOver() []string {
	w.t.Helper()
	var left []string
	for object := range w.everything() {
		if !w.before[object] {
			left = append(left, object)
		}
	}
	slices.Sort(left)
	return left
}
