package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

// burst of jobs that are queued at once, spread over pools whose limits let all of them run at once.
type burst struct {
	jobs, pools int
	// ttl of jobs that are over; it must be longer than deliveries are late, since older ones are asked for at GitHub.
	ttl time.Duration
	// atWork is called while all jobs run.
	atWork func(context.Context, *world) error
}

// outcome of a burst.
type outcome struct {
	// created sandboxes, each at its time after the beginning.
	created []time.Duration
	// allBusy is when all Runners were seen to run, allGone when none was left, after their jobs were over all at once.
	allBusy, allGone time.Duration
	cost             tally
	// peak memory of the manager.
	peakMiB float64
	// job and runner as the API server had them, for the floor.
	job    v1alpha1.WorkflowJob
	runner v1alpha1.Runner
}

func (b *bench) burst(ctx context.Context, name string, of burst) (*outcome, error) {
	w, err := b.newWorld(ctx, settings{arguments: []string{"--job-ttl=" + of.ttl.String()}})
	if err != nil {
		return nil, err
	}
	var o *outcome
	err = w.profiled(ctx, name, func() (err error) {
		o, err = w.burst(ctx, of)
		return err
	})
	return o, errors.Join(err, w.stop(ctx))
}

func (w *world) burst(ctx context.Context, of burst) (*outcome, error) {
	var pools []*v1alpha1.RunnerPool
	for i := range of.pools {
		pools = append(pools, w.pool(i, of.jobs/of.pools))
	}
	if err := w.createPools(ctx, pools); err != nil {
		return nil, err
	}
	w.hook(w.managers[0])
	pauseFor(ctx, 2*time.Second)
	before, err := w.tally(ctx)
	if err != nil {
		return nil, err
	}
	o, begun := &outcome{}, time.Now()
	for i := range of.pools {
		w.players.queue(poolName(i), of.jobs/of.pools)
	}
	if err := w.until(ctx, "all jobs to run", func() bool { begun, _ := w.players.started(); return begun == of.jobs }); err != nil {
		return nil, err
	}
	if err := w.allRunning(ctx, of.jobs); err != nil {
		return nil, err
	}
	o.allBusy = time.Since(begun)
	if err := w.sample(ctx, o); err != nil {
		return nil, err
	}
	if of.atWork != nil {
		if err := of.atWork(ctx, w); err != nil {
			return nil, err
		}
	}
	ended := time.Now()
	w.players.release(of.jobs)
	if err := w.gone(ctx); err != nil {
		return nil, err
	}
	o.allGone = time.Since(ended)
	if err := w.expired(ctx); err != nil {
		return nil, err
	}
	after, err := w.tally(ctx)
	if err != nil {
		return nil, err
	}
	o.cost = after.minus(before)
	_, o.peakMiB = memoryMiB(w.managers[0].PID())
	for _, event := range w.modal.History() {
		if event.Kind == modalsim.EventCreated {
			o.created = append(o.created, event.At.Sub(begun))
		}
	}
	slices.Sort(o.created)
	return o, nil
}

// allRunning waits until so many Runners say that they run.
func (w *world) allRunning(ctx context.Context, jobs int) error {
	return w.until(ctx, "all Runners to say that they run", func() bool {
		pauseFor(ctx, time.Second)
		var runners v1alpha1.RunnerList
		if err := w.plane.Client.List(ctx, &runners, client.InNamespace(w.namespace)); err != nil {
			return false
		}
		running := 0
		for i := range runners.Items {
			if runners.Items[i].Status.Phase == v1alpha1.RunnerRunning {
				running++
			}
		}
		return running == jobs
	})
}

// expired waits until no WorkflowJob is left.
func (w *world) expired(ctx context.Context) error {
	return w.until(ctx, "the last WorkflowJob to expire", func() bool {
		pauseFor(ctx, 200*time.Millisecond)
		n, err := w.count(ctx, &v1alpha1.WorkflowJobList{})
		return err == nil && n == 0
	})
}

