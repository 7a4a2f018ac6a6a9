package runnerpool

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
)

const (
	// firstRebuild is the wait after a failed build; it doubles with each failure up to lastRebuild.
	firstRebuild = 30 * time.Second
	lastRebuild  = 15 * time.Minute
)

// images are built in the background, before any job needs them: each recipe once for each app and credential, for all
// pools that want it.
type images struct {
	clock clock.PassiveClock
	// done wakes the pools whose build has ended.
	done chan<- event.TypedGenericEvent[types.NamespacedName]

	mu       sync.Mutex
	builds   map[buildKey]*build
	of       map[types.NamespacedName]buildKey
	releases map[releaseKey]release
}

// buildKey is what one build is for. Other credentials of the registry may be what one that failed needs.
type buildKey struct {
	modal    sandbox.Provider
	digest   string
	registry [sha256.Size]byte
}

// releaseKey is where the latest version is asked for, and as whom: the refusal of one credential is no other's (I7).
type releaseKey struct {
	scope github.Scope
	gh    *github.Client
}

type build struct {
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
	// refused says that GitHub refuses the version that it named last.
	refused bool
}

// due is when it has to be asked for again.
func (r release) due() time.Time {
	switch {
	case r.err != nil:
		return r.at.Add(fault.RetryAfter(r.err, r.at, recheckBad))
	case r.refused:
		return r.at.Add(refreshRefused)
	default:
		return r.at.Add(refreshRelease)
	}
}

func newImages(clock clock.PassiveClock, done chan<- event.TypedGenericEvent[types.NamespacedName]) *images {
	return &images{
		clock: clock, done: done, builds: map[buildKey]*build{}, of: map[types.NamespacedName]buildKey{}, releases: map[releaseKey]release{},
	}
}

// forget what a pool wanted, and the build if no other pool wants it.
func (i *images) forget(pool types.NamespacedName) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.leave(pool)
}

func (i *images) leave(pool types.NamespacedName) {
	key, ok := i.of[pool]
	delete(i.of, pool)
	if ok && len(i.wantedBy(key)) == 0 && i.builds[key] != nil && !i.builds[key].running {
		delete(i.builds, key)
	}
}

func (i *images) wantedBy(key buildKey) []types.NamespacedName {
	var pools []types.NamespacedName
	for pool, wanted := range i.of {
		if wanted == key {
			pools = append(pools, pool)
		}
	}
	return pools
}

// errAsking says that the latest runner version is being asked for.
var errAsking = errors.New("asking")

// latest version that is known, which is asked for in the background when that is due. A version once known serves until
// there is an answer.
func (i *images) latest(ctx context.Context, pool *v1alpha1.RunnerPool, scope github.Scope, gh *github.Client) release {
	i.mu.Lock()
	defer i.mu.Unlock()
	key := releaseKey{scope, gh}
	known, now := i.releases[key], i.clock.Now()
	if image := pool.Status.Image; image != nil && image.RefusedAt != nil && image.RunnerVersion == known.Version {
		known.refused = true
		i.releases[key] = known
	}
	if !known.asking && (known.at.IsZero() || !known.due().After(now)) {
		known.asking = true
		i.releases[key] = known
		go i.ask(context.WithoutCancel(ctx), client.ObjectKeyFromObject(pool), key)
	}
	return known
}

// ask GitHub for the latest runner version, and wake the pool.
func (i *images) ask(ctx context.Context, pool types.NamespacedName, key releaseKey) {
	found, err := key.gh.LatestRelease(ctx, key.scope)
	i.mu.Lock()
	known := i.releases[key]
	if err == nil {
		known.refused = known.refused && known.Version == found.Version
		known.RunnerRelease = found
	}
	known.err, known.asking, known.at = err, false, i.clock.Now()
	i.releases[key] = known
	// Whoever is not asked any more has been replaced, as its credentials were.
	maps.DeleteFunc(i.releases, func(_ releaseKey, r release) bool { return !r.asking && known.at.Sub(r.at) > 3*refreshRelease })
	i.mu.Unlock()
	i.done <- event.TypedGenericEvent[types.NamespacedName]{Object: pool}
}

// lost says that Modal does not have the image of a pool any more: whoever wants it has it built again.
func (i *images) lost(pool types.NamespacedName, id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if b := i.builds[i.of[pool]]; b != nil && b.id == id {
		b.id = ""
	}
}

// ensure that the recipe is being built, unless it was or the last failure is too recent.
func (i *images) ensure(ctx context.Context, pool types.NamespacedName, recipe sandbox.Recipe, modal sandbox.Provider) build {
	i.mu.Lock()
	defer i.mu.Unlock()
	key := buildKey{modal, recipe.Digest(), credentialsOf(recipe)}
	if i.of[pool] != key {
		i.leave(pool)
		i.of[pool] = key
	}
	b, ok := i.builds[key]
	if !ok {
		b = &build{}
		i.builds[key] = b
	}
	if b.running || b.id != "" || i.clock.Now().Before(b.retryAt) {
		return *b
	}
	b.running = true
	log.FromContext(ctx).Info("building the image", "base", recipe.Base, "runnerVersion", recipe.RunnerVersion, "recipe", key.digest)
	// The build outlives the reconcile that starts it; the provider bounds it.
	go i.run(context.WithoutCancel(ctx), key, b, recipe)
	return *b
}

func (i *images) run(ctx context.Context, key buildKey, b *build, recipe sandbox.Recipe) {
	begun := i.clock.Now()
	id, err := key.modal.BuildImage(ctx, recipe)
	metrics.ImageBuilt(i.clock.Since(begun), err)
	i.mu.Lock()
	b.running, b.id, b.err = false, id, err
	if err != nil {
		wait := min(firstRebuild<<min(b.failures, 10), lastRebuild)
		b.id = ""
		b.failures++
		b.retryAt = i.clock.Now().Add(fault.RetryAfter(err, i.clock.Now(), wait))
		log.FromContext(ctx).Info("could not build the image", "recipe", key.digest, "error", err.Error(), "retryAt", b.retryAt)
	}
	pools := i.wantedBy(key)
	if len(pools) == 0 {
		delete(i.builds, key)
	}
	i.mu.Unlock()
	for _, pool := range pools {
		i.done <- event.TypedGenericEvent[types.NamespacedName]{Object: pool}
	}
}

// credentialsOf a recipe, as a digest.
func credentialsOf(recipe sandbox.Recipe) [sha256.Size]byte {
	if recipe.Registry == nil {
		return [sha256.Size]byte{}
	}
	var all []string
	for key, value := range recipe.Registry.Values {
		all = append(all, fmt.Sprintf("%q=%q", key, value.Reveal()))
	}
	slices.Sort(all)
	return sha256.Sum256(fmt.Append(nil, all))
}
