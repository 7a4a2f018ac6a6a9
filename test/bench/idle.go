package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

const (
	// settle is how long a world is left alone before it is watched.
	settle = 20 * time.Second
	// calm is how long GitHub must not have had anything new to tell before idle pools are watched: with the limits that are kept
	// by default, the first visit to the repositories of a thousand pools takes minutes.
	calm = time.Minute
)

// runIdle watches a manager with many pools, each of a repository of its own, and nothing queued.
func runIdle(ctx context.Context, b *bench, r *results) error {
	w, err := b.newWorld(ctx, settings{githubLimits: true})
	if err != nil {
		return err
	}
	err = w.profiled(ctx, "idle", func() error { return w.idle(ctx, r) })
	return errors.Join(err, w.stop(ctx))
}

func (w *world) idle(ctx context.Context, r *results) error {
	var pools []*v1alpha1.RunnerPool
	for i := range w.jobs {
		own := fmt.Sprintf("octo/idle-%d", i)
		w.github.AddRepository(own, true)
		pools = append(pools, w.pool(i, 10, func(s *v1alpha1.RunnerPoolSpec) { s.Repository = own }))
	}
	begun := time.Now()
	if err := w.createPools(ctx, pools); err != nil {
		return err
	}
	r.add("all_ready_s", time.Since(begun).Seconds())
	if err := w.calmDown(ctx); err != nil {
		return err
	}
	r.add("all_asked_once_s", time.Since(begun).Seconds())
	return w.watch(ctx, r, "")
}

// calmDown waits until GitHub has had nothing new to tell for a while.
func (w *world) calmDown(ctx context.Context) error {
	before, since := -1, time.Now()
	return w.until(ctx, "GitHub to have told all", func() bool {
		pauseFor(ctx, time.Second)
		told := 0
		for call, n := range w.github.Requests() {
			if isNew(call) {
				told += n
			}
		}
		if told != before {
			before, since = told, time.Now()
		}
		return time.Since(since) > calm
	})
}

// isNew says whether a call to GitHub was answered with something new, and counts towards the hourly limit.
func isNew(call string) bool { return !strings.HasSuffix(call, " 304") }

// watch what a manager does while nothing happens, under a prefix.
func (w *world) watch(ctx context.Context, r *results, prefix string) error {
	before, err := w.tally(ctx)
	if err != nil {
		return err
	}
	pauseFor(ctx, w.pause)
	after, err := w.tally(ctx)
	if err != nil {
		return err
	}
	t, seconds := after.minus(before), after.at.Sub(before.at).Seconds()
	changed := t.sum(t.github, isNew)
	now, peak := memoryMiB(w.managers[0].PID())
	for name, value := range map[string]float64{
		"manager_cpu_percent_of_a_core": 100 * t.cpu[managerCPU] / seconds,
		"api_writes":                    t.writes(),
		"api_reads_per_s":               t.reads() / seconds,
		"github_calls_per_s":            t.sum(t.github, func(string) bool { return true }) / seconds,
		"github_calls_that_count_per_s": changed / seconds,
		"modal_calls_per_s":             t.sum(t.modal, func(string) bool { return true }) / seconds,
		"reconciles_per_s":              t.sum(t.reconciles, func(string) bool { return true }) / seconds,
		"allocated_KiB_per_s":           t.bytes / seconds / 1024,
		"manager_resident_MiB":          now,
		"manager_peak_MiB":              peak,
	} {
		r.add(prefix+name, value)
	}
	for request, n := range t.requests {
		if isWrite(request) && !isLease(request) {
			r.add(prefix+"api: "+request, n)
		}
	}
	for call, n := range t.github {
		if isNew(call) {
			r.add(prefix+"github: "+call, n)
		}
	}
	return nil
}

// runLarge has very many Runners and jobs alive at once, and watches what that costs.
func runLarge(ctx context.Context, b *bench, r *results) error {
	o, err := b.burst(ctx, "large", burst{jobs: b.large, pools: 1, ttl: 5 * time.Minute, atWork: func(ctx context.Context, w *world) error {
		pauseFor(ctx, settle)
		return w.watch(ctx, r, "alive_")
	}})
	if err != nil {
		return err
	}
	r.add("last_create_s", o.created[len(o.created)-1].Seconds())
	r.add("all_running_s", o.allBusy.Seconds())
	r.add("all_gone_after_their_jobs_s", o.allGone.Seconds())
	r.add("manager_peak_MiB", o.peakMiB)
	r.addAll(o.cost.perJob(b.large))
	r.plot(curve{"large", "sandboxes created", "s", "sandboxes", thinned(cumulative(o.created), 200)})
	return nil
}
