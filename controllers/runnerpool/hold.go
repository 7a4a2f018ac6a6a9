package runnerpool

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/shard"
)

const (
	// leaveWait is how soon to look again whether all that is being done for a pool has ended, so that it can be let go.
	leaveWait = 100 * time.Millisecond
	// takeWait is how soon to look again at a pool that another manager has.
	takeWait = 2 * time.Second
	// takenWithin is how long a pool may have no manager before it says so.
	takenWithin = time.Minute
)

// hold a pool that this manager is to serve, and let go one that it is to serve no more. It says whether the pool is held, and
// when to look again if not. Nothing is done for a pool that is not held.
func (r *Reconciler) hold(ctx context.Context, pool *v1alpha1.RunnerPool) (held bool, again time.Duration, err error) {
	if r.Shard.Holds(pool) {
		return true, 0, nil
	}
	if !r.Shard.Selects(pool) {
		again, err = r.leave(ctx, pool)
		return false, again, err
	}
	free, err := r.free(ctx, pool)
	if err != nil || !free {
		return false, takeWait, err
	}
	return r.take(ctx, pool)
}

// free says that nobody has a pool. One that names no manager has one all the same while a manager leads that is no shard: it serves
// every pool, and does not say so where it is older than shards are.
func (r *Reconciler) free(ctx context.Context, pool *v1alpha1.RunnerPool) (bool, error) {
	if holder := pool.Status.ServedBy; holder != "" {
		return r.Holders.Gone(ctx, holder, 0)
	}
	if r.Shard.Lease == shard.DefaultLease {
		return true, nil
	}
	whole, err := r.Holders.Whole(ctx)
	return !whole, err
}

// take a pool that nobody has.
func (r *Reconciler) take(ctx context.Context, pool *v1alpha1.RunnerPool) (held bool, again time.Duration, err error) {
	stored := pool.DeepCopy()
	pool.Status.ServedBy = r.Shard.Lease
	err = r.patchStatus(ctx, stored, pool)
	switch {
	case apierrors.IsConflict(err):
		return false, conflictWait, nil
	case err != nil:
		return false, 0, client.IgnoreNotFound(fmt.Errorf("taking the pool: %w", err))
	}
	log.FromContext(ctx).Info("serving the pool from now on", "before", stored.Status.ServedBy)
	return true, 0, nil
}

// leave a pool to others. One that this manager has is let go when all that is being done for its Runners has ended, with what
// they have cost until now.
func (r *Reconciler) leave(ctx context.Context, pool *v1alpha1.RunnerPool) (again time.Duration, err error) {
	key := client.ObjectKeyFromObject(pool)
	switch {
	case pool.Status.ServedBy == "":
		return r.tellUnserved(ctx, pool)
	case pool.Status.ServedBy != r.Shard.Lease:
		r.forget(key)
		return r.tellLeft(ctx, pool)
	case r.Shard.Acting(key):
		return leaveWait, nil
	}
	runners, err := r.runnersOf(ctx, pool)
	if err != nil {
		return 0, err
	}
	stored := pool.DeepCopy()
	r.spend(pool, runners)
	pool.Status.ServedBy = ""
	setUnserved(pool, r.Shard.Lease+" has left it")
	err = r.patchStatus(ctx, stored, pool)
	switch {
	case apierrors.IsConflict(err):
		return conflictWait, nil
	case err != nil:
		return 0, client.IgnoreNotFound(fmt.Errorf("letting the pool go: %w", err))
	}
	r.forget(key)
	log.FromContext(ctx).Info("the pool is another shard's from now on")
	return 0, nil
}

// tellUnserved says of a pool that nobody has taken for a while that nobody serves it. Any shard may say so.
func (r *Reconciler) tellUnserved(ctx context.Context, pool *v1alpha1.RunnerPool) (again time.Duration, err error) {
	// Who would take a pool of before there were shards may only be starting, as this one is.
	gone, err := r.Holders.Gone(ctx, shard.DefaultLease, takenWithin)
	if err != nil {
		return 0, err
	}
	if left := pool.CreationTimestamp.Add(takenWithin).Sub(r.Clock.Now()); left > 0 || !gone {
		return max(left, takenWithin/2), nil
	}
	if c := meta.FindStatusCondition(pool.Status.Conditions, v1alpha1.ConditionReady); c != nil && c.Reason == v1alpha1.ReasonUnserved {
		return 0, nil
	}
	return r.sayUnserved(ctx, pool, "nobody has taken it up")
}

// tellLeft says of a pool that another manager has, and has left without a word, that nobody serves it: its shard may run no more. Who
// is to serve such a pool takes it up much sooner. Until then it is looked at again and again, since no event tells of that.
func (r *Reconciler) tellLeft(ctx context.Context, pool *v1alpha1.RunnerPool) (again time.Duration, err error) {
	holder := pool.Status.ServedBy
	gone, err := r.Holders.Gone(ctx, holder, takenWithin)
	if err != nil || !gone {
		return takenWithin / 2, err
	}
	return r.sayUnserved(ctx, pool, holder+" is gone")
}

func (r *Reconciler) sayUnserved(ctx context.Context, pool *v1alpha1.RunnerPool, why string) (again time.Duration, err error) {
	stored := pool.DeepCopy()
	pool.Status.ServedBy = ""
	setUnserved(pool, why)
	err = r.writeStatus(ctx, stored, pool)
	if apierrors.IsConflict(err) {
		return conflictWait, nil
	}
	return 0, err
}

func setUnserved(pool *v1alpha1.RunnerPool, why string) {
	pool.Status.ObservedGeneration = pool.Generation
	setCondition(pool, v1alpha1.ConditionReady, false, v1alpha1.ReasonUnserved,
		why+": if that lasts, give the pool labels that a shard's --pool-selector selects, or run a shard that selects it")
}

// forget what is known of a pool that is gone, or another's.
func (r *Reconciler) forget(pool types.NamespacedName) {
	r.checks.forget(pool)
	r.images.forget(pool)
	r.Ledger.Forget(pool)
	r.counts.forget(pool)
	r.done.forget(pool)
}
