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

// MatchLabels says whether a pool with these labels serves a job that asks for those, and how many of the pool's labels
// the job does not ask for. The pool must have all that the job asks for, and the job must ask for one of the pool's own:
// a job for any self-hosted runner is not this pool's. Case does not matter; a job without labels matches nothing.
func MatchLabels(pool []RunnerLabel, job []string) (spare int, ok bool) {
	carried := RunnerLabels(pool)
	for _, label := range job {
		if !contains(carried, label) {
			return 0, false
		}
	}
	for _, label := range pool {
		if !contains(job, string(label)) {
			spare++
		}
	}
	return spare, spare < len(pool)
}

func contains(labels []string, label string) bool {
	return slices.ContainsFunc(labels, func(l string) bool { return strings.EqualFold(l, label) })
}
