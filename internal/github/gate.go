package github

import (
	"sync"
	"time"
)

// gate holds back all calls of one credential while GitHub throttles it.
type gate struct {
	mu    sync.Mutex
	until time.Time
	wait  time.Duration
}

// closedUntil is the time up to which calls are held back, zero when they are not.
func (g *gate) closedUntil(now time.Time) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.until.After(now) {
		return g.until
	}
	return time.Time{}
}

func (g *gate) close(until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until.After(g.until) {
		g.until = until
	}
}

// nextWait doubles from one throttling without a time to the next. Calls that were in flight together meet the same one.
func (g *gate) nextWait(now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.until.After(now) {
		return g.until.Sub(now)
	}
	g.wait = min(max(2*g.wait, defaultThrottle), maxThrottle)
	g.until = now.Add(g.wait)
	return g.wait
}

// opened forgets the doubling after a call that was answered.
func (g *gate) opened() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wait = 0
}
