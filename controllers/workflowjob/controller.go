// Package workflowjob sees to WorkflowJobs: GitHub is asked what has to be known before a job is served, a job that its pool
// refuses says why, and jobs that are over are removed after a while.
package workflowjob

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/ingress"
	"github.com/modalrunner/modal-runner-controller/internal/lanes"
	"github.com/modalrunner/modal-runner-controller/internal/shard"
)

// +kubebuilder:rbac:groups=modalrunner.dev,resources=workflowjobs,verbs=get;list;watch;update;patch;delete;deletecollection
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=modalrunner.dev,resources=runnerpools,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get

// Reconciler of WorkflowJobs.
type Reconciler struct {
	client.Client
	// Live writes to the API server: a client that reads its own writes cannot remove several objects with one request.
	Live     client.Writer
	Clock    clock.PassiveClock
	Events   events.EventRecorder
	GitHub   *github.Clients
	Recorder *ingress.Recorder
	// TTL of a WorkflowJob after its job is over.
	TTL time.Duration
	// Shard of the pools whose jobs are seen to.
	Shard *shard.Shard

	lanes *lanes.Lanes
	turns turns
	// notBefore is when GitHub may be asked about a job again.
	notBefore sync.Map
	removals  removals
}

// laneShare of the workers is the most that ask GitHub with the same credentials at once (I7).
const laneShare = 4

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, workers int) error {
	r.lanes = lanes.New(max(1, workers/laneShare))
	return ctrl.NewControllerManagedBy(mgr).
		Named("workflowjob").
		For(&v1alpha1.WorkflowJob{}).
		Watches(&v1alpha1.RunnerPool{}, handler.EnqueueRequestsFromMapFunc(r.jobsOf), builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, shard.Moved()))).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(r)
}

// jobsOf a pool: what it refuses may have changed, or who sees to them.
func (r *Reconciler) jobsOf(ctx context.Context, pool client.Object) []ctrl.Request {
	var jobs v1alpha1.WorkflowJobList
	err := r.List(ctx, &jobs, client.InNamespace(pool.GetNamespace()), client.MatchingLabels{v1alpha1.PoolLabel: pool.GetName()}, client.UnsafeDisableDeepCopy)
	if err != nil {
		// The cache answers always.
		return nil
	}
	var requests []ctrl.Request
	for i := range jobs.Items {
		requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&jobs.Items[i])})
	}
	return requests
}

// Reconcile one job: remove it when it has been over for the TTL, else decide whether it is served.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var job v1alpha1.WorkflowJob
	if err := r.Get(ctx, request.NamespacedName, &job); err != nil {
		r.notBefore.Delete(request.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !job.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	var pool v1alpha1.RunnerPool
	err := r.Get(ctx, types.NamespacedName{Namespace: job.Namespace, Name: job.Spec.PoolName}, &pool)
	gone := apierrors.IsNotFound(err)
	switch {
	case err != nil && !gone:
		return ctrl.Result{}, err
	case !gone && !r.Shard.Holds(&pool):
		r.notBefore.Delete(request.NamespacedName)
		return ctrl.Result{}, nil
	case job.Status.State == v1alpha1.JobCompleted:
		r.notBefore.Delete(request.NamespacedName)
		return r.expire(ctx, &job)
	case gone:
		return ctrl.Result{}, nil
	}
	return r.decide(ctx, &pool, &job)
}
