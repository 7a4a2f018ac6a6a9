// Package runner reconciles Runners: each is one ephemeral runner in one sandbox, through as many attempts as it takes to
// get it online. Its life is a list of steps, each in a file of its own: launch, online, finish, finalize.
package runner

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/cost"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/lanes"
	"github.com/modalrunner/modal-runner-controller/internal/observe"
	"github.com/modalrunner/modal-runner-controller/internal/shard"
)

// +kubebuilder:rbac:groups=modalrunner.dev,resources=runners,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups=modalrunner.dev,resources=runners/status,verbs=patch
// +kubebuilder:rbac:groups=modalrunner.dev,resources=runnerpools,verbs=get;list;watch
// +kubebuilder:rbac:groups=modalrunner.dev,resources=workflowjobs,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconciler of Runners.
type Reconciler struct {
	client.Client
	*observe.Outside
	// Live reads from the API server, for what must not be done on a stale view.
	Live   client.Reader
	Clock  clock.WithTicker
	Events events.EventRecorder
	// Secrets that sandboxes take variables from.
	Secrets *credentials.Store
	// Ledger of what sandboxes cost.
	Ledger *cost.Ledger
	// Explain asks for the jobs of a pool soon: one of its runners is busy with a job that is not known.
	Explain func(pool types.NamespacedName)
	// Told says whether GitHub has told of a pool's jobs since a time.
	Told func(pool types.NamespacedName, since time.Time) bool
	// Shard of the pools whose Runners are seen to.
	Shard *shard.Shard

	retries *flowcontrol.Backoff
	// notBefore is when a Runner may try again what failed, by its key.
	notBefore sync.Map
	lanes     *lanes.Queues[types.NamespacedName]
	// turn holds Runners whose turn in their lane it is.
	turn chan event.TypedGenericEvent[types.NamespacedName]
}

const (
	// namesIndex finds Runners by their outside names in the cache; runnerNameIndex finds the job that a runner took.
	namesIndex      = "status.names"
	runnerNameIndex = "status.runnerName"

	// firstRetry and lastRetry bound the wait before an outside call that failed is tried again.
	firstRetry = time.Second
	lastRetry  = 2 * time.Minute

	// laneShare of the workers is the most that Runners with the same credentials may have at once: calls that hang with one
	// credential leave the other workers to the others (B52, I7).
	laneShare = 4
	// turnBuffer is how many turns may wait for the controller; more wait with who has left the lane.
	turnBuffer = 1024
)

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, workers int) error {
	r.prepare(workers)
	if err := r.index(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	wake := func(wakes <-chan event.TypedGenericEvent[types.NamespacedName]) source.Source {
		return source.TypedChannel(wakes, handler.TypedEnqueueRequestsFromMapFunc(observe.Request))
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("runner").
		For(&v1alpha1.Runner{}).
		Watches(&v1alpha1.WorkflowJob{}, handler.EnqueueRequestsFromMapFunc(r.runnerOfJob)).
		Watches(&v1alpha1.RunnerPool{}, handler.EnqueueRequestsFromMapFunc(r.waitingForPool), builder.WithPredicates(concernsRunners)).
		Watches(&v1alpha1.RunnerPool{}, handler.EnqueueRequestsFromMapFunc(r.runnersOf), builder.WithPredicates(shard.Moved())).
		WatchesRawSource(wake(r.Registrations.Wakes())).
		WatchesRawSource(wake(r.SandboxLists.Wakes())).
		WatchesRawSource(wake(r.turn)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(r)
}

func (r *Reconciler) prepare(workers int) {
	r.retries = flowcontrol.NewBackOffWithJitter(firstRetry, lastRetry, 0.2)
	turn := make(chan event.TypedGenericEvent[types.NamespacedName], turnBuffer)
	r.turn, r.lanes = turn, lanes.NewQueues(max(1, workers/laneShare), func(runner types.NamespacedName) {
		turn <- event.TypedGenericEvent[types.NamespacedName]{Object: runner}
	})
}

func (r *Reconciler) index(ctx context.Context, indexer client.FieldIndexer) error {
	if err := indexer.IndexField(ctx, &v1alpha1.Runner{}, namesIndex, func(o client.Object) []string {
		return names(o.(*v1alpha1.Runner))
	}); err != nil {
		return fmt.Errorf("indexing Runners: %w", err)
	}
	if err := indexer.IndexField(ctx, &v1alpha1.WorkflowJob{}, runnerNameIndex, func(o client.Object) []string {
		return []string{o.(*v1alpha1.WorkflowJob).Status.RunnerName}
	}); err != nil {
		return fmt.Errorf("indexing WorkflowJobs: %w", err)
	}
	return nil
}

// names that the Runner's runner has had: the current one, which is known before it is stored, and that of the attempt
// before, whose job may become known only after its sandbox has ended.
func names(runner *v1alpha1.Runner) []string {
	all := []string{runner.OutsideName()}
	if failed := runner.Status.LastFailure; failed != nil && failed.Name != "" {
		all = append(all, failed.Name)
	}
	return all
}

// runnerOfJob wakes the Runner that took the job.
func (r *Reconciler) runnerOfJob(ctx context.Context, object client.Object) []ctrl.Request {
	job := object.(*v1alpha1.WorkflowJob)
	if job.Status.RunnerName == "" {
		return nil
	}
	if owner, ok := r.Registrations.Owner(job.Status.RunnerName); ok {
		return observe.Request(ctx, owner)
	}
	var runners v1alpha1.RunnerList
	err := r.List(ctx, &runners, client.InNamespace(job.Namespace), client.MatchingFields{namesIndex: job.Status.RunnerName}, client.UnsafeDisableDeepCopy)
	return requestsIf(runners.Items, err, func(*v1alpha1.Runner) bool { return true })
}

// concernsRunners says that something about a pool has changed that its Runners look at: how many of them there are and what
// they cost is not.
var concernsRunners = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	before, after := e.ObjectOld.(*v1alpha1.RunnerPool), e.ObjectNew.(*v1alpha1.RunnerPool)
	return before.Generation != after.Generation || forced(before) != forced(after) ||
		!equality.Semantic.DeepEqual(before.Status.Conditions, after.Status.Conditions) ||
		!equality.Semantic.DeepEqual(before.Status.Circuit, after.Status.Circuit) ||
		!equality.Semantic.DeepEqual(before.Status.Image, after.Status.Image)
}}

// waitingForPool wakes the Runners that have no sandbox yet when something about their pool has changed, and all of them
// when the pool is to be deleted by force.
func (r *Reconciler) waitingForPool(ctx context.Context, object client.Object) []ctrl.Request {
	var runners v1alpha1.RunnerList
	err := r.List(ctx, &runners, client.InNamespace(object.GetNamespace()), client.MatchingLabels{v1alpha1.PoolLabel: object.GetName()}, client.UnsafeDisableDeepCopy)
	return requestsIf(runners.Items, err, func(runner *v1alpha1.Runner) bool { return waitsForPool(runner) || forced(object) })
}

// runnersOf a pool that has come to this shard or left it.
func (r *Reconciler) runnersOf(ctx context.Context, object client.Object) []ctrl.Request {
	var runners v1alpha1.RunnerList
	err := r.List(ctx, &runners, client.InNamespace(object.GetNamespace()), client.MatchingLabels{v1alpha1.PoolLabel: object.GetName()}, client.UnsafeDisableDeepCopy)
	return requestsIf(runners.Items, err, func(*v1alpha1.Runner) bool { return true })
}

func requestsIf(runners []v1alpha1.Runner, err error, wanted func(*v1alpha1.Runner) bool) []ctrl.Request {
	if err != nil {
		// The cache answers always; what it does not know yet is reconciled when it does.
		return nil
	}
	var requests []ctrl.Request
	for i := range runners {
		if wanted(&runners[i]) {
			requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&runners[i])})
		}
	}
	return requests
}

