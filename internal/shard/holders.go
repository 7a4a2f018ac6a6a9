package shard

import (
	"context"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Holders tells which of the managers that hold pools are alive, by their leases. As the election of leaders does, it trusts no
// clock but its own: a lease has run out when it was seen unchanged for as long as it lasts.
type Holders struct {
	// Live reads from the API server.
	Live  client.Reader
	Clock clock.PassiveClock
	// Namespace that the managers keep their leases in.
	Namespace string

	mu   sync.Mutex
	seen map[string]sighting
}

// sighting of a lease that has not changed since.
type sighting struct {
	version string
	since   time.Time
}

// Gone says that nobody leads under a lease, so that what its managers held is free: it was let go, it has run out, or there
// never was one. Leases that are not alike for long enough count as held.
func (h *Holders) Gone(ctx context.Context, name string) (bool, error) {
	var lease coordinationv1.Lease
	err := h.Live.Get(ctx, client.ObjectKey{Namespace: h.Namespace, Name: name}, &lease)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case apierrors.IsNotFound(err):
		delete(h.seen, name)
		return true, nil
	case err != nil:
		return false, fmt.Errorf("reading the lease of the pool's manager: %w", err)
	case ptr.Deref(lease.Spec.HolderIdentity, "") == "":
		delete(h.seen, name)
		return true, nil
	}
	if h.seen == nil {
		h.seen = map[string]sighting{}
	}
	now, last := h.Clock.Now(), h.seen[name]
	if last.version != lease.ResourceVersion {
		last = sighting{lease.ResourceVersion, now}
		h.seen[name] = last
	}
	lasts := time.Duration(ptr.Deref(lease.Spec.LeaseDurationSeconds, 0)) * time.Second
	return now.Sub(last.since) > lasts, nil
}
