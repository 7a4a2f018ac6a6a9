package workflowjob

import (
	"context"
	"fmt"
	"maps"
	"sync"
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
	"github.com/modalrunner/modal-runner-controller/internal/tracing"
)

const (
	// askAgain is how soon GitHub is asked again after it could not be, and askRefused after it refused the credentials.
	askAgain   = 10 * time.Second
	askRefused = time.Minute
	// askJitter spreads the asking out.
	askJitter = 0.3
	// laneWait is the time between two jobs that try again to enter a full lane, however many there are.
	laneWait = 50 * time.Millisecond
)

// turns are when the next job that met a full lane tries again: they come back one after the other, so that a thousand of them
// cost no more than one (I8).
type turns struct {
	mu   sync.Mutex
	next map[string]time.Time
}

// take a turn in a lane, and say how long it is until then.
func (t *turns) take(lane string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.next, func(_ string, next time.Time) bool { return next.Before(now) })
	if t.next == nil {
		t.next = map[string]time.Time{}
	}
	at := now.Add(laneWait)
	if after := t.next[lane].Add(laneWait); after.After(at) {
		at = after
	}
	t.next[lane] = at
	return at.Sub(now)
}

// refusedUntil is when GitHub may be asked about a job again that it could not be asked about, unless its pool is changed.
type refusedUntil struct {
	at         time.Time
	generation int64
}

// waitsToAsk says how long it is too early to ask about a job again, whatever has woken it: its own patch does, that says why
// it waits (I8).
func (r *Reconciler) waitsToAsk(pool *v1alpha1.RunnerPool, job *v1alpha1.WorkflowJob) time.Duration {
	until, ok := r.notBefore.Load(client.ObjectKeyFromObject(job))
	if !ok || until.(refusedUntil).generation != pool.Generation {
		return 0
	}
	return max(0, until.(refusedUntil).at.Sub(r.Clock.Now()))
}

// decide whether a job is served. What is not known of it is asked of GitHub: whether it is still queued, when only an old
// delivery says so, and whether its code comes from a fork, when the pool serves none. A job that is refused, or of which
// GitHub does not tell enough, says so (I2).
func (r *Reconciler) decide(ctx context.Context, pool *v1alpha1.RunnerPool, job *v1alpha1.WorkflowJob) (ctrl.Result, error) {
	problem := pool.Refusal(job)
	unknown := pool.Undecided(job)
	waits := job.Status.State == v1alpha1.JobQueued || job.Status.State == v1alpha1.JobInProgress && job.Status.Unconfirmed
	if problem != nil || unknown == "" || !waits {
		r.notBefore.Delete(client.ObjectKeyFromObject(job))
		return ctrl.Result{}, r.explain(ctx, job, problem)
	}
	if left := r.waitsToAsk(pool, job); left > 0 {
		return ctrl.Result{RequeueAfter: left}, nil
	}
	lane := pool.Namespace + "/" + pool.Spec.GitHub.SecretName
	if !r.lanes.Enter(lane) {
		return ctrl.Result{RequeueAfter: r.turns.take(lane, r.Clock.Now())}, nil
	}
	defer r.lanes.Leave(lane)
	err := r.ask(tracing.Job(ctx, job.Name), pool, job)
	if err == nil {
		// The answer is stored, and the job comes back here with it.
		r.notBefore.Delete(client.ObjectKeyFromObject(job))
		return ctrl.Result{}, nil
	}
	again := askAgain
	if fault.Is(err, fault.Unauthorized, fault.Forbidden, fault.SecretMissing, fault.SecretInvalid) {
		again = askRefused
	}
	again = wait.Jitter(fault.RetryAfter(err, r.Clock.Now(), again), askJitter)
	r.notBefore.Store(client.ObjectKeyFromObject(job), refusedUntil{r.Clock.Now().Add(again), pool.Generation})
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
