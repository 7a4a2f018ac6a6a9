package e2e

import (
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// kstatus of a pool, as Flux, Argo CD's health checks and kpt see it.
func (w *world) kstatus(pool *v1alpha1.RunnerPool) func() status.Status {
	return func() status.Status {
		object := &unstructured.Unstructured{}
		object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("RunnerPool"))
		w.Expect(plane.Client.Get(w.ctx, client.ObjectKeyFromObject(pool), object)).To(Succeed())
		result, err := status.Compute(object)
		w.Expect(err).NotTo(HaveOccurred())
		return result.Status
	}
}

func TestAPoolsStatusIsUnderstoodByKstatus(t *testing.T) {
	w := newWorld(t, withoutSecrets)
	w.manager.Terminate()
	pool := w.pool("p", 1)
	w.Expect(w.kstatus(pool)()).To(Equal(status.InProgressStatus), "nobody has looked at it yet")
	w.startManager()
	w.Eventually(w.reason(pool)).Should(Equal(v1alpha1.ReasonSecretNotFound))
	w.Expect(w.kstatus(pool)()).To(Equal(status.InProgressStatus), "it heals by itself, so that it has not failed")
	w.createSecrets()
	w.Eventually(w.kstatus(pool)).Should(Equal(status.CurrentStatus))
	w.Expect(w.reason(pool)()).To(Equal(v1alpha1.ReasonReady))
	if out, err := kubectl(t, "", "-n", w.namespace, "wait", "rp/p", "--for=condition=Ready", "--timeout=60s"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}

	w.modal.FailBuilds("curl", "no such host")
	w.patch(pool, `{"spec":{"image":{"dockerfileCommands":["RUN curl example.com"]}}}`)
	w.Eventually(w.reason(pool)).Should(Equal(v1alpha1.ReasonBuildFailed))
	w.Expect(w.kstatus(pool)()).To(Equal(status.InProgressStatus))
	w.patch(pool, `{"spec":{"image":{"dockerfileCommands":null}}}`)
	w.Eventually(w.kstatus(pool)).Should(Equal(status.CurrentStatus))

	id := w.queue("build", "sleep 3")
	w.awaitRunning(id)
	w.Expect(plane.Client.Delete(w.ctx, pool)).To(Succeed())
	w.Expect(w.kstatus(pool)()).To(Equal(status.TerminatingStatus))
	w.Eventually(func() string { return w.condition(pool, v1alpha1.ConditionReady).Message }).Should(ContainSubstring("1 runner"))
	w.awaitAll([]int64{id}, "success")
}
