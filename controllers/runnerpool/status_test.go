package runnerpool

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/test/simulated"
)

// A message says what is wrong, and what to do about it.
func TestWhatIsWrongSaysWhatToDo(t *testing.T) {
	for name, test := range map[string]struct {
		wrong        func(*world)
		kind, reason string
		says         []string
	}{
		"GitHub refuses the credentials": {
			func(w *world) { w.GitHub.RevokeToken(simulated.Token) },
			v1alpha1.ConditionGitHubReady, v1alpha1.ReasonUnauthorized, []string{"Bad credentials", "replace the credentials in Secret ci/github"},
		},
		"Modal refuses the credentials": {
			func(w *world) { w.Modal.RevokeToken(simulated.ModalID) },
			v1alpha1.ConditionModalReady, v1alpha1.ReasonUnauthorized, []string{"replace the credentials in Secret ci/modal"},
		},
		"there is no Secret": {
			func(w *world) {
				secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "github"}}
				w.Expect(w.cluster.Delete(w.t.Context(), secret)).To(Succeed())
			},
			v1alpha1.ConditionGitHubReady, v1alpha1.ReasonSecretNotFound, []string{"Secret ci/github", "create it"},
		},
		"the Secret lacks a key": {
			func(w *world) {
				secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "modal"}}
				w.Expect(w.cluster.Update(w.t.Context(), secret)).To(Succeed())
			},
			v1alpha1.ConditionModalReady, v1alpha1.ReasonSecretInvalid, []string{"Secret ci/modal", "token_id", "add it"},
		},
		"what the template names is not there": {
			func(w *world) {
				w.change(func(s *v1alpha1.RunnerPoolSpec) { s.Sandbox.Proxy = "office" })
			},
			v1alpha1.ConditionTemplateReady, v1alpha1.ReasonReferenceNotFound, []string{"office", "create it at Modal, or correct spec.sandbox"},
		},
		"the pool is suspended": {
			func(w *world) { w.change(func(s *v1alpha1.RunnerPoolSpec) { s.Suspend = true }) },
			v1alpha1.ConditionReady, v1alpha1.ReasonSuspended, []string{"spec.suspend"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			test.wrong(w)
			w.reconcile()
			w.Expect(w.reason(test.kind)).To(Equal(test.reason))
			for _, says := range test.says {
				w.Expect(w.message(test.kind)).To(ContainSubstring(says))
			}
			for _, c := range w.current().Status.Conditions {
				w.Expect(c.ObservedGeneration).To(Equal(w.current().Generation), c.Type)
			}
			w.Expect(w.current().Status.ObservedGeneration).To(Equal(w.current().Generation))
		})
	}
}
