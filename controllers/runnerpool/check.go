package runnerpool

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/observe"
)

const (
	// recheckGood is how often access that worked is checked again; recheckBad, access that did not.
	recheckGood = 10 * time.Minute
	recheckBad  = 15 * time.Second
	// toleratedFailures is how many checks in a row may go unanswered before the condition says so: one lost answer is
	// no outage.
	toleratedFailures = 2
)

// checks remembers when what was last checked, so that a pool that is well costs no calls. The calls are made in the
// background: a server that hangs holds no worker (I7).
type checks struct {
	mu   sync.Mutex
	last map[types.NamespacedName]map[string]check
}

type check struct {
	// of is what was checked: the client, which is another one when the credentials change.
	of       any
	at       time.Time
	err      error
	failures int
	running  bool
}

func newChecks() *checks { return &checks{last: map[types.NamespacedName]map[string]check{}} }

func (c *checks) get(pool types.NamespacedName, kind string) check {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last[pool][kind]
}

func (c *checks) set(pool types.NamespacedName, kind string, result check) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last[pool] == nil {
		c.last[pool] = map[string]check{}
	}
	c.last[pool][kind] = result
}

func (c *checks) forget(pool types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.last, pool)
}

// Doubt whether a pool's credentials are still accepted: they are checked again now, not when it is due.
func (r *Reconciler) Doubt(pool types.NamespacedName) {
	r.checks.forget(pool)
	r.wake <- event.TypedGenericEvent[types.NamespacedName]{Object: pool}
}

// checkPool sets the pool's conditions and says when to look again.
func (r *Reconciler) checkPool(ctx context.Context, pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner) time.Time {
	place := observe.PlaceOf(pool.Namespace, pool.Spec.Scope, &pool.Spec.RunnerTemplate)
	gh, ghErr := r.GitHubAt(ctx, place)
	again := r.checkOne(ctx, pool, runners, v1alpha1.ConditionGitHubReady, gh, ghErr, "GitHub accepts the credentials for "+place.Scope.String(),
		func(ctx context.Context) error { return gh.CheckAccess(ctx, place.Scope) })
	modal, modalErr := r.ModalAt(ctx, place)
	again = earlier(again, r.checkOne(ctx, pool, runners, v1alpha1.ConditionModalReady, modal, modalErr, "Modal accepts the credentials",
		func(ctx context.Context) error { return modal.Check(ctx) }))
	return earlier(again, r.ensureImage(ctx, pool, gh, modal))
}

// checkOne sets one condition from a check that is made when it is due. A client that could not even be made is err.
func (r *Reconciler) checkOne(ctx context.Context, pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner, kind string, of any, err error, well string, access func(context.Context) error) time.Time {
	key, now := client.ObjectKeyFromObject(pool), r.Clock.Now()
	if err != nil {
		r.checks.set(key, kind, check{})
		setError(pool, kind, err)
		return now.Add(fault.RetryAfter(err, now, recheckBad))
	}
	last := r.checks.get(key, kind)
	if last.of != of {
		last = check{of: of}
	}
	if !last.running && (!last.next().After(now) || doubted(runners, last.at)) {
		last.running = true
		r.checks.set(key, kind, last)
		go r.runCheck(context.WithoutCancel(ctx), key, kind, last, access)
	}
	switch {
	case last.at.IsZero():
		// What the condition said before holds until the answer is there.
		if meta.FindStatusCondition(pool.Status.Conditions, kind) == nil {
			setCondition(pool, kind, false, v1alpha1.ReasonChecking, "being checked")
		}
		return time.Time{}
	case last.err == nil:
		setCondition(pool, kind, true, v1alpha1.ReasonReady, well)
	case fault.Is(last.err, fault.Transient) && last.failures <= toleratedFailures && meta.IsStatusConditionTrue(pool.Status.Conditions, kind):
	default:
		setError(pool, kind, last.err)
	}
	if last.running {
		return time.Time{}
	}
	return last.next()
}

// runCheck makes a check and wakes the pool. It outlives the reconcile that starts it; the call has a deadline of its own.
func (r *Reconciler) runCheck(ctx context.Context, pool types.NamespacedName, kind string, last check, access func(context.Context) error) {
	result := check{of: last.of, err: access(ctx), at: r.Clock.Now()}
	if result.err != nil {
		result.failures = last.failures + 1
	}
	r.checks.set(pool, kind, result)
	r.wake <- event.TypedGenericEvent[types.NamespacedName]{Object: pool}
}

// next is when the check is due again.
func (c check) next() time.Time {
	if c.err == nil {
		return c.at.Add(recheckGood)
	}
	return c.at.Add(fault.RetryAfter(c.err, c.at, recheckBad))
}

// doubted says that a Runner has met refusal since the time: a reason to check again before it is due.
func doubted(runners []v1alpha1.Runner, since time.Time) bool {
	for i := range runners {
		c := meta.FindStatusCondition(runners[i].Status.Conditions, v1alpha1.ConditionLaunched)
		if c == nil || !c.LastTransitionTime.After(since) {
			continue
		}
		switch c.Reason {
		case v1alpha1.ReasonUnauthorized, v1alpha1.ReasonForbidden, v1alpha1.ReasonSecretInvalid, v1alpha1.ReasonSecretNotFound:
			return true
		}
	}
	return false
}
