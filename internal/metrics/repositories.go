package metrics

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// maxRepositories of one pool that have series of their own. An organization may have thousands.
	maxRepositories = 100
	// otherRepositories is the label of those that came later. No repository has such a name.
	otherRepositories = "(other)"
)

// repositories that have series, by pool.
type repositories struct {
	mu    sync.Mutex
	known map[types.NamespacedName]map[string]bool
}

var ofPool = &repositories{known: map[types.NamespacedName]map[string]bool{}}

// bound gives the label for a repository.
func (r *repositories) bound(pool types.NamespacedName, repository string) string {
	if repository == "" {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.known[pool]
	if known == nil {
		known = map[string]bool{}
		r.known[pool] = known
	}
	if !known[repository] && len(known) >= maxRepositories {
		return otherRepositories
	}
	known[repository] = true
	return repository
}

func (r *repositories) forget(pool types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, pool)
}
