// Package runnerpool reconciles RunnerPools: it checks what a pool needs, has its image built, and keeps as many Runners
// as the queued jobs ask for.
package runnerpool

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/cost"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
	"github.com/modalrunner/modal-runner-controller/internal/observe"
	"github.com/modalrunner/modal-runner-controller/internal/shard"
)

// +kubebuilder:rbac:groups=modalrunner.dev,resources=runnerpools,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=modalrunner.dev,resources=runnerpools/status,verbs=patch
// +kubebuilder:rbac:groups=modalrunner.dev,resources=runnerpools/finalizers,verbs=update
// +kubebuilder:rbac:groups=modalrunner.dev,resources=runners,verbs=get;list;watch;create;delete;deletecollection
// +kubebuilder:rbac:groups=modalrunner.dev,resources=workflowjobs,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconciler of RunnerPools.
type Reconciler struct {
	client.Client
	*observe.Outside
	// Live writes to the API server: a client that reads its own writes cannot remove several objects with one request.
	Live    client.Writer
	Clock   clock.Clock
	Events  events.EventRecorder
	Secrets *credentials.Store
	// Ledger of what sandboxes cost.
	Ledger *cost.Ledger
	// Installation is the mark that the pool's Runners get.
	Installation string
	// Shard of the pools that are served, and Holders of the others.
	Shard   *shard.Shard
	Holders *shard.Holders
	// WebhookURL at which GitHub reaches the webhook receiver, without its path; empty when that is not known.
	WebhookURL string

	checks *checks
	images *images
	counts later
	done   later
	// wake holds pools whose image build has ended, or whose credentials are in doubt.
	wake chan event.TypedGenericEvent[types.NamespacedName]
}

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, workers int) error {
	r.prepare()
	if err := IndexJobs(context.Background(), mgr.GetFieldIndexer()); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("runnerpool").
		For(&v1alpha1.RunnerPool{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, shard.Moved()))).
		Owns(&v1alpha1.Runner{}).
		Watches(&v1alpha1.WorkflowJob{}, handler.EnqueueRequestsFromMapFunc(poolOfJob)).
		WatchesRawSource(source.TypedChannel(r.wake, handler.TypedEnqueueRequestsFromMapFunc(observe.Request))).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(r)
}

func (r *Reconciler) prepare() {
	r.wake = make(chan event.TypedGenericEvent[types.NamespacedName], 64)
	r.checks, r.images = newChecks(), newImages(r.Clock, r.wake)
}

func poolOfJob(_ context.Context, object client.Object) []ctrl.Request {
	job := object.(*v1alpha1.WorkflowJob)
	return []ctrl.Request{{NamespacedName: types.NamespacedName{Namespace: job.Namespace, Name: job.Spec.PoolName}}}
}

// Reconcile one pool: look at what it needs, plan, act, and write the status once.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var pool v1alpha1.RunnerPool
	if err := r.Get(ctx, request.NamespacedName, &pool); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(request.NamespacedName)
			metrics.ForgetPool(request.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if held, again, err := r.hold(ctx, &pool); err != nil || !held {
		return ctrl.Result{RequeueAfter: again}, err
	}
	metrics.KnowPool(request.NamespacedName)
	if err := r.claim(ctx, &pool); err != nil {
		return ctrl.Result{}, err
	}
	stored := pool.DeepCopy()
	runners, err := r.runnersOf(ctx, &pool)
	if err != nil {
		return ctrl.Result{}, err
	}
	var again time.Time
	if pool.DeletionTimestamp.IsZero() {
		again, err = r.serve(ctx, &pool, runners)
	} else {
		err = r.drain(ctx, &pool, runners)
		if err == nil && len(runners) == 0 {
			if r.endWebhook(ctx, &pool) {
				return ctrl.Result{}, r.release(ctx, &pool)
			}
			again = r.Clock.Now().Add(recheckBad)
		}
	}
	due := r.mayWait(stored, &pool)
	again = earlier(again, due)
	var patchErr error
	if due.IsZero() {
		patchErr = r.writeStatus(ctx, stored, &pool)
	}
	if apierrors.IsConflict(patchErr) {
		again, patchErr = r.Clock.Now().Add(conflictWait), nil
	}
	err = errors.Join(err, patchErr)
	if err != nil || again.IsZero() {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: max(time.Millisecond, again.Sub(r.Clock.Now()))}, nil
}

