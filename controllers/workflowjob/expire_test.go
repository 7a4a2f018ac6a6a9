package workflowjob

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// over makes jobs that were over at a time after noon.
func (w *world) over(after time.Duration, pool string, names ...string) {
	w.t.Helper()
	for _, name := range names {
		at := metav1.NewTime(noon.Add(after))
		job := &v1alpha1.WorkflowJob{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: name, Labels: map[string]string{v1alpha1.PoolLabel: pool}},
			Spec:       v1alpha1.WorkflowJobSpec{PoolName: pool, ID: 1, RunID: 1, Repository: "octo/widgets", Labels: []string{"modal"}},
			Status:     v1alpha1.WorkflowJobStatus{State: v1alpha1.JobCompleted, CompletedAt: &at},
		}
		job.LabelCompleted()
		w.Expect(w.cluster.Create(w.t.Context(), job)).To(Succeed())
	}
}

func (w *world) left() []string {
	w.t.Helper()
	var jobs v1alpha1.WorkflowJobList
	w.Expect(w.cluster.List(w.t.Context(), &jobs)).To(Succeed())
	var names []string
	for _, job := range jobs.Items {
		names = append(names, job.Name)
	}
	return names
}

func TestJobsThatWereOverAtOnceAreRemovedWithOneRequest(t *testing.T) {
	w := newWorld(t)
	requests, away := 0, true
	w.reconciler.Live = interceptor.NewClient(w.cluster.(client.WithWatch), interceptor.Funcs{
		DeleteAllOf: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.DeleteAllOfOption) error {
			if requests++; away {
				return errors.New("the API server is away")
			}
			return c.DeleteAllOf(ctx, object, options...)
		},
	})
	var at []string
	for i := range 100 {
		at = append(at, fmt.Sprintf("a-%d", i))
	}
	w.over(time.Second, "p", at...)
	w.over(30*time.Second, "p", "later")
	w.over(time.Second, "other", "anothers")
	reconcile := func(name string) (ctrl.Result, error) {
		return w.reconciler.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "ci", Name: name}})
	}
	w.Clock.Step(time.Hour + 5*time.Second)
	w.Expect(reconcile("a-0")).To(Equal(ctrl.Result{RequeueAfter: 5 * time.Second}), "until the whole step is over for so long")
	w.Clock.Step(5 * time.Second)
	_, err := reconcile("a-0")
	w.Expect(err).To(MatchError(ContainSubstring("the API server is away")))
	away = false
	for _, name := range at {
		w.Expect(reconcile(name)).To(Equal(ctrl.Result{RequeueAfter: removeAgain}))
	}
	w.Clock.Step(removeAgain)
	for _, name := range at {
		_, err := reconcile(name)
		w.Expect(err).NotTo(HaveOccurred())
	}
	w.Expect(requests).To(Equal(2))
	w.Expect(w.left()).To(ConsistOf("job-1", "later", "anothers"))
}
