package main

import (
	"context"
	"strings"
	"sync"
	"time"

	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

// players are the runner programs of all sandboxes, as one goroutine each and without a connection: thousands of programs that
// talk to the simulated GitHub would take the machine from what is measured.
type players struct {
	github *githubsim.Server

	mu sync.Mutex
	// waiting jobs by their pool, the oldest first; changed is closed and made anew when there are more.
	waiting map[string][]int64
	changed chan struct{}
	// length of jobs that begin from now on; 0 is until they are released.
	length time.Duration
	held   []chan struct{}
	queued int
	begun  int
}

func newPlayers(github *githubsim.Server) *players {
	return &players{github: github, waiting: map[string][]int64{}, changed: make(chan struct{})}
}

// queue jobs of a pool, as a run with a matrix does: at most a hundred a run.
func (p *players) queue(pool string, count int) []int64 {
	var all []int64
	for len(all) < count {
		p.mu.Lock()
		ids := p.github.AddQueuedJobs(repository, "test", min(count-len(all), 100), []string{pool})
		p.waiting[pool] = append(p.waiting[pool], ids...)
		p.queued += len(ids)
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
		all = append(all, ids...)
	}
	return all
}

// last so long, jobs that begin from now on.
func (p *players) last(length time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.length = length
}

// release so many jobs that wait for it, the oldest first: they are over.
func (p *players) release(count int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, held := range p.held[:count] {
		close(held)
	}
	p.held = p.held[count:]
}

// started is how many jobs have begun, of how many that were queued.
func (p *players) started() (begun, queued int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.begun, p.queued
}

// run one runner in its sandbox: it takes the oldest job of its pool, and ends with it.
func (p *players) run(ctx context.Context, sandbox modalsim.Container) int {
	pool, _, _ := strings.Cut(sandbox.Name, "-")
	id, over, ok := p.take(ctx, pool, sandbox.Name)
	if !ok {
		return 1
	}
	select {
	case <-ctx.Done():
		return 1
	case <-over:
	}
	if err := p.github.CompleteJob(id, "success"); err != nil {
		return 1
	}
	return 0
}

// take a job, and say when it is over.
func (p *players) take(ctx context.Context, pool, name string) (id int64, over <-chan struct{}, ok bool) {
	for {
		p.mu.Lock()
		jobs, changed := p.waiting[pool], p.changed
		if len(jobs) > 0 {
			id, p.waiting[pool] = jobs[0], jobs[1:]
			ended := make(chan struct{})
			if p.length > 0 {
				time.AfterFunc(p.length, func() { close(ended) })
			} else {
				p.held = append(p.held, ended)
			}
			p.begun++
			p.mu.Unlock()
			// The registration is there before the sandbox is.
			return id, ended, p.github.TakeJob(id, name) == nil
		}
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			return 0, nil, false
		case <-changed:
		}
	}
}
