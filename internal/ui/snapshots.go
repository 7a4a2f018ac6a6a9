package ui

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

const (
	// settle is how long a change waits for others that come with it, and atMostEvery how often what is shown changes.
	settle      = 200 * time.Millisecond
	atMostEvery = time.Second
	// atLeastEvery it is made anew while somebody looks, since what is shown tells of times.
	atLeastEvery = 15 * time.Second
	// maxClients that look at once. What they see is made once for all of them.
	maxClients = 100
	// maxViews with different filters that are kept of a snapshot.
	maxViews = 64
)

// snapshots of the cluster, which all clients share. While nobody looks, none is made.
type snapshots struct {
	reader     client.Reader
	clock      clock.WithTicker
	controller func() Controller

	mu      sync.Mutex
	current *snapshot
	stale   bool
	clients int
	// replaced is closed when there is another current one.
	replaced chan struct{}

	nudges chan struct{}
}

func newSnapshots(reader client.Reader, now clock.WithTicker, controller func() Controller) *snapshots {
	return &snapshots{reader: reader, clock: now, controller: controller, replaced: make(chan struct{}), nudges: make(chan struct{}, 1)}
}

// nudge says that something has changed. It never blocks.
func (s *snapshots) nudge() {
	s.mu.Lock()
	s.stale = true
	s.mu.Unlock()
	s.wake()
}

// wake what replaces the current snapshot.
func (s *snapshots) wake() {
	select {
	case s.nudges <- struct{}{}:
	default:
	}
}

// join as a client; false when there are too many. The client leaves when it is done.
func (s *snapshots) join() (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients >= maxClients {
		return nil, false
	}
	s.clients++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.clients--
	}), true
}

// run until the context ends: replace the current snapshot when something has changed, for those who look.
func (s *snapshots) run(ctx context.Context) {
	tick := s.clock.NewTicker(atLeastEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.nudges:
			s.sleep(ctx, settle)
		case <-tick.C():
		}
		if s.clientCount() == 0 {
			s.letGo()
			continue
		}
		s.sleep(ctx, s.tooEarlyBy())
		s.mu.Lock()
		// What could not be read is tried again with the next change or tick.
		_ = s.replace(ctx)
		s.mu.Unlock()
	}
}

func (s *snapshots) sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := s.clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C():
	}
}

func (s *snapshots) clientCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clients
}

// letGo of a snapshot that is too old to be shown: it holds objects that the cache has replaced since.
func (s *snapshots) letGo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && s.clock.Since(s.current.now) >= atLeastEvery {
		s.current = nil
	}
}

// tooEarlyBy is how long the current snapshot has to stand still.
func (s *snapshots) tooEarlyBy() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return 0
	}
	return atMostEvery - s.clock.Since(s.current.now)
}

// latest snapshot, made where there is none that is new enough, and a channel that is closed when there is another.
func (s *snapshots) latest(ctx context.Context) (*snapshot, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil || s.stale && s.clock.Since(s.current.now) >= atMostEvery || s.clock.Since(s.current.now) >= atLeastEvery {
		if err := s.replace(ctx); err != nil {
			return nil, s.replaced, err
		}
	}
	if s.stale {
		// It stood still for too short. Whoever waits is told when it has been replaced.
		s.wake()
	}
	return s.current, s.replaced, nil
}

// replace the current snapshot and tell those who wait for it. The lock is held.
func (s *snapshots) replace(ctx context.Context) error {
	s.stale = false
	objects, err := s.read(ctx)
	if err != nil {
		s.stale = true
		return err
	}
	s.current = &snapshot{objects: objects, controller: s.controller(), now: s.clock.Now().UTC(), views: map[Filter]*view{}}
	close(s.replaced)
	s.replaced = make(chan struct{})
	return nil
}

// read all objects from the cache, without copying them.
func (s *snapshots) read(ctx context.Context) (*Objects, error) {
	var (
		pools   v1alpha1.RunnerPoolList
		runners v1alpha1.RunnerList
		jobs    v1alpha1.WorkflowJobList
	)
	for _, list := range []client.ObjectList{&pools, &runners, &jobs} {
		if err := s.reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("reading what there is: %w", err)
		}
	}
	return &Objects{Pools: pools.Items, Runners: runners.Items, Jobs: jobs.Items}, nil
}

// snapshot of everything at one time.
type snapshot struct {
	objects    *Objects
	controller Controller
	now        time.Time

	mu    sync.Mutex
	views map[Filter]*view
}

// view of a snapshot through a filter.
type view struct {
	state *State
	// id is the same for views that show the same.
	id string
	// json of the state, and html of what the page shows of it.
	json []byte
	html func() ([]byte, error)
}

// view through a filter, made once for all who look through it.
func (s *snapshot) view(f Filter) (*view, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.views[f]; v != nil {
		return v, nil
	}
	state := Build(s.objects, f, s.controller, s.now)
	text, err := json.Marshal(state)
	if err != nil {
		return nil, fmt.Errorf("encoding the state: %w", err)
	}
	v := &view{state: state, json: text, id: idOf(state), html: sync.OnceValues(func() ([]byte, error) { return renderLive(state) })}
	if len(s.views) < maxViews {
		s.views[f] = v
	}
	return v, nil
}

// idOf what a state shows, whenever it was made.
func idOf(state *State) string {
	timeless := *state
	timeless.Now = time.Time{}
	// What could be encoded a moment ago can be encoded.
	text, _ := json.Marshal(&timeless)
	return digest(text)
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12])
}