// serve the pool's jobs, and say when to look again.
func (r *Reconciler) serve(ctx context.Context, pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner) (time.Time, error) {
	recheck := r.checkPool(ctx, pool, runners)
	recheck = earlier(recheck, r.spend(pool, runners))
	turnCircuit(pool, runners, r.Clock.Now())
	summarize(pool)
	s, err := r.situationOf(ctx, pool, runners)
	if err != nil {
		return time.Time{}, err
	}
	d := plan(s)
	count(pool, s)
	removal, err := r.removeDone(ctx, pool, runners)
	return earlier(earlier(recheck, d.again), removal), errors.Join(err, r.act(ctx, pool, runners, s, d))
}

// drain deletes every Runner of a pool that is being deleted; each then ends its sandbox and registration, a busy one
// when its job is done.
func (r *Reconciler) drain(ctx context.Context, pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner) error {
	setCondition(pool, v1alpha1.ConditionReady, false, v1alpha1.ReasonDeleting,
		fmt.Sprintf("waiting for %d runners to end", len(runners)))
	s, err := r.situationOf(ctx, pool, runners)
	if err != nil {
		return err
	}
	count(pool, s)
	var all []string
	for _, runner := range runners {
		all = append(all, runner.Name)
	}
	return r.act(ctx, pool, runners, s, decision{retire: all})
}

// claim a pool with the finalizer, before anything of it exists outside.
func (r *Reconciler) claim(ctx context.Context, pool *v1alpha1.RunnerPool) error {
	patch := finalizers(pool)
	if !pool.DeletionTimestamp.IsZero() || !controllerutil.AddFinalizer(pool, v1alpha1.PoolFinalizer) {
		return nil
	}
	if err := r.Patch(ctx, pool, patch); err != nil {
		return fmt.Errorf("adding the finalizer: %w", err)
	}
	return nil
}

// release a pool whose last Runner is gone.
func (r *Reconciler) release(ctx context.Context, pool *v1alpha1.RunnerPool) error {
	patch := finalizers(pool)
	if !controllerutil.RemoveFinalizer(pool, v1alpha1.PoolFinalizer) {
		return nil
	}
	return client.IgnoreNotFound(r.Patch(ctx, pool, patch))
}

// finalizers is a patch from the pool as it is stored. It fails when somebody else has changed the pool meanwhile, so that
// no other finalizer is lost.
func finalizers(pool *v1alpha1.RunnerPool) client.Patch {
	return client.MergeFromWithOptions(pool.DeepCopy(), client.MergeFromWithOptimisticLock{})
}

// conflictWait is how soon to look again at a pool that has changed while it was looked at.
const conflictWait = 200 * time.Millisecond

// writeStatus, unless the pool has changed since it was read: what was seen of it then may be over, and the pool another's. What
// has changed for the operator is told as events once it is stored, so that it is told once.
func (r *Reconciler) writeStatus(ctx context.Context, stored, pool *v1alpha1.RunnerPool) error {
	r.counts.forget(client.ObjectKeyFromObject(pool))
	if same(stored, pool) {
		return nil
	}
	if err := r.patchStatus(ctx, stored, pool); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("writing the status: %w", err))
	}
	r.announce(stored, pool)
	return nil
}

// patchStatus with what differs from the stored one; a conflict says that the pool has changed since it was read.
func (r *Reconciler) patchStatus(ctx context.Context, stored, pool *v1alpha1.RunnerPool) error {
	return r.Status().Patch(ctx, pool, client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{}))
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
