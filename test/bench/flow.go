package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

const (
	// lightJobs are queued one by one, lightPause after the one before has begun.
	lightJobs  = 200
	lightPause = 300 * time.Millisecond

	// flowLength is how long the jobs of a steady flow last, and flowStep how long each rate is kept up.
	flowLength = 2 * time.Second
	flowStep   = 15 * time.Second
)

// runLight measures the time from when a job is queued until its sandbox is created, while nearly nothing happens.
func runLight(ctx context.Context, b *bench, r *results) error {
	w, err := b.newWorld(ctx, settings{})
	if err != nil {
		return err
	}
	err = w.profiled(ctx, "light", func() error { return w.light(ctx, r) })
	return errors.Join(err, w.stop(ctx))
}

func (w *world) light(ctx context.Context, r *results) error {
	if err := w.createPools(ctx, []*v1alpha1.RunnerPool{w.pool(0, lightJobs)}); err != nil {
		return err
	}
	w.hook(w.managers[0])
	pauseFor(ctx, 2*time.Second)
	before, err := w.tally(ctx)
	if err != nil {
		return err
	}
	var queued []time.Time
	for i := range lightJobs {
		queued = append(queued, time.Now())
		w.players.queue(poolName(0), 1)
		if err := w.until(ctx, "the job to begin", func() bool { begun, _ := w.players.started(); return begun == i+1 }); err != nil {
			return err
		}
		pauseFor(ctx, lightPause)
		w.players.release(1)
	}
	if err := w.gone(ctx); err != nil {
		return err
	}
	after, err := w.tally(ctx)
	if err != nil {
		return err
	}
	var waited []time.Duration
	for _, at := range w.createdAt() {
		waited = append(waited, at.Sub(queued[len(waited)]))
	}
	slices.Sort(waited)
	r.add("queued_to_create_p50_ms", milliseconds(percentile(waited, 50)))
	r.add("queued_to_create_p99_ms", milliseconds(percentile(waited, 99)))
	r.addAll(after.minus(before).perJob(lightJobs))
	var points [][2]float64
	for i, t := range waited {
		points = append(points, [2]float64{milliseconds(t), 100 * float64(i+1) / float64(len(waited))})
	}
	r.plot(curve{"light load", "queued to sandbox created", "ms", "% of jobs", points})
	return nil
}

// createdAt are the times at which sandboxes were created, in their order.
func (w *world) createdAt() []time.Time {
	var times []time.Time
	for _, event := range w.modal.History() {
		if event.Kind == modalsim.EventCreated {
			times = append(times, event.At)
		}
	}
	return times
}

// percentile of sorted durations.
func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[min(len(sorted)-1, len(sorted)*p/100)]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// runSteady finds how many jobs a second can be kept up: the rate is raised until jobs begin to wait.
func runSteady(ctx context.Context, b *bench, r *results) error {
	w, err := b.newWorld(ctx, settings{})
	if err != nil {
		return err
	}
	err = w.profiled(ctx, "steady", func() error { return w.steady(ctx, r) })
	return errors.Join(err, w.stop(ctx))
}

func (w *world) steady(ctx context.Context, r *results) error {
	if err := w.createPools(ctx, []*v1alpha1.RunnerPool{w.pool(0, 5000)}); err != nil {
		return err
	}
	w.hook(w.managers[0])
	pauseFor(ctx, 2*time.Second)
	w.players.last(flowLength)
	var points [][2]float64
	for rate := 10; ; rate += max(5, rate/4) {
		waiting, err := w.step(ctx, rate)
		if err != nil {
			return err
		}
		points = append(points, [2]float64{float64(rate), float64(waiting)})
		fmt.Printf("  %d jobs/s: %d wait at the end\n", rate, waiting)
		// What is on its way in one second is no queue yet.
		if waiting > rate {
			break
		}
		r.add("sustained_jobs_per_s", float64(rate))
	}
	r.plot(curve{"steady flow", fmt.Sprintf("jobs that wait after %s", flowStep), "jobs queued per second", "jobs", points})
	return w.gone(ctx)
}

// step keeps up a rate, and says how many jobs wait at its end.
func (w *world) step(ctx context.Context, rate int) (waiting int, err error) {
	const ticks = 20
	tick, begun := time.NewTicker(time.Second/ticks), time.Now()
	defer tick.Stop()
	for sent := 0; time.Since(begun) < flowStep; {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-tick.C:
			due := int(time.Since(begun).Seconds() * float64(rate))
			w.players.queue(poolName(0), due-sent)
			sent = due
		}
	}
	started, queued := w.players.started()
	return queued - started, nil
}