// Reconcile one Runner: run the steps of its life, which change the object in memory, then write its status once.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var runner v1alpha1.Runner
	if err := r.Get(ctx, request.NamespacedName, &runner); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(request.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if runner.Done() {
		r.forget(request.NamespacedName)
		return ctrl.Result{}, nil
	}
	lane := laneOf(&runner)
	if !r.lanes.Enter(lane, request.NamespacedName) {
		return ctrl.Result{}, nil
	}
	defer r.lanes.Leave(lane)
	defer r.Shard.Enter(types.NamespacedName{Namespace: runner.Namespace, Name: runner.Spec.PoolName})()
	l, err := r.begin(ctx, &runner)
	if err != nil {
		return ctrl.Result{}, err
	}
	if l.pool != nil && !r.Shard.Holds(l.pool) {
		r.forget(request.NamespacedName)
		return ctrl.Result{}, nil
	}
	steps := []func(context.Context) error{l.launch, l.online, l.finish}
	if !runner.DeletionTimestamp.IsZero() {
		ctx = credentials.WithLast(ctx)
		steps = []func(context.Context) error{l.online, l.finalize}
	}
	for _, step := range steps {
		if err = step(ctx); err != nil || l.over {
			break
		}
	}
	if l.over {
		l.tell()
		return ctrl.Result{}, err
	}
	if err != nil || !l.waits {
		l.retryLater(ctx, err)
	}
	if err := r.writeStatus(ctx, l); err != nil {
		return ctrl.Result{}, err
	}
	return l.result(), nil
}

// laneOf a Runner: those that call GitHub and Modal as the same.
func laneOf(runner *v1alpha1.Runner) string {
	return runner.Namespace + "/" + runner.Spec.GitHub.SecretName + "/" + runner.Spec.Modal.SecretName
}

func (r *Reconciler) forget(key types.NamespacedName) {
	r.Registrations.Untrack(key)
	r.SandboxLists.Untrack(key)
	r.retries.DeleteEntry(key.String())
	r.notBefore.Delete(key)
	r.lanes.Drop(key)
}

// writeStatus, unless another has changed the object since it was read: then it is reconciled again anyway, and what was
// done outside is found again by its name.
func (r *Reconciler) writeStatus(ctx context.Context, l *life) error {
	if equality.Semantic.DeepEqual(l.stored.Status, l.runner.Status) {
		l.tell()
		return nil
	}
	err := r.Status().Patch(ctx, l.runner, client.MergeFromWithOptions(l.stored, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsConflict(err) {
		l.lookAgain(l.now)
		return nil
	}
	if err != nil {
		return client.IgnoreNotFound(fmt.Errorf("writing the status: %w", err))
	}
	l.tell()
	return nil
}