// sample a job and a Runner.
func (w *world) sample(ctx context.Context, o *outcome) error {
	var jobs v1alpha1.WorkflowJobList
	var runners v1alpha1.RunnerList
	one := []client.ListOption{client.InNamespace(w.namespace), client.Limit(1)}
	if err := errors.Join(w.plane.Client.List(ctx, &jobs, one...), w.plane.Client.List(ctx, &runners, one...)); err != nil {
		return err
	}
	o.job, o.runner = jobs.Items[0], runners.Items[0]
	return nil
}

// runBurst measures how soon the sandboxes of a burst are created, beside the floor of what must precede them.
func runBurst(ctx context.Context, b *bench, r *results) error {
	o, err := b.burst(ctx, "burst", burst{jobs: b.jobs, pools: 1, ttl: time.Minute})
	if err != nil {
		return err
	}
	f, err := b.floor(ctx, o, b.jobs)
	if err != nil {
		return err
	}
	last := o.created[len(o.created)-1].Seconds()
	r.add("first_create_s", o.created[0].Seconds())
	r.add("median_create_s", o.created[len(o.created)/2].Seconds())
	r.add("last_create_s", last)
	r.add("all_running_s", o.allBusy.Seconds())
	r.add("all_gone_after_their_jobs_s", o.allGone.Seconds())
	r.add("manager_peak_MiB", o.peakMiB)
	r.add("floor_writes_s", f.writes.Seconds())
	r.add("floor_api_creates_per_s", f.createsPerSecond)
	r.add("floor_sdk_creates_per_s", f.sandboxesPerSecond)
	r.add("last_create_over_floor_ratio", last/f.writes.Seconds())
	r.addAll(o.cost.perJob(b.jobs))
	r.plot(curve{"burst", "sandboxes created", "s", "objects", thinned(cumulative(o.created), 200)})
	r.plot(curve{"burst", "floor: WorkflowJobs and Runners created", "s", "objects", [][2]float64{{0, 0}, {f.writes.Seconds(), float64(b.jobs)}}})
	return nil
}

// cumulative curve of what happened at these times.
func cumulative(times []time.Duration) [][2]float64 {
	var points [][2]float64
	for i, t := range times {
		points = append(points, [2]float64{t.Seconds(), float64(i + 1)})
	}
	return points
}

// runCounts counts what jobs cost that do not depend on how fast the machine is: what CI holds against the budget.
func runCounts(ctx context.Context, b *bench, r *results) error {
	const jobs, pools = 100, 4
	o, err := b.burst(ctx, "counts", burst{jobs: jobs, pools: pools, ttl: 20 * time.Second})
	if err != nil {
		return err
	}
	r.addAll(o.cost.perJob(jobs))
	r.add("manager_peak_MiB", o.peakMiB)
	return nil
}

// runFlat measures whether a job costs the same however many there are, and however many pools.
func runFlat(ctx context.Context, b *bench, r *results) error {
	measure := func(of burst, name string) error {
		o, err := b.burst(ctx, "flat-"+name, of)
		if err != nil {
			return err
		}
		for figure, value := range o.cost.perJob(of.jobs) {
			if slices.Contains(flat, figure) {
				r.add(name+"_"+figure, value)
			}
		}
		return nil
	}
	for _, jobs := range []int{100, 1000} {
		if err := measure(burst{jobs: jobs, pools: 1, ttl: time.Minute}, number(float64(jobs))+"_jobs"); err != nil {
			return err
		}
	}
	for _, pools := range []int{10, 100, 1000} {
		if err := measure(burst{jobs: 1000, pools: pools, ttl: time.Minute}, number(float64(pools))+"_pools"); err != nil {
			return err
		}
	}
	return nil
}

// flat are the figures that are to stay the same with the number of jobs and pools.
var flat = []string{
	"api_writes_per_job", "api_reads_per_job", "reconciles_per_job", "allocated_KiB_per_job", "allocations_per_job", "cpu_manager_ms_per_job",
	"github_calls_per_job", "modal_calls_per_job",
}

func pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
