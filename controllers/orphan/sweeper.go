// Package orphan removes what is left over outside: sandboxes and registrations that this controller made and no Runner
// owns. In its normal life a Runner leaves nothing; what this finds comes from calls that took effect after they were given
// up, and from Runners whose finalizers were taken off by hand.
package orphan

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
	"github.com/modalrunner/modal-runner-controller/internal/observe"
	"github.com/modalrunner/modal-runner-controller/internal/shard"
)

// +kubebuilder:rbac:groups=modalrunner.dev,resources=runnerpools,verbs=get;list;watch
// +kubebuilder:rbac:groups=modalrunner.dev,resources=runners,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Kinds of orphans, as in the metric and the events.
const (
	kindRegistration = "registration"
	kindSandbox      = "sandbox"
)

// Sweeper looks through the shared lists for orphans. It implements manager.Runnable and needs the leader's lease.
//
// An orphan is told by its name, which has the mark of this installation and is no living Runner's: what another controller
// or a person made never matches. It is removed when it was seen in two lists at least Grace apart, never for what a list
// lacks (B43, B44), and only after the API server itself has said that no Runner owns it.
type Sweeper struct {
	client.Client
	*observe.Outside
	// Live reads from the API server.
	Live   client.Reader
	Clock  clock.WithTicker
	Events events.EventRecorder
	// Installation is the mark in the names of what this controller makes.
	Installation string
	// Interval at which places without any Runner are listed.
	Interval time.Duration
	// Grace that an orphan has.
	Grace time.Duration
	// Shard of the pools whose places are swept. What is found there may be any shard's: all of them have one mark, and no
	// Runner of any is without an owner.
	Shard *shard.Shard

	seen sightings
	kept map[string]func()
}

// tick is how often the lists are looked through, at most.
const tick = 10 * time.Second

// Start sweeps until the context ends.
func (s *Sweeper) Start(ctx context.Context) error {
	ticker := s.Clock.NewTicker(max(min(tick, s.Grace/4), 100*time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
			s.Sweep(ctx)
		}
	}
}

// Sweep once through the latest lists of every pool's place.
func (s *Sweeper) Sweep(ctx context.Context) {
	places, err := s.places(ctx)
	if err != nil {
		log.FromContext(ctx).Error(err, "could not list pools to sweep")
		return
	}
	s.keep(places)
	owned, err := s.owned(ctx, s.Client)
	if err != nil {
		log.FromContext(ctx).Error(err, "could not list Runners")
		return
	}
	s.removeAll(ctx, append(s.registrations(places, owned), s.sandboxes(places, owned)...))
	s.count(places, owned)
	s.seen.forget(s.Clock.Now().Add(-forgetAfter))
}

// count the orphans that are still there. One that only one list has may be what a Runner has ended since.
func (s *Sweeper) count(places []place, owned map[string]bool) {
	standing := map[string]map[string]bool{kindRegistration: {}, kindSandbox: {}}
	for _, p := range places {
		registrations, _ := s.Registrations.Latest(p.Registrations())
		for name := range registrations {
			if key := registrationKey(name, p); s.isOrphan(name, owned) && s.seen[key].lists > 1 {
				standing[kindRegistration][key] = true
			}
		}
		sandboxes, _ := s.SandboxLists.Latest(p.Sandboxes())
		for id, sandbox := range sandboxes {
			if key := sandboxKey(id, p); s.isOrphan(sandbox.Name, owned) && s.seen[key].lists > 1 {
				standing[kindSandbox][key] = true
			}
		}
	}
	for kind, keys := range standing {
		metrics.Orphans(kind, len(keys))
	}
}

func registrationKey(name string, p place) string {
	return "registration " + name + " at " + p.Registrations()
}

func sandboxKey(id string, p place) string { return "sandbox " + id + " at " + p.Sandboxes() }

// registrations that are due to be removed.
func (s *Sweeper) registrations(places []place, owned map[string]bool) []orphan {
	var due []orphan
	for _, p := range places {
		listed, at := s.Registrations.Latest(p.Registrations())
		for name := range listed {
			key := registrationKey(name, p)
			if s.isOrphan(name, owned) && s.seen.due(key, at, s.Grace) {
				due = append(due, orphan{key: key, kind: kindRegistration, name: name, place: p})
			}
		}
	}
	return due
}

// sandboxes that are due to be removed, each with the place where a runner of its name is registered, if it is anywhere:
// pools of several scopes may share a Modal app, and only there GitHub says whether the runner has a job.
func (s *Sweeper) sandboxes(places []place, owned map[string]bool) []orphan {
	registered := map[string]place{}
	for _, p := range places {
		listed, _ := s.Registrations.Latest(p.Registrations())
		for name := range listed {
			registered[name] = p
		}
	}
	var due []orphan
	looked := map[string]bool{}
	for _, p := range places {
		listed, at := s.SandboxLists.Latest(p.Sandboxes())
		if looked[p.Sandboxes()] {
			continue
		}
		looked[p.Sandboxes()] = true
		for id, sandbox := range listed {
			key := sandboxKey(id, p)
			if !s.isOrphan(sandbox.Name, owned) || !s.seen.due(key, at, s.Grace) {
				continue
			}
			o := orphan{key: key, kind: kindSandbox, name: sandbox.Name, id: id, place: p}
			if at, ok := registered[sandbox.Name]; ok {
				o.place.Scope, o.place.GitHub = at.Scope, at.GitHub
			}
			due = append(due, o)
		}
	}
	return due
}

