package ingress

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/lanes"
)

const (
	// parallelPolls bounds how many repositories are asked at once with one credential.
	parallelPolls = 8
	// kickWait is the least time between two polls of a pool, however often it is asked for.
	kickWait = 2 * time.Second
	// pollTick is how often the poller looks which pools are due.
	pollTick = 500 * time.Millisecond
)

// Poller asks GitHub for the queued jobs of every repository pool, so that a job whose webhook never came is found (B04,
// B05), and so that the product works with no webhook at all. It implements manager.Runnable and needs the leader's lease.
type Poller struct {
	client.Client
	GitHub   *github.Clients
	Recorder *Recorder
	Clock    clock.WithTicker
	// Doubt is told of a pool whose credentials are refused, so that its conditions say so soon.
	Doubt func(pool types.NamespacedName)
	// Interval between two polls of a pool.
	Interval time.Duration

	mu   sync.Mutex
	next map[types.NamespacedName]time.Time
	busy map[types.NamespacedName]bool
}

// Kick has a pool polled soon.
func (p *Poller) Kick(pool types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	soon := p.Clock.Now().Add(kickWait)
	if at, ok := p.next[pool]; ok && at.After(soon) {
		p.next[pool] = soon
	}
}

// Start polls until the context ends.
func (p *Poller) Start(ctx context.Context) error {
	p.mu.Lock()
	p.next, p.busy = map[types.NamespacedName]time.Time{}, map[types.NamespacedName]bool{}
	p.mu.Unlock()
	ticker := p.Clock.NewTicker(pollTick)
	defer ticker.Stop()
	credential := lanes.New(parallelPolls)
	var polls sync.WaitGroup
	defer polls.Wait()
	for {
		for _, pool := range p.due(ctx, credential) {
			polls.Go(func() {
				defer credential.Leave(laneOf(&pool))
				p.pollOne(ctx, pool)
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
	}
}

func laneOf(pool *v1alpha1.RunnerPool) string {
	return pool.Namespace + "/" + pool.Spec.GitHub.SecretName
}

// due are the pools to poll now, marked as being polled and let into their lanes: a server that hangs holds up its own
// pools alone. Pools that are gone are forgotten.
func (p *Poller) due(ctx context.Context, credential *lanes.Lanes) []v1alpha1.RunnerPool {
	var pools v1alpha1.RunnerPoolList
	if err := p.List(ctx, &pools); err != nil {
		log.FromContext(ctx).Error(err, "could not list pools to poll")
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	alive := make(map[types.NamespacedName]bool, len(pools.Items))
	var due []v1alpha1.RunnerPool
	for _, pool := range pools.Items {
		key := client.ObjectKeyFromObject(&pool)
		alive[key] = true
		if pool.Spec.Repository == "" || !pool.DeletionTimestamp.IsZero() || p.busy[key] || p.next[key].After(p.Clock.Now()) ||
			!credential.Enter(laneOf(&pool)) {
			continue
		}
		p.busy[key] = true
		due = append(due, pool)
	}
	for key := range p.next {
		if !alive[key] {
			delete(p.next, key)
		}
	}
	return due
}

func (p *Poller) pollOne(ctx context.Context, pool v1alpha1.RunnerPool) {
	key := client.ObjectKeyFromObject(&pool)
	err := p.poll(ctx, &pool)
	wait := p.Interval
	if err != nil {
		wait = max(wait, fault.RetryAfter(err, p.Clock.Now(), wait))
		log.FromContext(ctx).V(1).Info("could not poll the queue", "pool", key.String(), "error", err.Error())
		if fault.Is(err, fault.Unauthorized, fault.Forbidden, fault.NotFound, fault.SecretMissing, fault.SecretInvalid) {
			p.Doubt(key)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy[key] = false
	p.next[key] = p.Clock.Now().Add(wait)
}

// poll the queue of a pool's repository: record every job that the pool may serve, and ask for each that is stored as not
// completed but not listed any more.
func (p *Poller) poll(ctx context.Context, pool *v1alpha1.RunnerPool) error {
	scope := github.ScopeOf(pool.Spec.GitHub.URL, pool.Spec.Scope)
	gh, err := p.GitHub.For(ctx, pool.Namespace, pool.Spec.GitHub, scope)
	if err != nil {
		return err
	}
	active, err := gh.ActiveJobs(ctx, scope.Owner, scope.Repository)
	if err != nil {
		return err
	}
	origin := Origin{Server: scope.Server, Organization: scope.Owner}
	listed := make(map[int64]bool, len(active))
	var failures []error
	for _, job := range active {
		listed[job.ID] = true
		// One bad item does not stop the rest (B53).
		failures = append(failures, p.record(ctx, origin, job))
	}
	var stored v1alpha1.WorkflowJobList
	if err := p.List(ctx, &stored, client.InNamespace(pool.Namespace), client.MatchingLabels{v1alpha1.PoolLabel: pool.Name}); err != nil {
		return fmt.Errorf("listing WorkflowJobs: %w", err)
	}
	for i := range stored.Items {
		job := &stored.Items[i]
		if job.Status.State != v1alpha1.JobCompleted && !listed[job.Spec.ID] && strings.EqualFold(job.Spec.Repository, pool.Spec.Repository) {
			failures = append(failures, p.Recorder.Confirm(ctx, gh, job, p.Clock.Now()))
		}
	}
	return errors.Join(failures...)
}

// record a listed job. One that was never seen and is over or has no runner to wait for is no news.
func (p *Poller) record(ctx context.Context, origin Origin, job github.Job) error {
	if job.State == v1alpha1.JobCompleted {
		known, err := p.Recorder.knows(ctx, origin, job.ID)
		if err != nil || !known {
			return err
		}
	}
	_, err := p.Recorder.Record(ctx, origin, job)
	return err
}
