package lanes

import "sync"

// Queues are lanes before which who finds no room waits in line, each item once: the first in line is woken when another
// leaves, so that waiting costs nothing, however many wait.
type Queues[T comparable] struct {
	width int
	wake  func(T)

	mu    sync.Mutex
	lanes map[string]*queue[T]
	// of says in which lane's line an item waits, or was woken and has not come back yet.
	of map[T]place
}

type queue[T comparable] struct {
	used int
	line []T
}

type place struct {
	lane  string
	woken bool
}

// NewQueues of lanes of a width. Wake is called for an item that may try again; it is called with no lock held.
func NewQueues[T comparable](width int, wake func(T)) *Queues[T] {
	return &Queues[T]{width: width, wake: wake, lanes: map[string]*queue[T]{}, of: map[T]place{}}
}

// Enter the lane of a key, and say whether there was room; an item for which there was none waits in line. Who entered has to
// leave.
func (q *Queues[T]) Enter(key string, item T) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	lane := q.lanes[key]
	if lane == nil {
		lane = &queue[T]{}
		q.lanes[key] = lane
	}
	at, waits := q.of[item]
	if lane.used >= q.width {
		if !waits || at.woken {
			q.of[item] = place{lane: key}
			lane.line = append(lane.line, item)
		}
		return false
	}
	// One that comes before it is woken leaves its place in the line, which is passed over then.
	delete(q.of, item)
	lane.used++
	return true
}

// Leave the lane of a key, and wake the first in line.
func (q *Queues[T]) Leave(key string) {
	q.mu.Lock()
	lane := q.lanes[key]
	lane.used--
	next, found := q.next(key)
	if lane.used == 0 && len(lane.line) == 0 {
		delete(q.lanes, key)
	}
	q.mu.Unlock()
	if found {
		q.wake(next)
	}
}

// Drop an item that does not come back. When it was woken, the next in line is.
func (q *Queues[T]) Drop(item T) {
	q.mu.Lock()
	at, waits := q.of[item]
	delete(q.of, item)
	var next T
	found := false
	if waits && at.woken {
		next, found = q.next(at.lane)
	}
	q.mu.Unlock()
	if found {
		q.wake(next)
	}
}

// next in the line of a lane, marked as woken. The lock is held.
func (q *Queues[T]) next(key string) (item T, found bool) {
	lane := q.lanes[key]
	for lane != nil && len(lane.line) > 0 {
		item, lane.line = lane.line[0], lane.line[1:]
		if at, waits := q.of[item]; waits && !at.woken && at.lane == key {
			q.of[item] = place{key, true}
			return item, true
		}
	}
	return item, false
}
