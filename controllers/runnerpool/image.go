package runnerpool

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
)

const (
	// refreshRelease is how often GitHub is asked for the latest runner version.
	refreshRelease = time.Hour
	// askingWait is how soon to look again for an answer that another pool of the scope has asked for.
	askingWait = 2 * time.Second
	// firstRebuild is the wait after a failed build; it doubles with each failure up to lastRebuild.
	firstRebuild = 30 * time.Second
	lastRebuild  = 15 * time.Minute
)

// images builds the image of each pool in the background, one build per pool at a time, before any job needs it.
type images struct {
	clock clock.PassiveClock
	// done wakes the pool whose build has ended.
	done chan<- event.TypedGenericEvent[types.NamespacedName]

	mu       sync.Mutex
	builds   map[types.NamespacedName]*build
	releases map[github.Scope]release
}

type build struct {
	digest   string
	running  bool
	id       string
	err      error
	failures int
	retryAt  time.Time
}

// release is the latest version of the runner that a scope offers.
type release struct {
	github.RunnerRelease
	// at is when it was last asked for; asking is true until there is an answer.
	at     time.Time
	asking bool
	err    error
}

func newImages(clock clock.PassiveClock, done chan<- event.TypedGenericEvent[types.NamespacedName]) *images {
	return &images{
		clock: clock, done: done,
		builds: map[types.NamespacedName]*build{}, releases: map[github.Scope]release{},
	}
}

func (i *images) forget(pool types.NamespacedName) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.builds, pool)
}

// ensureImage has the image built that the pool's spec asks for, sets ImageReady, and says when to look again. An image
// that serves goes on serving while a newer runner version is built into its successor.
func (r *Reconciler) ensureImage(ctx context.Context, pool *v1alpha1.RunnerPool, gh *github.Client, modal sandbox.Provider) time.Time {
	const kind = v1alpha1.ConditionImageReady
	for _, needed := range []string{v1alpha1.ConditionGitHubReady, v1alpha1.ConditionModalReady} {
		if !meta.IsStatusConditionTrue(pool.Status.Conditions, needed) {
			if !meta.IsStatusConditionTrue(pool.Status.Conditions, kind) {
				setCondition(pool, kind, false, v1alpha1.ReasonWaiting, "waiting for "+needed)
			}
			return time.Time{}
		}
	}
	recipe, again, err := r.images.recipe(ctx, pool, gh)
	switch {
	case errors.Is(err, errAsking):
		if !meta.IsStatusConditionTrue(pool.Status.Conditions, kind) {
			setCondition(pool, kind, false, v1alpha1.ReasonChecking, "asking GitHub for the latest runner version")
		}
		return r.Clock.Now().Add(askingWait)
	case err != nil:
		if !meta.IsStatusConditionTrue(pool.Status.Conditions, kind) {
			setError(pool, kind, err)
		}
		return again
	}
	if have := pool.Status.Image; have != nil && have.Recipe == recipe.Digest() {
		setCondition(pool, kind, true, v1alpha1.ReasonReady, "the image is built")
		return again
	}
	state := r.images.ensure(ctx, client.ObjectKeyFromObject(pool), recipe, modal)
	switch {
	case state.id != "":
		pool.Status.Image = &v1alpha1.ImageStatus{
			ID: state.id, Recipe: recipe.Digest(), RunnerVersion: recipe.RunnerVersion, BuiltAt: metav1.NewTime(r.Clock.Now()),
		}
		setCondition(pool, kind, true, v1alpha1.ReasonReady, "the image is built")
	case successor(pool, recipe):
	case state.err != nil:
		reason := reasons[fault.ClassOf(state.err)]
		if fault.Is(state.err, fault.Invalid) {
			reason = v1alpha1.ReasonBuildFailed
		}
		setCondition(pool, kind, false, reason, tail(state.err.Error()))
	default:
		setCondition(pool, kind, false, v1alpha1.ReasonBuilding, "the image is being built, from "+recipe.Base)
	}
	if !state.running && state.id == "" {
		return state.retryAt
	}
	return again
}

// successor says that the recipe differs from the image that serves in nothing that the operator asked for.
func successor(pool *v1alpha1.RunnerPool, recipe sandbox.Recipe) bool {
	c := meta.FindStatusCondition(pool.Status.Conditions, v1alpha1.ConditionImageReady)
	return pool.Status.Image != nil && c != nil && c.Status == metav1.ConditionTrue && c.ObservedGeneration == pool.Generation &&
		pool.Status.Image.RunnerVersion != recipe.RunnerVersion
}

