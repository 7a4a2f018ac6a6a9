package modal

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// timeline does things when their time has come on the clock, in the order of their times. It is one goroutine, however
// many things are to come.
type timeline struct {
	clock clock.WithTicker
	wake  chan struct{}

	// running is held while due events run, so that they run in order and settle returns only when all are done.
	running sync.Mutex

	mu     sync.Mutex
	events eventHeap
	seq    int
}

// event to come. Its function may take the server's lock; settle is therefore never called under it.
type event struct {
	at    time.Time
	seq   int
	do    func()
	index int
}

func newTimeline(c clock.WithTicker) *timeline {
	return &timeline{clock: c, wake: make(chan struct{}, 1)}
}

// after a duration do a thing; a duration of 0 is due at once, but not within this call.
func (t *timeline) after(d time.Duration, do func()) *event {
	t.mu.Lock()
	t.seq++
	e := &event{at: t.clock.Now().Add(d), seq: t.seq, do: do}
	heap.Push(&t.events, e)
	first := t.events[0] == e
	t.mu.Unlock()
	if first {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
	return e
}

// cancel an event; one that has happened, or nil, is no error.
func (t *timeline) cancel(e *event) {
	if e == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.index >= 0 {
		heap.Remove(&t.events, e.index)
	}
}

// settle runs all that is due by now.
func (t *timeline) settle() {
	t.running.Lock()
	defer t.running.Unlock()
	for {
		e := t.popDue()
		if e == nil {
			return
		}
		e.do()
	}
}

func (t *timeline) popDue() *event {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.events) == 0 || t.events[0].at.After(t.clock.Now()) {
		return nil
	}
	return heap.Pop(&t.events).(*event)
}

// next is how long it takes until something is due.
func (t *timeline) next() (time.Duration, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.events) == 0 {
		return 0, false
	}
	return t.events[0].at.Sub(t.clock.Now()), true
}

// loop runs events as they become due.
func (t *timeline) loop(ctx context.Context) {
	for ctx.Err() == nil {
		t.settle()
		wait, any := t.next()
		if !any {
			select {
			case <-ctx.Done():
			case <-t.wake:
			}
			continue
		}
		if wait > 0 {
			t.sleep(ctx, wait)
		}
	}
}

// sleep until the wait is over or something earlier has come up. The clock may have stepped before the timer was made,
// so that it would ring late: ask again once it exists.
func (t *timeline) sleep(ctx context.Context, wait time.Duration) {
	timer := t.clock.NewTimer(wait)
	defer timer.Stop()
	if again, any := t.next(); any && again < wait-time.Millisecond {
		return
	}
	select {
	case <-ctx.Done():
	case <-t.wake:
	case <-timer.C():
	}
}

// eventHeap orders events by time, then by when they were planned.
type eventHeap []*event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].seq < h[j].seq
	}
	return h[i].at.Before(h[j].at)
}
func (h eventHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *eventHeap) Push(x any) {
	e := x.(*event)
	e.index = len(*h)
	*h = append(*h, e)
}
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.index = -1
	return e
}
