package chart

import (
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The API server's own admission says whether a Pod fits the restricted Pod Security Standard.
func TestAllPodsRunUnderTheRestrictedPodSecurityStandard(t *testing.T) {
	restricted(t, "restricted")
	for _, file := range valuesFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			pods := podsOf(t, rendered(t, "-f", file))
			if len(pods) == 0 {
				t.Fatal("there are no Pods")
			}
			for _, pod := range pods {
				if err := admit(t, pod, "restricted"); err != nil {
					t.Errorf("%s: %v", pod.Name, err)
				}
			}
		})
	}
}

// What the test above relies on: a Pod that asks for more is refused.
func TestAPodThatMayGainPrivilegesIsRefused(t *testing.T) {
	restricted(t, "restricted-too")
	for _, wrong := range []string{
		"securityContext.allowPrivilegeEscalation=true", "podSecurityContext.runAsNonRoot=false", "podSecurityContext.seccompProfile=null",
		"securityContext.capabilities=null",
	} {
		for _, pod := range podsOf(t, rendered(t, "--set", wrong)) {
			if err := admit(t, pod, "restricted-too"); err == nil || !strings.Contains(err.Error(), "violates PodSecurity") {
				t.Errorf("%s: %s: %v", wrong, pod.Name, err)
			}
		}
	}
}

// restricted namespace, and what the Pods of the values name.
func restricted(t *testing.T, name string) {
	t.Helper()
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}},
		&nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "gvisor"}, Handler: "runsc"},
	} {
		if err := cluster.Create(t.Context(), o); client.IgnoreAlreadyExists(err) != nil {
			t.Fatal(err)
		}
	}
}

// podsOf the objects: those that there are, and one of each Deployment and Job.
func podsOf(t *testing.T, objects []unstructured.Unstructured) []*corev1.Pod {
	t.Helper()
	var pods []*corev1.Pod
	for _, o := range objects {
		template := o.Object
		switch o.GetKind() {
		case "Pod":
		case "Deployment", "Job":
			template, _, _ = unstructured.NestedMap(o.Object, "spec", "template")
		default:
			continue
		}
		pod := &corev1.Pod{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(template, pod, true); err != nil {
			t.Fatal(err)
		}
		pod.Name = o.GetName()
		pods = append(pods, pod)
	}
	return pods
}

// admit a Pod, without making it.
func admit(t *testing.T, pod *corev1.Pod, namespace string) error {
	t.Helper()
	pod = pod.DeepCopy()
	pod.Namespace, pod.ResourceVersion = namespace, ""
	account := pod.Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	err := cluster.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account}})
	if client.IgnoreAlreadyExists(err) != nil {
		t.Fatal(err)
	}
	if pod.Spec.PriorityClassName == "system-cluster-critical" {
		// Elsewhere than in kube-system a quota has to allow it, on some clusters; which class it is has nothing to do with this.
		pod.Spec.PriorityClassName = ""
	}
	return cluster.Create(t.Context(), pod, client.DryRunAll)
}
