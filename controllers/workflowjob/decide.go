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
	// askAgain is how soon GitHub is asked again after it could not be, and askRefused after it refused the credentials.
	askAgain   = 10 * time.Second
	askRefused = time.Minute
	// askJitter spreads the asking out.
	askJitter = 0.3
	// laneWait is about how soon a job tries again to enter a full lane.
	laneWait = 100 * time.Millisecond
)

// decide whether a job is served. What is not known of it is asked of GitHub: whether it is still queued, when only an old
// delivery says so, and whether its code comes from a fork, when the pool serves none. A job that is refused, or of which
// GitHub does not tell enough, says so (I2).
func (r *Reconciler) decide(ctx context.Context, pool *v1alpha1.RunnerPool, job *v1alpha1.WorkflowJob) (ctrl.Result, error) {
	problem := pool.Refusal(job)
	unknown := pool.Undecided(job)
	waits := job.Status.State == v1alpha1.JobQueued || job.Status.State == v1alpha1.JobInProgress && job.Status.Unconfirmed
	if problem != nil || unknown == "" || !waits {
		return ctrl.Result{}, r.explain(ctx, job, problem)
	}
	lane := pool.Namespace + "/" + pool.Spec.GitHub.SecretName
	if !r.lanes.Enter(lane) {
		return ctrl.Result{RequeueAfter: wait.Jitter(laneWait, 1)}, nil
	}
	defer r.lanes.Leave(lane)
	err := r.ask(ctx, pool, job)
	if err == nil {
		// The answer is stored, and the job comes back here with it.
		return ctrl.Result{}, nil
	}
	again := askAgain
	if fault.Is(err, fault.Unauthorized, fault.Forbidden, fault.SecretMissing, fault.SecretInvalid) {
		again = askRefused
	}
	again = wait.Jitter(fault.RetryAfter(err, r.Clock.Now(), again), askJitter)
	log.FromContext(ctx).Info("a job waits until GitHub tells "+unknown, "error", err.Error(), "after", again.Round(time.Second).String())
	if fault.Is(err, fault.Held) {
		return ctrl.Result{RequeueAfter: again}, nil
	}
	return ctrl.Result{RequeueAfter: again}, r.explain(ctx, job, &v1alpha1.JobProblem{
		Reason: v1alpha1.ReasonUndecided, Message: fmt.Sprintf("GitHub does not tell %s: %s", unknown, err),
	})
}

// ask GitHub for the one thing about the job that has to be known next, and store the answer.
func (r *Reconciler) ask(ctx context.Context, pool *v1alpha1.RunnerPool, job *v1alpha1.WorkflowJob) error {
	gh, err := r.GitHub.For(ctx, pool.Namespace, pool.Spec.GitHub, github.ScopeOf(pool.Spec.GitHub.URL, pool.Spec.Scope))
	switch {
	case err != nil:
		return err
	case job.Status.Unconfirmed:
		return r.Recorder.Confirm(ctx, gh, job, r.Clock.Now())
	default:
		return r.Recorder.FindOrigin(ctx, gh, job, r.Clock.Now())
	}
}

// explain on the job why it is not served, and take that back when it is. What went wrong with its sandbox is left alone.
func (r *Reconciler) explain(ctx context.Context, job *v1alpha1.WorkflowJob, problem *v1alpha1.JobProblem) error {
	if job.Status.RunnerName != "" {
		problem = nil
		if job.Status.Problem != nil && !job.Status.Problem.NotServed() {
			return nil
		}
	}
	if equality.Semantic.DeepEqual(problem, job.Status.Problem) {
		return nil
	}
	stored := job.DeepCopy()
	job.Status.Problem = problem
	if err := r.Patch(ctx, job, client.MergeFrom(stored)); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("writing why the job is not served: %w", err))
	}
	if problem != nil && (stored.Status.Problem == nil || stored.Status.Problem.Reason != problem.Reason) {
		r.Events.Eventf(job, nil, corev1.EventTypeWarning, problem.Reason, "Decide", "not served: %s", problem.Message)
	}
	return nil
}
