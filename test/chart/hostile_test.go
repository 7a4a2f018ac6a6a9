package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// with writes values into a file, as which they are read otherwise than from --set.
func with(t *testing.T, values string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(path, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// looksOtherwise are names and other words that are valid, and that YAML takes for a number, a truth value, an alias or nothing where
// they are not quoted.
const looksOtherwise = `
fullnameOverride: "on"
nameOverride: "1e3"
commonLabels: {a: "1", b: "true"}
commonAnnotations: {a: "null", b: "two\nlines"}
shards: [{name: "1", poolSelector: "!a"}, {name: "0x2", poolSelector: "a in (b)"}]
watchNamespaces: ["4567"]
serviceAccount: {name: "123"}
priorityClassName: "1"
runtimeClassName: "2"
schedulerName: "true"
caBundle: {configMapName: "5"}
extraArgs: ["--x=y: z", "- a", "# b", "two\nlines"]
extraEnv: [{name: A, value: "1"}]
nodeSelector: {a: "true"}
runnerPools: [{name: "7", namespace: "4567", labels: {a: "1"}, spec: {labels: ["yes"], x: "two\nlines\n"}}]
webhook:
  secrets: {"8": "9", "true": "null"}
  separate: {enabled: true, serviceAccount: {name: "10"}, podLabels: {c: "no"}}
  service: {loadBalancerClass: "11", type: LoadBalancer}
  ingress: {enabled: true, host: "*.example.com", className: "12", tlsSecretName: "13"}
metrics: {readers: [{name: "14", namespace: "4567"}]}
networkPolicy: {enabled: true}
# A Pod of it would need the classes to be there; the Jobs' Pods are made in the same way.
helmTest: {enabled: false}
`

func TestNoNameIsTakenForAnythingElse(t *testing.T) {
	g := NewWithT(t)
	const namespace = "4567"
	g.Expect(cluster.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})).To(Succeed())
	objects := renderedAs(t, "1234", namespace, "-f", with(t, looksOtherwise), "--set", "crds.install=false")
	g.Expect(len(objects)).To(BeNumerically(">", 20))
	strict := client.WithFieldValidation(cluster, metav1.FieldValidationStrict)
	for _, o := range objects {
		if ns := o.GetNamespace(); ns != "" {
			g.Expect(ns).To(Equal(namespace))
		}
		g.Expect(strict.Create(t.Context(), &o, client.DryRunAll)).To(Succeed(), "%s %s", o.GetKind(), o.GetName())
	}
}

func one(t *testing.T, objects []unstructured.Unstructured, kind string) map[string]any {
	t.Helper()
	for _, o := range objects {
		if o.GetKind() == kind {
			return o.Object
		}
	}
	t.Fatalf("no %s", kind)
	return nil
}

// A rule without ports is one for all ports.
func TestWithoutPortsNothingIsReachedButNames(t *testing.T) {
	g := NewWithT(t)
	policy := one(t, rendered(t, "-f", with(t, "networkPolicy: {enabled: true, egressPorts: []}")), "NetworkPolicy")
	egress, _, err := unstructured.NestedSlice(policy, "spec", "egress")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(egress).To(HaveLen(1), "%v", egress)
	g.Expect(egress[0]).To(HaveKeyWithValue("ports", Not(BeEmpty())))
}

func TestTheMemoryLimitIsToldToGo(t *testing.T) {
	for limit, want := range map[string]string{
		"512Mi": "483183820", "1.5Gi": "1449551462", "512M": "460800000", "2G": "1800000000", "0.5Gi": "483183820",
		"536870912": "483183820", `"536870912"`: "483183820", "5e8": "450000000", "64Ti": "63331869759897", "100k": "90000",
		"512000000000m": "", "1Ei": "",
	} {
		deployment := one(t, rendered(t, "-f", with(t, "resources: {limits: {memory: "+limit+"}}")), "Deployment")
		containers, _, err := unstructured.NestedSlice(deployment, "spec", "template", "spec", "containers")
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, variable := range containers[0].(map[string]any)["env"].([]any) {
			if v := variable.(map[string]any); v["name"] == "GOMEMLIMIT" {
				got = v["value"].(string)
			}
		}
		if got != want {
			t.Errorf("of a limit of %s GOMEMLIMIT is %q, want %q", limit, got, want)
		}
	}
}

// Who may make no rights has others make them, all of them.
func TestNoRightsAreMadeWhereOthersMakeThem(t *testing.T) {
	objects := rendered(t, "-f", with(t, `
rbac: {create: false}
runnerPools: [{name: p, spec: {}}]
webhook: {separate: {enabled: true}}
metrics: {readers: [{name: prometheus, namespace: monitoring}]}
`))
	for _, o := range objects {
		if strings.HasPrefix(o.GetAPIVersion(), "rbac.authorization.k8s.io/") {
			t.Errorf("%s %s", o.GetKind(), o.GetName())
		}
	}
}
