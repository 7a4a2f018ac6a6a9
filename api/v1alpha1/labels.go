package v1alpha1

import (
	"slices"
	"strings"
)

// implicitLabels are carried by every runner beside the labels of its pool. A just-in-time runner gets none by itself.
var implicitLabels = []string{"self-hosted", "linux", "x64"}

// RunnerLabels are all the labels that the runners of a pool with these labels carry.
func RunnerLabels(pool []RunnerLabel) []string {
	all := slices.Clone(implicitLabels)
	for _, label := range pool {
		if !contains(all, string(label)) {
			all = append(all, string(label))
		}
	}
	return all
}

// MatchLabels says whether the pool serves a job that asks for these labels, and how many of the pool's labels the job does
// not ask for. The pool must have all that the job asks for, wishes aside, and the job must ask for one of the pool's own or
// have a wish: a job for any self-hosted runner is not this pool's. Case does not matter; a job without labels matches
// nothing.
func (s *RunnerPoolSpec) MatchLabels(job []string) (spare int, ok bool) {
	carried, wishes := RunnerLabels(s.Labels), s.WishesOf(job)
	for _, label := range job {
		if !contains(carried, label) && !contains(wishes, label) {
			return 0, false
		}
	}
	for _, label := range s.Labels {
		if !contains(job, string(label)) {
			spare++
		}
	}
	return spare, spare < len(s.Labels) || len(wishes) > 0
}

// RunnerLabelsFor a job: those of the pool, or for a job with wishes exactly the job's own, so that no job without its
// wishes takes the runner where it can be helped.
func (s *RunnerPoolSpec) RunnerLabelsFor(job []string) []string {
	if len(s.WishesOf(job)) == 0 {
		return RunnerLabels(s.Labels)
	}
	labels := make([]RunnerLabel, len(job))
	for i, label := range job {
		labels[i] = RunnerLabel(label)
	}
	return RunnerLabels(labels)
}

func contains(labels []string, label string) bool {
	return slices.ContainsFunc(labels, func(l string) bool { return strings.EqualFold(l, label) })
}
