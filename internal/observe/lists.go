// Package observe watches the outside by list: one list per GitHub scope and one per Modal app, shared by all Runners,
// that wakes only those whose outside state has changed.
package observe

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/modalrunner/modal-runner-controller/internal/fault"
)

// ListFunc lists everything at a source, by name or ID. It gives all of it or an error: what a list lacks counts as gone.
type ListFunc[T comparable] func(ctx context.Context) (map[string]T, error)

// Lists keeps the latest list of each source that some object is interested in. T is what is known of one item.
type Lists[T comparable] struct {
	interval time.Duration
	clock    clock.WithTicker
	wake     chan event.TypedGenericEvent[types.NamespacedName]

	mu      sync.Mutex
	sources map[string]*source[T]
	objects map[types.NamespacedName]tracked
}

type tracked struct{ source, item string }

type source[T comparable] struct {
	list     ListFunc[T]
	tracked  map[string]*watcher // by item
	items    map[string]T
	listedAt time.Time // when the list that items come from was begun
	nextAt   time.Time
	busy     bool
	// keep is how often the source is listed while nothing at it is tracked; 0 is never.
	keep time.Duration
}

// pause between two lists.
func (s *source[T]) pause(interval time.Duration) time.Duration {
	if len(s.tracked) == 0 {
		return max(interval, s.keep)
	}
	return interval
}

// watcher is an object that tracks an item. It is woken by the first list that it is in, whatever that says: an item that
// came and went between two lists never shows as a change.
type watcher struct {
	object types.NamespacedName
	listed bool
}

// wakeBuffer is how many wake-ups may wait for the controller; more block the list that makes them, not the others.
const wakeBuffer = 1024

// NewLists lists each source every interval, for as long as something at it is tracked.
func NewLists[T comparable](interval time.Duration, clock clock.WithTicker) *Lists[T] {
	return &Lists[T]{
		interval: interval, clock: clock,
		wake:    make(chan event.TypedGenericEvent[types.NamespacedName], wakeBuffer),
		sources: map[string]*source[T]{}, objects: map[types.NamespacedName]tracked{},
	}
}

// Wakes gives the objects whose item has changed, appeared or gone.
func (l *Lists[T]) Wakes() <-chan event.TypedGenericEvent[types.NamespacedName] { return l.wake }

// Track wakes the object whenever the item changes in the lists of the source. An object tracks one item at a time; the
// list function of the latest call is the one that is used.
func (l *Lists[T]) Track(object types.NamespacedName, sourceKey, item string, list ListFunc[T]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.source(sourceKey)
	s.list = list
	if soon := l.clock.Now().Add(l.interval / 2); len(s.tracked) == 0 && s.nextAt.After(soon) {
		s.nextAt = soon
	}
	now := tracked{source: sourceKey, item: item}
	earlier, ok := l.objects[object]
	if ok && earlier == now {
		return
	}
	l.objects[object] = now
	s.tracked[item] = &watcher{object: object}
	if ok {
		l.forget(object, earlier)
	}
}

// source of a key, made when it is new. The lock is held.
func (l *Lists[T]) source(key string) *source[T] {
	s, ok := l.sources[key]
	if !ok {
		s = &source[T]{tracked: map[string]*watcher{}, nextAt: l.clock.Now().Add(l.interval / 2)}
		l.sources[key] = s
	}
	return s
}

// Keep a source listed every so often also while nothing at it is tracked, until it is Released.
func (l *Lists[T]) Keep(sourceKey string, every time.Duration, list ListFunc[T]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.source(sourceKey)
	s.keep = every
	if s.list == nil {
		s.list = list
	}
}

// Release a source that was kept.
func (l *Lists[T]) Release(sourceKey string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, ok := l.sources[sourceKey]; ok {
		s.keep = 0
		l.drop(sourceKey, s)
	}
}

// drop a source in which nobody is interested. The lock is held.
func (l *Lists[T]) drop(key string, s *source[T]) {
	if len(s.tracked) == 0 && s.keep == 0 {
		delete(l.sources, key)
	}
}

