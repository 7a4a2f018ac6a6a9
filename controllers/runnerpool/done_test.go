package runnerpool

import (
	"context"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// doneRunner of which nothing is left outside, of this pool or another.
func (w *world) doneRunner(name, pool string) {
	w.t.Helper()
	w.runner(name, func(s *v1alpha1.RunnerStatus) { s.Phase = v1alpha1.RunnerRunning })
	var r v1alpha1.Runner
	w.Expect(w.cluster.Get(w.t.Context(), client.ObjectKey{Namespace: "ci", Name: name}, &r)).To(Succeed())
	r.Spec.PoolName, r.Labels = pool, map[string]string{v1alpha1.PoolLabel: pool, v1alpha1.DoneLabel: "true"}
	r.Finalizers = nil
	w.Expect(w.cluster.Update(w.t.Context(), &r)).To(Succeed())
}

func TestRunnersThatAreDoneAreRemovedTogetherAndHoldNothing(t *testing.T) {
	w := newWorld(t)
	requests := 0
	w.reconciler.Live = interceptor.NewClient(w.cluster.(client.WithWatch), interceptor.Funcs{
		DeleteAllOf: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.DeleteAllOfOption) error {
			requests++
			return c.DeleteAllOf(ctx, object, options...)
		},
	})
	w.reconcile()
	for _, name := range []string{"p-0", "p-1", "p-2"} {
		w.doneRunner(name, "p")
	}
	w.doneRunner("q-0", "q")
	w.queue("build", "modal")
	w.reconcile()
	names := func() []string {
		var all []string
		for _, r := range w.runners() {
			all = append(all, r.Name)
		}
		return all
	}
	w.Expect(names()).To(ContainElement("p-3"), "three that are done fill a pool of three")
	w.Expect(names()).To(ContainElements("p-0", "p-1", "p-2"))
	w.Expect(w.result.RequeueAfter).To(And(BeNumerically(">", 0), BeNumerically("<=", doneWait)))
	w.pass(doneWait)
	w.Expect(names()).To(ConsistOf("p-3", "q-0"))
	w.Expect(requests).To(Equal(1))
	w.doneRunner("p-0", "p")
	w.reconcile()
	w.pass(doneWait)
	w.Expect(names()).To(ConsistOf("p-3", "q-0"))
	w.Expect(requests).To(Equal(1), "one alone is removed by its name")
}
