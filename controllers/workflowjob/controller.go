// Package workflowjob sees to the end of WorkflowJobs: jobs of which nothing was heard are asked for, and those that are
// over are removed after a while.
package workflowjob

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/ingress"
)

// +kubebuilder:rbac:groups=modalrunner.dev,resources=workflowjobs,verbs=get;list;watch;update;delete
// +kubebuilder:rbac:groups=modalrunner.dev,resources=runnerpools,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get

const (
	// confirmEvery is how long a job of an organization or enterprise may go unheard of before GitHub is asked about it.
	// Those of a repository are seen by the poll.
	confirmEvery = 10 * time.Minute
	// confirmJitter spreads the asking out.
	confirmJitter = 0.3
)

// Reconciler of WorkflowJobs.
type Reconciler struct {
	client.Client
	Clock    clock.PassiveClock
	GitHub   *github.Clients
	Recorder *ingress.Recorder
	// TTL of a WorkflowJob after its job is over.
	TTL time.Duration
}

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, workers int) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("workflowjob").
		For(&v1alpha1.WorkflowJob{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(r)
}

// Reconcile one job: remove it when it has been over for the TTL, ask about it when nothing was heard of it.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var job v1alpha1.WorkflowJob
	if err := r.Get(ctx, request.NamespacedName, &job); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !job.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	if job.Status.State == v1alpha1.JobCompleted {
		return r.expire(ctx, &job)
	}
	return r.confirm(ctx, &job)
}

// expire a job that is over.
func (r *Reconciler) expire(ctx context.Context, job *v1alpha1.WorkflowJob) (ctrl.Result, error) {
	over := job.CreationTimestamp.Time
	if job.Status.CompletedAt != nil {
		over = job.Status.CompletedAt.Time
	}
	if left := over.Add(r.TTL).Sub(r.Clock.Now()); left > 0 {
		return ctrl.Result{RequeueAfter: left}, nil
	}
	return ctrl.Result{}, client.IgnoreNotFound(r.Delete(ctx, job, client.Preconditions{UID: &job.UID, ResourceVersion: &job.ResourceVersion}))
}

// confirm a job that is not over, where no poll does.
func (r *Reconciler) confirm(ctx context.Context, job *v1alpha1.WorkflowJob) (ctrl.Result, error) {
	var pool v1alpha1.RunnerPool
	if err := r.Get(ctx, types.NamespacedName{Namespace: job.Namespace, Name: job.Spec.PoolName}, &pool); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if pool.Spec.Repository != "" {
		return ctrl.Result{}, nil
	}
	next := wait.Jitter(confirmEvery, confirmJitter)
	if r.Clock.Since(job.CreationTimestamp.Time) < confirmEvery {
		return ctrl.Result{RequeueAfter: next}, nil
	}
	gh, err := r.GitHub.For(ctx, pool.Namespace, pool.Spec.GitHub, github.ScopeOf(pool.Spec.GitHub.URL, pool.Spec.Scope))
	if err == nil {
		err = r.Recorder.Confirm(ctx, gh, job, r.Clock.Now())
	}
	if err != nil {
		log.FromContext(ctx).V(1).Info("could not ask about the job", "error", err.Error())
		next = max(next, fault.RetryAfter(err, r.Clock.Now(), next))
	}
	return ctrl.Result{RequeueAfter: next}, nil
}
