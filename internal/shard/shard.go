// Package shard says which pools a manager serves, where several managers share a cluster's pools between them.
//
// A pool is selected by its labels and held by at most one manager at a time: the one whose lease its status names. It changes
// hands through the API server alone. Who holds a pool that is not selected any more ends what it is doing for the pool's
// Runners, then lets go; only then does another take it. So what is true of one leader and the next is true of two shards: never
// do both act on a Runner at once, and selectors that overlap by mistake cost nothing but the doubt which of them serves.
package shard

import (
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// DefaultLease is that of a manager that is no shard.
const DefaultLease = "modal-runner-controller"

// Shard of the cluster's pools. A nil one holds every pool.
type Shard struct {
	// Lease of the managers of the shard, of which one leads: the name by which they hold pools.
	Lease string

	selector labels.Selector

	mu     sync.Mutex
	acting map[types.NamespacedName]int
}

// New shard of a name, of the pools that a label selector selects; all pools without a selector. Without a name it is the one
// manager of a cluster that is not sharded.
func New(name, selector string) (*Shard, error) {
	s := &Shard{Lease: DefaultLease, selector: labels.Everything(), acting: map[types.NamespacedName]int{}}
	if name != "" {
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
			return nil, fmt.Errorf("--shard=%s is no name for a shard: %s", name, problems[0])
		}
		s.Lease += "-" + name
	}
	if selector == "" {
		return s, nil
	}
	if name == "" {
		return nil, fmt.Errorf("--pool-selector=%s needs a --shard: its name tells the managers of these pools from those of the others", selector)
	}
	parsed, err := labels.Parse(selector)
	if err != nil {
		return nil, fmt.Errorf("--pool-selector=%s is no label selector such as team=a or '!team': %w", selector, err)
	}
	s.selector = parsed
	return s, nil
}

// Selects a pool, by its labels.
func (s *Shard) Selects(pool *v1alpha1.RunnerPool) bool {
	return s == nil || s.selector.Matches(labels.Set(pool.Labels))
}

// Holds a pool: it is selected, and no other manager has it. Nobody else acts for it or its Runners.
func (s *Shard) Holds(pool *v1alpha1.RunnerPool) bool {
	return s == nil || s.Selects(pool) && pool.Status.ServedBy == s.Lease
}

// Enter is called before it is looked whether a pool is held, by who acts for one of its Runners then. The pool is not let go
// before leave is called.
func (s *Shard) Enter(pool types.NamespacedName) (leave func()) {
	if s == nil {
		return func() {}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acting[pool]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.acting[pool]--; s.acting[pool] == 0 {
			delete(s.acting, pool)
		}
	}
}

// Acting says that something is being done for a pool's Runners.
func (s *Shard) Acting(pool types.NamespacedName) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acting[pool] > 0
}
