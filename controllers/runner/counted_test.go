package runner

import (
	"context"
	"testing"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/simulators/runner"
)

// counted is the sum of a counter's series, or how often a histogram's were observed.
func (w *world) counted(name string) float64 {
	w.t.Helper()
	families, err := metrics.Registry.Gather()
	w.Expect(err).NotTo(HaveOccurred())
	sum := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			sum += metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// conflict at the next write of the status, as where the cache was behind. It is given how many are left.
func (w *world) conflict() *int {
	left := 1
	w.reconciler.Client = interceptor.NewClient(w.cluster.(client.WithWatch), interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, object client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			if left > 0 {
				left--
				return apierrors.NewConflict(schema.GroupResource{Resource: "runners"}, object.GetName(), nil)
			}
			return c.SubResource(sub).Patch(ctx, object, patch, opts...)
		},
	})
	return &left
}

// What could not be stored is found, and done, a second time. It counts once.
func TestAnAttemptWhoseFailureCouldNotBeStoredCountsOnce(t *testing.T) {
	w := newWorld(t, runner.Crash)
	failures, ended := w.counted("modalrunner_runner_attempt_failures_total"), w.counted("modalrunner_sandboxes_ended_total")
	w.launch()
	w.Eventually(func() int { return len(w.Modal.Alive(nil)) }).Should(BeZero())
	left := w.conflict()
	w.pass(listInterval)
	w.Expect(*left).To(BeZero())
	w.Expect(w.failure()).To(BeEmpty(), "it could not be stored")
	w.Expect(w.counted("modalrunner_runner_attempt_failures_total")).To(Equal(failures))
	w.Expect(w.counted("modalrunner_sandboxes_ended_total")).To(Equal(ended))
	// The lists are asked for again, and then tell of it.
	w.pass(listInterval)
	w.pass(listInterval)
	w.Expect(w.failure()).To(Equal(v1alpha1.ReasonRunnerCrashed))
	w.Expect(w.counted("modalrunner_runner_attempt_failures_total")).To(Equal(failures + 1))
	w.Expect(w.counted("modalrunner_sandboxes_ended_total")).To(Equal(ended + 1))
}
