package ingress

import (
	"cmp"
	"slices"
	"strings"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/github"
)

// Origin says where a job was reported from.
type Origin struct {
	// Server as a user opens it, for example https://github.com.
	Server string
	// Organization and Enterprise of the repository, empty when it has none.
	Organization string
	Enterprise   string
}

// choose the pool that serves a job, the same one every time: one that grants the job's wishes, then narrower scope, then
// fewer spare labels, then priority, then name (B10). Nil when none matches.
func choose(pools []v1alpha1.RunnerPool, origin Origin, job github.Job) *v1alpha1.RunnerPool {
	type candidate struct {
		pool    *v1alpha1.RunnerPool
		refused int
		scope   int
		spare   int
	}
	var candidates []candidate
	for i := range pools {
		pool := &pools[i]
		scope, covered := covers(pool, origin, job.Repository)
		spare, matches := pool.Spec.MatchLabels(job.Labels)
		if !covered || !matches || !pool.DeletionTimestamp.IsZero() {
			continue
		}
		refused := 0
		if _, err := pool.Spec.Measure(pool.Spec.WishesOf(job.Labels)); err != nil {
			refused = 1
		}
		candidates = append(candidates, candidate{pool, refused, scope, spare})
	}
	if len(candidates) == 0 {
		return nil
	}
	return slices.MinFunc(candidates, func(a, b candidate) int {
		return cmp.Or(
			a.refused-b.refused,
			a.scope-b.scope,
			a.spare-b.spare,
			cmp.Compare(b.pool.Spec.Priority, a.pool.Spec.Priority),
			cmp.Compare(a.pool.Namespace, b.pool.Namespace),
			cmp.Compare(a.pool.Name, b.pool.Name),
		)
	}).pool
}

// covers says whether a pool's scope has the repository, and how wide that scope is.
func covers(pool *v1alpha1.RunnerPool, origin Origin, repository string) (width int, ok bool) {
	if github.Host(pool.Spec.GitHub.URL) != github.Host(origin.Server) {
		return 0, false
	}
	spec := pool.Spec
	if !spec.Repositories.Covers(repository) {
		return 0, false
	}
	switch {
	case spec.Repository != "":
		return 0, strings.EqualFold(spec.Repository, repository)
	case spec.Organization != "":
		return 1, strings.EqualFold(spec.Organization, origin.Organization)
	default:
		return 2, spec.Enterprise != "" && strings.EqualFold(spec.Enterprise, origin.Enterprise)
	}
}
