package runnerpool

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/github"
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
	of  any
	at  time.Time
	err error
	// found is what a check that went well gave.
	found    any
	failures int
	running  bool
	// doubted says that it is due now.
	doubted bool
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

// doubt makes a check due now.
func (c *checks) doubt(pool types.NamespacedName, kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, ok := c.last[pool][kind]; ok {
		last.doubted = true
		c.last[pool][kind] = last
	}
}

func (c *checks) forget(pool types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.last, pool)
}

// Doubt whether GitHub still accepts a pool's credentials: they are checked again now, not when it is due.
func (r *Reconciler) Doubt(pool types.NamespacedName) {
	r.checks.doubt(pool, v1alpha1.ConditionGitHubReady)
	r.wake <- event.TypedGenericEvent[types.NamespacedName]{Object: pool}
}

// checkPool sets the pool's conditions and says when to look again.
func (r *Reconciler) checkPool(ctx context.Context, pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner) time.Time {
	place := observe.PlaceOf(pool.Namespace, pool.Spec.Scope, &pool.Spec.RunnerTemplate)
	gh, ghErr := r.GitHubAt(ctx, place)
	// A check outlives this reconcile, which changes the pool.
	group := pool.Spec.RunnerGroup
	again := r.checkOne(ctx, pool, runners, checking{
		kind: v1alpha1.ConditionGitHubReady, of: githubAccess{gh, group}, err: ghErr,
		well: "GitHub accepts the credentials for " + place.Scope.String(),
		access: func(ctx context.Context) (any, error) {
			return nil, gh.CheckAccess(ctx, place.Scope, group)
		},
	})
	modal, modalErr := r.ModalAt(ctx, place)
	again = earlier(again, r.checkOne(ctx, pool, runners, checking{
		kind: v1alpha1.ConditionModalReady, of: modal, err: modalErr, well: "Modal accepts the credentials",
		access: func(ctx context.Context) (any, error) { return nil, modal.Check(ctx) },
	}))
	again = earlier(again, r.checkTemplate(ctx, pool, runners, modal))
	again = earlier(again, r.ensureImage(ctx, pool, runners, gh, modal))
	if gh != nil {
		again = earlier(again, setRateLimited(pool, gh.Budget()))
	}
	return earlier(again, r.ensureWebhook(ctx, pool, runners, gh, ghErr))
}

// githubAccess is what access to GitHub is checked of.
type githubAccess struct {
	client *github.Client
	group  string
}

// checking of one condition.
type checking struct {
	kind string
	// of is what is checked; err says that it could not even be made.
	of  any
	err error
	// well is the condition's message when access succeeds.
	well   string
	access func(context.Context) (any, error)
}

// checkOne sets one condition from a check that is made when it is due.
func (r *Reconciler) checkOne(ctx context.Context, pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner, c checking) time.Time {
	key, now := client.ObjectKeyFromObject(pool), r.Clock.Now()
	if c.err != nil {
		r.checks.set(key, c.kind, check{})
		setError(pool, c.kind, c.err)
		return now.Add(fault.RetryAfter(c.err, now, recheckBad))
	}
	last := r.checks.get(key, c.kind)
	if last.of != c.of {
		last = check{of: c.of}
	}
	refusedAt := last.at
	if !last.running && doubted(runners, last.at) {
		// Refusals are stored in whole seconds: within the one of the check they are looked at once more.
		refusedAt = last.at.Add(time.Second)
	}
	if !last.running && (!last.next().After(now) || last.doubted || refusedAt.After(last.at) && !refusedAt.After(now)) {
		last.running, last.doubted = true, false
		r.checks.set(key, c.kind, last)
		go r.runCheck(context.WithoutCancel(ctx), key, c.kind, last, c.access)
	}
	known := meta.FindStatusCondition(pool.Status.Conditions, c.kind)
	switch {
	case last.at.IsZero():
		// What the condition said before holds until the answer is there.
		if known == nil {
			setCondition(pool, c.kind, false, v1alpha1.ReasonChecking, "being checked")
		}
		return time.Time{}
	case last.err == nil:
		setCondition(pool, c.kind, true, v1alpha1.ReasonReady, c.well)
	case fault.Is(last.err, fault.Held) && known != nil:
	case fault.Is(last.err, fault.Transient) && last.failures <= toleratedFailures && known != nil && known.Status == metav1.ConditionTrue:
	default:
		setError(pool, c.kind, last.err)
	}
	if last.running {
		return time.Time{}
	}
	if refusedAt.After(last.at) {
		return refusedAt
	}
	return last.next()
}

// runCheck makes a check and wakes the pool. It outlives the reconcile that starts it; the call has a deadline of its own.
func (r *Reconciler) runCheck(ctx context.Context, pool types.NamespacedName, kind string, last check, access func(context.Context) (any, error)) {
	found, err := access(ctx)
	result := check{of: last.of, found: found, err: err, at: r.Clock.Now()}
	if err != nil {
		result.failures, result.found = last.failures+1, last.found
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
		if c == nil || c.LastTransitionTime.Time.Before(since.Truncate(time.Second)) {
			continue
		}
		switch c.Reason {
		case v1alpha1.ReasonUnauthorized, v1alpha1.ReasonForbidden, v1alpha1.ReasonRefused, v1alpha1.ReasonSecretInvalid, v1alpha1.ReasonSecretNotFound:
			return true
		}
	}
	return false
}
