package chart

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	patience = 90 * time.Second
	often    = 50 * time.Millisecond
)

var (
	poolKind       = schema.GroupVersionKind{Group: "modalrunner.dev", Version: "v1alpha1", Kind: "RunnerPool"}
	crdKind        = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}
	deploymentKind = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
)

// release of the chart, in a namespace of its own.
type release struct {
	*WithT
	t         *testing.T
	namespace string
	chart     string
	kubelet   *kubelet
}

func newRelease(t *testing.T, namespace string) *release {
	t.Helper()
	r := &release{WithT: NewWithT(t), t: t, namespace: namespace, chart: filepath.Join(t.TempDir(), "chart")}
	r.SetDefaultEventuallyTimeout(patience)
	r.SetDefaultEventuallyPollingInterval(often)
	r.Expect(os.CopyFS(r.chart, os.DirFS(chart))).To(Succeed())
	r.Expect(cluster.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})).To(Succeed())
	r.kubelet = startKubelet(t, namespace)
	return r
}

// values with these RunnerPools, each as NAME=MAXCONCURRENCY.
func (r *release) values(pools ...string) string {
	text := "watchNamespaces: [" + r.namespace + "]\nrunnerPools:\n"
	for _, pool := range pools {
		name, limit, _ := strings.Cut(pool, "=")
		text += fmt.Sprintf("- {name: %s, labels: {team: a}, spec: {repository: octo/widgets, labels: [modal], maxConcurrency: %s}}\n", name, limit)
	}
	if len(pools) == 0 {
		text += "  []\n"
	}
	path := filepath.Join(r.t.TempDir(), "values.yaml")
	r.Expect(os.WriteFile(path, []byte(text), 0o600)).To(Succeed())
	return path
}

// helm does something with the release.
func (r *release) helm(command string, arguments ...string) error {
	r.t.Helper()
	_, err := helm(r.t, append([]string{command, "mrc", "--namespace=" + r.namespace}, arguments...)...)
	return err
}

func (r *release) must(command string, arguments ...string) {
	r.t.Helper()
	if err := r.helm(command, arguments...); err != nil {
		r.t.Fatalf("%v\n%s", err, r.kubelet.said())
	}
}

// pools that there are, each as NAME=MAXCONCURRENCY.
func (r *release) pools() []string {
	r.t.Helper()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(poolKind)
	r.Expect(cluster.List(r.t.Context(), list, client.InNamespace(r.namespace))).To(Succeed())
	var pools []string
	for _, pool := range list.Items {
		limit, _, _ := unstructured.NestedInt64(pool.Object, "spec", "maxConcurrency")
		pools = append(pools, fmt.Sprintf("%s=%d", pool.GetName(), limit))
	}
	return pools
}

// object of the release's namespace or of the cluster, nil when there is none.
func (r *release) object(kind schema.GroupVersionKind, name string) *unstructured.Unstructured {
	r.t.Helper()
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(kind)
	key := client.ObjectKey{Namespace: r.namespace, Name: name}
	if kind == crdKind {
		key.Namespace = ""
	}
	if err := cluster.Get(r.t.Context(), key, o); err != nil {
		r.Expect(client.IgnoreNotFound(err)).To(Succeed())
		return nil
	}
	return o
}

// Pools come with the very installation that makes their kind known, follow upgrades, and are ended before the manager goes. The
// CRDs are upgraded, and stay.
func TestPoolsAndTheirKindThroughTheLifeOfARelease(t *testing.T) {
	r := newRelease(t, "pools")
	r.Expect(r.object(crdKind, "runnerpools.modalrunner.dev")).To(BeNil(), "the kind is known already: the test would show nothing")

	r.must("install", r.chart, "-f", r.values("a=1"))
	r.Expect(r.pools()).To(Equal([]string{"a=1"}))
	first := r.object(poolKind, "a")
	r.Expect(first.GetLabels()).To(HaveKeyWithValue("team", "a"))

	r.addToCRD()
	r.must("upgrade", r.chart, "-f", r.values("a=2", "b=1"))
	r.Expect(r.pools()).To(Equal([]string{"a=2", "b=1"}))
	r.Expect(r.object(poolKind, "a").GetUID()).To(Equal(first.GetUID()), "the upgrade made the pool anew")
	versions, _, _ := unstructured.NestedSlice(r.object(crdKind, "runnerpools.modalrunner.dev").Object, "spec", "versions")
	_, upgraded, _ := unstructured.NestedMap(versions[0].(map[string]any), "schema", "openAPIV3Schema", "properties", "later")
	r.Expect(upgraded).To(BeTrue(), "the CRD was not upgraded with the chart")

	r.must("rollback", "1")
	r.Expect(r.pools()).To(Equal([]string{"a=1"}))
	r.must("upgrade", r.chart, "-f", r.values())
	r.Expect(r.pools()).To(BeEmpty())
	r.must("upgrade", r.chart, "-f", r.values("a=3"))

	r.uninstallWhileBusy("a")
	r.Expect(r.pools()).To(BeEmpty())
	r.Expect(r.object(crdKind, "runnerpools.modalrunner.dev")).NotTo(BeNil(), "the CRDs went with the release")
}

