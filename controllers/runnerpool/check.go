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
	"github.com/modalrunner/modal-runner-controller/internal/github"
)

const (
	// recheckGood is how often access that worked is checked again; recheckBad, access that did not.
	recheckGood = 10 * time.Minute
	recheckBad  = 15 * time.Second
	// toleratedFailures is how many checks in a row may go unanswered before the condition says so: one lost answer is
	// no outage.
	toleratedFailures = 2
)

// checks remembers when what was last checked, so that a pool that is well costs no calls.
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
	scope := github.ScopeOf(pool.Spec.GitHub.URL, pool.Spec.Scope)
	gh, ghErr := r.GitHub.For(ctx, pool.Namespace, pool.Spec.GitHub, scope)
	again := r.checkOne(pool, runners, v1alpha1.ConditionGitHubReady, gh, ghErr, "GitHub accepts the credentials for "+scope.String(),
		func() error { return gh.CheckAccess(ctx, scope) })
	modal, modalErr := r.Sandboxes.For(ctx, pool.Namespace, pool.Spec.Modal)
	again = earlier(again, r.checkOne(pool, runners, v1alpha1.ConditionModalReady, modal, modalErr, "Modal accepts the credentials",
		func() error { return modal.Check(ctx) }))
	again = earlier(again, r.ensureImage(ctx, pool, gh, modal))
	summarize(pool)
	return again
}

// checkOne sets one condition from a check that is made when it is due. A client that could not even be made is err.
func (r *Reconciler) checkOne(pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner, kind string, of any, err error, well string, access func() error) time.Time {
	key, now := client.ObjectKeyFromObject(pool), r.Clock.Now()
	if err != nil {
		r.checks.set(key, kind, check{})
		setError(pool, kind, err)
		return now.Add(fault.RetryAfter(err, now, recheckBad))
	}
	last := r.checks.get(key, kind)
	if last.of != of || !last.next().After(now) || doubted(runners, last.at) {
		err := access()
		failures := 0
		if err != nil {
			failures = last.failures + 1
		}
		last = check{of: of, at: now, err: err, failures: failures}
		r.checks.set(key, kind, last)
	}
	switch {
	case last.err == nil:
		setCondition(pool, kind, true, v1alpha1.ReasonReady, well)
	case fault.Is(last.err, fault.Transient) && last.failures <= toleratedFailures && meta.IsStatusConditionTrue(pool.Status.Conditions, kind):
	default:
		setError(pool, kind, last.err)
	}
	return last.next()
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