// isOrphan says whether a name was given by this controller to what no Runner has now.
func (s *Sweeper) isOrphan(name string, owned map[string]bool) bool {
	return v1alpha1.InstallationOf(name) == s.Installation && !owned[name]
}

// place is where a pool's runners are, with the pool that tells of what is found there.
type place struct {
	observe.Place
	pool *v1alpha1.RunnerPool
}

// places of the shard's pools, each list once.
func (s *Sweeper) places(ctx context.Context) ([]place, error) {
	var pools v1alpha1.RunnerPoolList
	if err := s.List(ctx, &pools); err != nil {
		return nil, err
	}
	listed := map[string]bool{}
	var places []place
	for i := range pools.Items {
		pool := &pools.Items[i]
		if !s.Shard.Holds(pool) {
			continue
		}
		p := place{observe.PlaceOf(pool.Namespace, pool.Spec.Scope, &pool.Spec.RunnerTemplate), pool}
		if id := p.Registrations() + " " + p.Sandboxes(); !listed[id] {
			listed[id] = true
			places = append(places, p)
		}
	}
	return places, nil
}

// keep the places' lists made also while no Runner is there, and no others.
func (s *Sweeper) keep(places []place) {
	kept := map[string]func(){}
	for _, p := range places {
		registrations, sandboxes := p.Registrations(), p.Sandboxes()
		s.Registrations.Keep(registrations, s.Interval, s.ListRegistrations(p.Place))
		kept["registrations "+registrations] = func() { s.Registrations.Release(registrations) }
		s.SandboxLists.Keep(sandboxes, s.Interval, s.ListSandboxes(p.Place))
		kept["sandboxes "+sandboxes] = func() { s.SandboxLists.Release(sandboxes) }
	}
	for id, release := range s.kept {
		if kept[id] == nil {
			release()
		}
	}
	s.kept = kept
}

// owned are the outside names of all Runners.
func (s *Sweeper) owned(ctx context.Context, reader client.Reader, options ...client.ListOption) (map[string]bool, error) {
	var runners v1alpha1.RunnerList
	if err := reader.List(ctx, &runners, options...); err != nil {
		return nil, err
	}
	names := make(map[string]bool, len(runners.Items))
	for i := range runners.Items {
		names[runners.Items[i].OutsideName()] = true
	}
	return names, nil
}

// orphan that is due to be removed.
type orphan struct {
	key, kind, name, id string
	place               place
}

// removeAll that the API server confirms to have no Runner. One that fails does not stop the others.
func (s *Sweeper) removeAll(ctx context.Context, due []orphan) {
	if len(due) == 0 {
		return
	}
	owned, err := s.ownedLive(ctx)
	if err != nil {
		log.FromContext(ctx).Info("could not confirm that orphans have no Runner", "error", err.Error())
		return
	}
	for _, o := range due {
		if owned[o.name] {
			continue
		}
		removed, err := s.remove(ctx, o)
		switch {
		case err != nil:
			log.FromContext(ctx).Info("could not remove an orphan; trying again", "kind", o.kind, "name", o.name, "error", err.Error())
		case removed:
			// The lists have it until they are made again.
			delete(s.seen, o.key)
			log.FromContext(ctx).Info("removed an orphan", "kind", o.kind, "name", o.name, "sandbox", o.id)
			metrics.OrphanRemoved(o.kind)
			s.Events.Eventf(o.place.pool, nil, corev1.EventTypeWarning, v1alpha1.EventOrphanRemoved, "Sweep", "removed the %s %s, which no Runner owned", o.kind, o.name)
		}
	}
}

// ownedLive are the outside names of all Runners in the namespaces that have pools, of whichever shard, as the API server knows
// them.
func (s *Sweeper) ownedLive(ctx context.Context) (map[string]bool, error) {
	var pools v1alpha1.RunnerPoolList
	if err := s.List(ctx, &pools, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	all, asked := map[string]bool{}, map[string]bool{}
	for _, pool := range pools.Items {
		if asked[pool.Namespace] {
			continue
		}
		asked[pool.Namespace] = true
		names, err := s.owned(ctx, s.Live, client.InNamespace(pool.Namespace))
		if err != nil {
			return nil, err
		}
		for name := range names {
			all[name] = true
		}
	}
	return all, nil
}

// remove an orphan, unless GitHub says that its runner has a job: such a one ends by itself (I4).
func (s *Sweeper) remove(ctx context.Context, o orphan) (bool, error) {
	gh, err := s.GitHubAt(ctx, o.place.Place)
	if err != nil {
		return false, err
	}
	registered, err := gh.FindRunner(ctx, o.place.Scope, o.name)
	if err == nil {
		err = gh.DeleteRunner(ctx, o.place.Scope, registered.ID)
	}
	if fault.Is(err, fault.Busy) {
		return false, nil
	}
	if fault.IgnoreNotFound(err) != nil {
		return false, err
	}
	if o.kind == kindRegistration {
		return true, nil
	}
	modal, err := s.ModalAt(ctx, o.place.Place)
	if err != nil {
		return false, err
	}
	if err := modal.Terminate(ctx, o.id); err != nil {
		return false, fmt.Errorf("terminating: %w", err)
	}
	return true, nil
}