// Latest list of a source, which must not be changed, and when it was begun: zero when there was none yet.
func (l *Lists[T]) Latest(sourceKey string) (items map[string]T, listedAt time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, ok := l.sources[sourceKey]; ok {
		return s.items, s.listedAt
	}
	return nil, time.Time{}
}

// Listed tells when the latest list of each source was begun that went well: zero for none yet.
func (l *Lists[T]) Listed() map[string]time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	listed := make(map[string]time.Time, len(l.sources))
	for key, s := range l.sources {
		listed[key] = s.listedAt
	}
	return listed
}

// Untrack an object. A source at which nothing is tracked is not listed any more.
func (l *Lists[T]) Untrack(object types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if earlier, ok := l.objects[object]; ok {
		l.forget(object, earlier)
		delete(l.objects, object)
	}
}

func (l *Lists[T]) forget(object types.NamespacedName, earlier tracked) {
	s := l.sources[earlier.source]
	if w, ok := s.tracked[earlier.item]; ok && w.object == object {
		delete(s.tracked, earlier.item)
	}
	l.drop(earlier.source, s)
}

// Owner is the object that tracks an item of that name at any source.
func (l *Lists[T]) Owner(item string) (types.NamespacedName, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sources {
		if w, ok := s.tracked[item]; ok {
			return w.object, true
		}
	}
	return types.NamespacedName{}, false
}

// Get what the latest list of a source says of an item, and when that list was begun: zero when there was none yet. What
// happened after that time may not show in it.
func (l *Lists[T]) Get(sourceKey, item string) (state T, found bool, listedAt time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.sources[sourceKey]
	if !ok {
		return state, false, time.Time{}
	}
	state, found = s.items[item]
	return state, found, s.listedAt
}

// Start lists until the context ends. It implements manager.Runnable and needs the leader's lease, as its readers do.
func (l *Lists[T]) Start(ctx context.Context) error {
	ticker := l.clock.NewTicker(max(l.interval/10, 50*time.Millisecond))
	defer ticker.Stop()
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
			for key, list := range l.due() {
				running.Go(func() { l.refresh(ctx, key, list) })
			}
		}
	}
}

// Refresh lists every source that is due and returns when that is done.
func (l *Lists[T]) Refresh(ctx context.Context) {
	var running sync.WaitGroup
	for key, list := range l.due() {
		running.Go(func() { l.refresh(ctx, key, list) })
	}
	running.Wait()
}

// due are the sources to list now, marked as being listed.
func (l *Lists[T]) due() map[string]ListFunc[T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	due := map[string]ListFunc[T]{}
	for key, s := range l.sources {
		if !s.busy && !s.nextAt.After(l.clock.Now()) {
			s.busy = true
			due[key] = s.list
		}
	}
	return due
}

// refresh lists one source. An error leaves what is known as it is.
func (l *Lists[T]) refresh(ctx context.Context, key string, list ListFunc[T]) {
	begun := l.clock.Now()
	items, err := list(ctx)
	if err != nil {
		log.FromContext(ctx).V(1).Info("could not list", "source", key, "error", err.Error())
	}
	for _, object := range l.store(key, begun, items, err) {
		select {
		case l.wake <- event.TypedGenericEvent[types.NamespacedName]{Object: object}:
		case <-ctx.Done():
			return
		}
	}
}

// store a list and give the objects whose items have changed in it.
func (l *Lists[T]) store(key string, begun time.Time, items map[string]T, err error) []types.NamespacedName {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.sources[key]
	if !ok {
		return nil
	}
	s.busy = false
	now := l.clock.Now()
	if err != nil {
		s.nextAt = now.Add(max(l.interval, fault.RetryAfter(err, now, l.interval)))
		return nil
	}
	s.nextAt = begun.Add(s.pause(l.interval))
	var changed []types.NamespacedName
	for item, w := range s.tracked {
		before, was := s.items[item]
		after, is := items[item]
		if !w.listed || was != is || before != after {
			changed = append(changed, w.object)
		}
		w.listed = true
	}
	s.items, s.listedAt = items, begun
	return changed
}

// Request turns a wake-up into a reconcile request.
func Request(_ context.Context, object types.NamespacedName) []ctrl.Request {
	return []ctrl.Request{{NamespacedName: object}}
}
