package ui

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// Objects that a State is made from. They are read, never changed: they may be the cache's own.
type Objects struct {
	Pools   []v1alpha1.RunnerPool
	Runners []v1alpha1.Runner
	Jobs    []v1alpha1.WorkflowJob
}

// holding is a pool with what it has.
type holding struct {
	pool    *v1alpha1.RunnerPool
	runners []*v1alpha1.Runner
	jobs    []*v1alpha1.WorkflowJob
}

// holdings of the pools that the filter lets through, in the pools' order. What belongs to a pool that is gone is in one of its
// own, without a pool.
func (o *Objects) holdings(f Filter) []*holding {
	var all []*holding
	of := map[types.NamespacedName]*holding{}
	find := func(namespace, name string) *holding {
		if !f.lets(namespace, name) {
			return nil
		}
		key := types.NamespacedName{Namespace: namespace, Name: name}
		if of[key] == nil {
			of[key] = &holding{}
			all = append(all, of[key])
		}
		return of[key]
	}
	for i := range o.Pools {
		if h := find(o.Pools[i].Namespace, o.Pools[i].Name); h != nil {
			h.pool = &o.Pools[i]
		}
	}
	for i := range o.Runners {
		if h := find(o.Runners[i].Namespace, o.Runners[i].Spec.PoolName); h != nil {
			h.runners = append(h.runners, &o.Runners[i])
		}
	}
	for i := range o.Jobs {
		if h := find(o.Jobs[i].Namespace, o.Jobs[i].Spec.PoolName); h != nil {
			h.jobs = append(h.jobs, &o.Jobs[i])
		}
	}
	for _, h := range all {
		// Which of several Runners a job is told to wait for must not depend on the cache's order.
		slices.SortFunc(h.runners, func(a, b *v1alpha1.Runner) int { return byName(a.Name, b.Name) })
	}
	return all
}

// byName compares names with numbers at their end: widgets-10 comes after widgets-9.
func byName(a, b string) int {
	stem := func(name string) (string, int) {
		cut := strings.LastIndexByte(name, '-') + 1
		return name[:cut], len(name)
	}
	aStem, aLength := stem(a)
	bStem, bLength := stem(b)
	return cmp.Or(cmp.Compare(aStem, bStem), cmp.Compare(aLength, bLength), cmp.Compare(a, b))
}

// jobsByRunner finds the job that a runner has, by its name outside.
func (h *holding) jobsByRunner() map[string]*v1alpha1.WorkflowJob {
	found := map[string]*v1alpha1.WorkflowJob{}
	for _, job := range h.jobs {
		if job.Status.RunnerName != "" {
			found[job.Status.RunnerName] = job
		}
	}
	return found
}