// A pool that cannot be is told by Helm itself; what others made is left.
func TestAPoolThatIsRefusedFailsTheUpgrade(t *testing.T) {
	r := newRelease(t, "refused")
	// The CRDs belong to whoever installed them first.
	arguments := []string{r.chart, "--set", "crds.install=" + fmt.Sprint(r.object(crdKind, "runnerpools.modalrunner.dev") == nil)}
	foreign := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"repository": "octo/gadgets", "labels": []any{"modal"}, "maxConcurrency": int64(7),
	}}}
	foreign.SetGroupVersionKind(poolKind)
	foreign.SetNamespace(r.namespace)
	foreign.SetName("foreign")
	r.must("install", append(arguments, "-f", r.values("a=1"))...)
	r.Expect(cluster.Create(t.Context(), foreign)).To(Succeed())
	for pool, complaint := range map[string]string{
		"b=-1":         "should be greater than or equal to 0",
		"foreign=1":    "there is one that this release did not make",
		"b=1, typo: 1": ".spec.typo: field not declared in schema",
	} {
		r.Expect(r.helm("upgrade", append(arguments, "-f", r.values("a=2", pool))...)).NotTo(Succeed(), pool)
		r.Expect(r.kubelet.said()).To(ContainSubstring(complaint))
		r.Expect(r.pools()).To(Equal([]string{"a=2", "foreign=7"}), "one pool's fault is another's")
	}
	r.must("uninstall")
	r.Expect(r.pools()).To(Equal([]string{"foreign=7"}))
}

// uninstallWhileBusy, while a finalizer holds a pool, as the manager's does until its sandboxes have ended.
func (r *release) uninstallWhileBusy(name string) {
	r.t.Helper()
	patch := func(finalizers string) {
		pool := r.object(poolKind, name)
		r.Expect(cluster.Patch(r.t.Context(), pool, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":`+finalizers+`}}`)))).To(Succeed())
	}
	manager := func() *unstructured.Unstructured { return r.object(deploymentKind, "mrc-modal-runner-controller") }
	patch(`["example.com/busy"]`)
	done := make(chan error, 1)
	go func() { done <- r.helm("uninstall") }()
	r.Eventually(func() bool { return r.object(poolKind, name).GetDeletionTimestamp() != nil }).Should(BeTrue())
	r.Consistently(manager, "3s", "200ms").ShouldNot(BeNil(), "the manager goes before its pools are ended")
	r.Expect(done).NotTo(Receive())
	patch("null")
	r.Eventually(done).Should(Receive(BeNil()))
	r.Expect(manager()).To(BeNil())
}

// addToCRD a field, as a later version of the chart may.
func (r *release) addToCRD() {
	r.t.Helper()
	path := filepath.Join(r.chart, "files", "crds", "modalrunner.dev_runnerpools.yaml")
	text, err := os.ReadFile(path)
	r.Expect(err).NotTo(HaveOccurred())
	const before = "        properties:\n          apiVersion:"
	changed := strings.Replace(string(text), before, "        properties:\n          later: {type: string}\n          apiVersion:", 1)
	r.Expect(changed).NotTo(Equal(string(text)), "the CRD is not as expected")
	r.Expect(os.WriteFile(path, []byte(changed), 0o600)).To(Succeed())
}
