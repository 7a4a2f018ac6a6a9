package ui

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/queue"
)

// What is shown at most of each list. What is beyond is counted.
const (
	maxNamespaces = 200
	maxPools      = 50
	maxWaiting    = 50
	maxRunners    = 60
	maxFinished   = 40
	maxFailures   = 20
)

// Build the State at a time. It is a pure function of what it is given.
func Build(objects *Objects, filter Filter, controller Controller, now time.Time) *State {
	var (
		pools             []Pool
		waiting           []Waiting
		runners, finished []Life
		failures          []Failure
		s                 = &State{Now: now, Controller: controller, Filter: filter, WindowSeconds: int64(filter.Window.Seconds())}
		begin             = now.Add(-filter.Window)
	)
	for _, h := range objects.holdings(filter) {
		if h.pool != nil {
			pools = append(pools, poolOf(h.pool))
		}
		waiting = append(waiting, h.waiting(now)...)
		alive, over := h.lives(begin)
		runners, finished = append(runners, alive...), append(finished, over...)
		failures = append(failures, h.failures()...)
	}
	s.add(pools, waiting, failures)
	slices.SortFunc(pools, func(a, b Pool) int {
		return cmp.Or(cmp.Compare(urgency(a.Tone), urgency(b.Tone)), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(waiting, func(a, b Waiting) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Namespace, b.Namespace))
	})
	slices.SortFunc(runners, func(a, b Life) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pool, b.Pool), byName(a.Name, b.Name), cmp.Compare(a.Key, b.Key))
	})
	slices.SortFunc(finished, func(a, b Life) int {
		return cmp.Or(b.ended().Compare(a.ended()), cmp.Compare(a.Key, b.Key))
	})
	slices.SortFunc(failures, func(a, b Failure) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.Key, b.Key))
	})
	s.Namespaces = objects.namespaces()
	s.Pools, s.Queue, s.Failures = first(pools, maxPools), first(waiting, maxWaiting), first(failures, maxFailures)
	s.Runners, s.Finished = first(runners, maxRunners), first(finished, maxFinished)
	return s
}

// add up the totals.
func (s *State) add(pools []Pool, waiting []Waiting, failures []Failure) {
	t := &s.Totals
	t.Pools, t.Waiting = len(pools), len(waiting)
	for _, p := range pools {
		switch p.Tone {
		case ToneGood:
			t.Ready++
		case ToneOff:
			t.Off++
		case ToneBad:
			t.Broken++
		}
		t.Starting += p.Starting
		t.Idle += p.Idle
		t.Running += p.Running
		t.Limit += p.Limit
	}
	for _, w := range waiting {
		if since := w.Since.UTC(); t.Oldest == nil || since.Before(*t.Oldest) {
			t.Oldest = &since
		}
	}
	for _, f := range failures {
		if f.Kind == kindJob {
			t.FailedJobs++
		} else {
			t.Failures++
		}
	}
}

// namespaces that have pools, in order.
func (o *Objects) namespaces() []string {
	all := map[string]bool{}
	for i := range o.Pools {
		all[o.Pools[i].Namespace] = true
	}
	sorted := slices.Sorted(maps.Keys(all))
	return first(sorted, maxNamespaces).Items
}

// urgency of a tone: what needs somebody comes first.
func urgency(t Tone) int {
	return slices.Index([]Tone{ToneBad, ToneWait, ToneBusy, ToneGood, ToneOff}, t)
}

// waiting jobs of a pool.
func (h *holding) waiting(now time.Time) []Waiting {
	pool, gone := h.pool, h.pool == nil
	if gone {
		pool = &v1alpha1.RunnerPool{}
	}
	var all []Waiting
	for _, w := range queue.Explain(pool, h.runners, h.jobs, now) {
		if gone {
			w.Pool = h.jobs[0].Spec.PoolName
			w.Reason, w.Message = queue.ReasonPoolNotReady, "the RunnerPool "+w.Pool+" is gone"
		}
		w.URL = safeURL(w.URL)
		made := Waiting{Waiting: w, Tone: toneOfWait(w.Reason)}
		if _, open := pool.CanLaunch(); made.Reason == queue.ReasonRunnerPending && (!open || pool.Status.Circuit != nil) {
			made.Tone = ToneBad
		}
		all = append(all, made)
	}
	return all
}

// safeURL is one that a browser may be sent to; empty for any other.
func safeURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return ""
	}
	return u.String()
}

// scopeOf a pool in words, and its page at GitHub.
func scopeOf(pool *v1alpha1.RunnerPool) (words, page string) {
	server := strings.TrimSuffix(pool.Spec.GitHub.URL, "/")
	switch s := pool.Spec.Scope; {
	case s.Organization != "":
		return s.Organization + " (organization)", safeURL(server + "/" + s.Organization)
	case s.Enterprise != "":
		return s.Enterprise + " (enterprise)", safeURL(server + "/enterprises/" + s.Enterprise)
	default:
		return s.Repository, safeURL(server + "/" + s.Repository)
	}
}
