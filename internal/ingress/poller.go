package ingress

import (
	"context"
	"errors"
	"maps"
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
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
	"github.com/modalrunner/modal-runner-controller/internal/shard"
)

const (
	// parallelPolls bounds how many queues are asked at once with one credential.
	parallelPolls = 8
	// kickWait is the least time between two polls of a queue, however often it is asked for.
	kickWait = 2 * time.Second
	// pollTick is how often the poller looks which queues are due.
	pollTick = 500 * time.Millisecond
)

// Poller asks GitHub for the queued jobs of every pool, so that a job whose webhook never came is found (B04, B05), and so
// that the product works with no webhook at all. It implements manager.Runnable and needs the leader's lease.
type Poller struct {
	client.Client
	GitHub   *github.Clients
	Recorder *Recorder
	Clock    clock.WithTicker
	// Doubt is told of a pool whose credentials are refused or limited, so that its conditions say so soon.
	Doubt func(pool types.NamespacedName)
	// Interval between two polls of a queue.
	Interval time.Duration
	// Shard of the pools that are polled for. What is polled moves no others: their shard polls for them.
	Shard *shard.Shard

	mu    sync.Mutex
	next  map[queue]time.Time
	busy  map[queue]bool
	turns map[turnKey]int
	of    map[types.NamespacedName]queue
	// told is when the latest poll was begun that went well.
	told map[queue]time.Time
}

// Told says whether a pool's queue was polled well, all of it, since a time.
func (p *Poller) Told(pool types.NamespacedName, since time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.told[p.of[pool]].After(since)
}

// Polled tells when the latest poll of each queue was begun that went well: zero for none yet.
func (p *Poller) Polled() map[metrics.Queue]time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	polled := map[metrics.Queue]time.Time{}
	for _, q := range p.of {
		polled[metrics.Queue{Scope: q.scope.String(), Credential: q.lane()}] = p.told[q]
	}
	return polled
}

// Kick has a pool's queue polled soon.
func (p *Poller) Kick(pool types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q, known := p.of[pool]
	soon := p.Clock.Now().Add(kickWait)
	if at, ok := p.next[q]; known && ok && at.After(soon) {
		p.next[q] = soon
	}
}

func (p *Poller) prepare() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next, p.busy, p.turns, p.told = map[queue]time.Time{}, map[queue]bool{}, map[turnKey]int{}, map[queue]time.Time{}
}

// Start polls until the context ends.
func (p *Poller) Start(ctx context.Context) error {
	p.prepare()
	ticker := p.Clock.NewTicker(pollTick)
	defer ticker.Stop()
	credential := lanes.New(parallelPolls)
	var polls sync.WaitGroup
	defer polls.Wait()
	for {
		for q, pools := range p.due(ctx, credential) {
			polls.Go(func() {
				defer credential.Leave(q.lane())
				p.pollOne(ctx, q, pools)
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
	}
}

// due are the queues to poll now with the pools that share them, marked as being polled and let into their lanes: a server
// that hangs holds up its own queues alone. Queues whose pools are gone are forgotten.
func (p *Poller) due(ctx context.Context, credential *lanes.Lanes) map[queue][]v1alpha1.RunnerPool {
	var list v1alpha1.RunnerPoolList
	if err := p.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "could not list pools to poll")
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	all := map[queue][]v1alpha1.RunnerPool{}
	p.of = map[types.NamespacedName]queue{}
	for _, pool := range list.Items {
		if pool.DeletionTimestamp.IsZero() && p.Shard.Holds(&pool) {
			q := queueOf(&pool)
			all[q] = append(all[q], pool)
			p.of[client.ObjectKeyFromObject(&pool)] = q
		}
	}
	maps.DeleteFunc(p.next, func(q queue, _ time.Time) bool { return all[q] == nil })
	maps.DeleteFunc(p.told, func(q queue, _ time.Time) bool { return all[q] == nil })
	maps.DeleteFunc(p.turns, func(t turnKey, _ int) bool { return all[t.queue] == nil })
	maps.DeleteFunc(all, func(q queue, _ []v1alpha1.RunnerPool) bool {
		return p.busy[q] || p.next[q].After(p.Clock.Now()) || !credential.Enter(q.lane())
	})
	for q := range all {
		p.busy[q] = true
	}
	return all
}

func (p *Poller) pollOne(ctx context.Context, q queue, pools []v1alpha1.RunnerPool) {
	begun := p.Clock.Now()
	err := p.poll(ctx, q, pools)
	wait := p.Interval
	if err != nil {
		wait = max(wait, fault.RetryAfter(err, p.Clock.Now(), wait))
		log.FromContext(ctx).V(1).Info("could not poll the queue", "of", q.scope.String(), "error", err.Error())
		// Of a wider scope, one repository that is refused says nothing about the rest.
		if fault.Is(err, fault.Unauthorized, fault.SecretMissing, fault.SecretInvalid, fault.Throttled) ||
			q.scope.Repository != "" && fault.Is(err, fault.Forbidden, fault.NotFound) {
			for i := range pools {
				p.Doubt(client.ObjectKeyFromObject(&pools[i]))
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.busy, q)
	if err == nil {
		p.told[q] = begun
	}
	p.next[q] = p.Clock.Now().Add(wait)
}

// poll a queue: record every job that a pool may serve, and ask for each that is stored as not completed but not listed any
// more. A repository that cannot be asked does not stop the others (B53).
func (p *Poller) poll(ctx context.Context, q queue, pools []v1alpha1.RunnerPool) error {
	gh, err := p.GitHub.For(ctx, q.namespace, v1alpha1.GitHub{URL: q.scope.Server, SecretName: q.secret}, q.scope)
	if err != nil {
		return err
	}
	open, err := p.open(ctx, q, pools)
	if err != nil {
		return err
	}
	repositories, err := p.repositories(ctx, gh, q, pools, open)
	failures := []error{err}
	for _, repository := range repositories {
		err := p.pollRepository(ctx, gh, q, repository, open[strings.ToLower(repository)])
		if fault.Is(err, fault.Throttled, fault.Held, fault.Unauthorized) {
			return err
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

func (p *Poller) pollRepository(ctx context.Context, gh *github.Client, q queue, repository string, open []*v1alpha1.WorkflowJob) error {
	owner, name, _ := strings.Cut(repository, "/")
	active, err := gh.ActiveJobs(ctx, owner, name)
	listed := make(map[int64]bool, len(active))
	failures := []error{err}
	for _, job := range active {
		listed[job.ID] = true
		failures = append(failures, p.record(ctx, q, job))
	}
	if err != nil {
		// What the list lacks may only not have been listed.
		return errors.Join(failures...)
	}
	for _, job := range open {
		if !listed[job.Spec.ID] {
			failures = append(failures, p.Recorder.Confirm(ctx, gh, job, p.Clock.Now()))
		}
	}
	return errors.Join(failures...)
}

// record a listed job. One that was never seen and is over or has no runner to wait for is no news. What a server tells moves
// only the pools that ask it with the same credentials: others may not even mean that server, since a Secret can lead there
// through a proxy (I7). Each pool is polled for with its own.
func (p *Poller) record(ctx context.Context, q queue, job github.Job) error {
	origin := q.origin(job.Repository)
	if job.State == v1alpha1.JobCompleted {
		known, err := p.Recorder.knows(ctx, q.namespace, origin, job.ID)
		if err != nil || !known {
			return err
		}
	}
	trust := func(pool *v1alpha1.RunnerPool) bool { return p.Shard.Holds(pool) && q.trust(pool) }
	_, _, err := p.Recorder.Record(ctx, origin, job, trust)
	return err
}
