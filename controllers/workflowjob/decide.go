package workflowjob

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/github"
)

const (
	// askAgain is how soon GitHub is asked again after it could not be.
	askAgain = 10 * time.Second
	// askJitter spreads the asking out.
	askJitter = 0.3
	// laneWait is about how soon a job tries again to enter a full lane.
	laneWait = 100 * time.Millisecond
)

// decide whether a job is served, by asking GitHub what is not known of it: whether it is still queued, when only an old
// delivery says so, and whether its code comes from a fork, when the pool serves none.
func (r *Reconciler) decide(ctx context.Context, pool *v1alpha1.RunnerPool, job *v1alpha1.WorkflowJob) (ctrl.Result, error) {
	unknown := pool.Undecided(job)
	if unknown == "" || job.Status.State == v1alpha1.JobWaiting || job.Status.State == v1alpha1.JobInProgress && !job.Status.Unconfirmed {
		return ctrl.Result{}, nil
	}
	lane := pool.Namespace + "/" + pool.Spec.GitHub.SecretName
	if !r.lanes.Enter(lane) {
		return ctrl.Result{RequeueAfter: wait.Jitter(laneWait, 1)}, nil
	}
	defer r.lanes.Leave(lane)
	gh, err := r.GitHub.For(ctx, pool.Namespace, pool.Spec.GitHub, github.ScopeOf(pool.Spec.GitHub.URL, pool.Spec.Scope))
	switch {
	case err != nil:
	case job.Status.Unconfirmed:
		err = r.Recorder.Confirm(ctx, gh, job, r.Clock.Now())
	default:
		err = r.Recorder.FindOrigin(ctx, gh, job, r.Clock.Now())
	}
	if err == nil {
		return ctrl.Result{}, nil
	}
	again := wait.Jitter(fault.RetryAfter(err, r.Clock.Now(), askAgain), askJitter)
	log.FromContext(ctx).Info("a job waits until GitHub tells "+unknown, "error", err.Error(), "after", again.Round(time.Second).String())
	return ctrl.Result{RequeueAfter: again}, nil
}

// explain on the job why its pool refuses it, and take that back when it does not any more.
func (r *Reconciler) explain(ctx context.Context, pool *v1alpha1.RunnerPool, job *v1alpha1.WorkflowJob) error {
	if job.Status.RunnerName != "" {
		return nil
	}
	refusal := pool.Refusal(job)
	if equality.Semantic.DeepEqual(refusal, job.Status.Problem) {
		return nil
	}
	stored := job.DeepCopy()
	job.Status.Problem = refusal
	if err := r.Patch(ctx, job, client.MergeFrom(stored)); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("writing why the job is refused: %w", err))
	}
	if refusal != nil {
		r.Events.Eventf(job, nil, corev1.EventTypeWarning, refusal.Reason, "Refuse", "not served: %s", refusal.Message)
	}
	return nil
}