// maxMessage bounds a condition's message, which the API server refuses beyond 32,768 characters.
const maxMessage = 4096

// tail of a build's log: what it said last.
func tail(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return "... " + message[len(message)-maxMessage:]
}

// recipe for the pool's image, and when the runner version in it has to be looked up again.
func (i *images) recipe(ctx context.Context, pool *v1alpha1.RunnerPool, gh *github.Client) (sandbox.Recipe, time.Time, error) {
	image := pool.Spec.Image
	if image.Ref != "" {
		return sandbox.Recipe{Base: image.Ref}, time.Time{}, nil
	}
	if image.RunnerVersion != v1alpha1.RunnerVersionLatest {
		return sandbox.RecipeFor(image.Base, github.PinnedRelease(image.RunnerVersion, image.RunnerSHA256)), time.Time{}, nil
	}
	latest := i.latest(ctx, client.ObjectKeyFromObject(pool), github.ScopeOf(pool.Spec.GitHub.URL, pool.Spec.Scope), gh)
	switch {
	case latest.Version != "":
		return sandbox.RecipeFor(image.Base, latest.RunnerRelease), latest.at.Add(refreshRelease), nil
	case latest.asking:
		return sandbox.Recipe{}, time.Time{}, errAsking
	default:
		return sandbox.Recipe{}, latest.at.Add(fault.RetryAfter(latest.err, latest.at, recheckBad)), latest.err
	}
}

// errAsking says that the latest runner version is being asked for.
var errAsking = errors.New("asking")

// latest version that is known, which is asked for in the background when that is due. A version once known serves until
// there is an answer.
func (i *images) latest(ctx context.Context, pool types.NamespacedName, scope github.Scope, gh *github.Client) release {
	i.mu.Lock()
	defer i.mu.Unlock()
	known, now := i.releases[scope], i.clock.Now()
	due := known.at.Add(refreshRelease)
	if known.err != nil {
		due = known.at.Add(fault.RetryAfter(known.err, known.at, recheckBad))
	}
	if !known.asking && (known.at.IsZero() || !due.After(now)) {
		known.asking = true
		i.releases[scope] = known
		go i.ask(context.WithoutCancel(ctx), pool, scope, gh)
	}
	return known
}

// ask GitHub for the latest runner version, and wake the pool.
func (i *images) ask(ctx context.Context, pool types.NamespacedName, scope github.Scope, gh *github.Client) {
	found, err := gh.LatestRelease(ctx, scope)
	i.mu.Lock()
	known := i.releases[scope]
	if err == nil {
		known.RunnerRelease = found
	}
	known.err, known.asking, known.at = err, false, i.clock.Now()
	i.releases[scope] = known
	i.mu.Unlock()
	i.done <- event.TypedGenericEvent[types.NamespacedName]{Object: pool}
}

// ensure that the recipe is being built for the pool, unless it was or the last failure is too recent.
func (i *images) ensure(ctx context.Context, pool types.NamespacedName, recipe sandbox.Recipe, modal sandbox.Provider) build {
	i.mu.Lock()
	defer i.mu.Unlock()
	digest := recipe.Digest()
	b, ok := i.builds[pool]
	if !ok || b.digest != digest {
		b = &build{digest: digest}
		i.builds[pool] = b
	}
	if b.running || b.id != "" || i.clock.Now().Before(b.retryAt) {
		return *b
	}
	b.running = true
	log.FromContext(ctx).Info("building the image", "base", recipe.Base, "runnerVersion", recipe.RunnerVersion, "recipe", digest)
	// The build outlives the reconcile that starts it; the provider bounds it.
	go i.run(context.WithoutCancel(ctx), pool, b, recipe, modal)
	return *b
}

func (i *images) run(ctx context.Context, pool types.NamespacedName, b *build, recipe sandbox.Recipe, modal sandbox.Provider) {
	id, err := modal.BuildImage(ctx, recipe)
	i.mu.Lock()
	b.running, b.id, b.err = false, id, err
	if err != nil {
		wait := min(firstRebuild<<min(b.failures, 10), lastRebuild)
		b.failures++
		b.retryAt = i.clock.Now().Add(fault.RetryAfter(err, i.clock.Now(), wait))
		log.FromContext(ctx).Info("could not build the image", "recipe", b.digest, "error", err.Error(), "retryAt", b.retryAt)
	}
	i.mu.Unlock()
	i.done <- event.TypedGenericEvent[types.NamespacedName]{Object: pool}
}
