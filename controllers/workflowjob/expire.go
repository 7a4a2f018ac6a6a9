package workflowjob

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// removeAgain is how soon jobs are removed again that were over at the same time as others.
const removeAgain = 10 * time.Second

// together are the jobs of a pool that are removed with one request, since they were over in the same step of time.
type together struct{ namespace, pool, completedBy string }

// removals are when jobs were removed last: a thousand that are due at once are one request, not a thousand.
type removals struct {
	mu   sync.Mutex
	last map[together]time.Time
}

// begin a removal, unless there was one just now.
func (r *removals) begin(of together, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.last, func(_ together, at time.Time) bool { return now.Sub(at) >= removeAgain })
	if _, begun := r.last[of]; begun {
		return false
	}
	if r.last == nil {
		r.last = map[together]time.Time{}
	}
	r.last[of] = now
	return true
}

// overBy gives a time at which a job was over.
func overBy(job *v1alpha1.WorkflowJob) time.Time {
	switch by := job.CompletedBy(); {
	case !by.IsZero():
		return by
	case job.Status.CompletedAt != nil:
		return job.Status.CompletedAt.Time
	default:
		return job.CreationTimestamp.Time
	}
}

// expire a job that is over, with all those of its pool that were over in the same step of time. That they are over is final.
func (r *Reconciler) expire(ctx context.Context, job *v1alpha1.WorkflowJob) (ctrl.Result, error) {
	now := r.Clock.Now()
	if left := overBy(job).Add(r.TTL).Sub(now); left > 0 {
		return ctrl.Result{RequeueAfter: left}, nil
	}
	if job.CompletedBy().IsZero() {
		// GitHub has not told when, or an earlier version of the manager has stored it.
		return ctrl.Result{}, client.IgnoreNotFound(r.Delete(ctx, job, client.Preconditions{UID: &job.UID, ResourceVersion: &job.ResourceVersion}))
	}
	of := together{job.Namespace, job.Spec.PoolName, job.Labels[v1alpha1.CompletedLabel]}
	if !r.removals.begin(of, now) {
		return ctrl.Result{RequeueAfter: removeAgain}, nil
	}
	err := r.Live.DeleteAllOf(ctx, &v1alpha1.WorkflowJob{}, client.InNamespace(of.namespace),
		client.MatchingLabels{v1alpha1.PoolLabel: of.pool, v1alpha1.CompletedLabel: of.completedBy})
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("removing the jobs that were over by %s: %w", job.CompletedBy().UTC().Format(time.RFC3339), err)
	}
	return ctrl.Result{}, nil
}
