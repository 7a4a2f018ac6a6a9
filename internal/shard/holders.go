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

// lookAgain is how soon a lease that is held is read again: many pools ask for the same few leases.
const lookAgain = time.Second

// Holders tells which of the managers that hold pools are alive, by their leases. As the election of leaders does, it trusts no
// clock but its own: a lease has run out when it was seen unchanged for as long as it lasts.
type Holders struct {
	// Live reads from the API server.
	Live  client.Reader
	Clock clock.PassiveClock
	// Namespace that the managers keep their leases in.
	Namespace string
	// Lasts is how long a lease that is missing counts as held: its leader makes a lease again that somebody has deleted.
	Lasts time.Duration

	mu   sync.Mutex
	seen map[string]sighting
}

// sighting of a lease that has not changed since.
type sighting struct {
	// version of the lease; empty when it is missing.
	version string
	// since when it is as it is, and at is when that was last seen.
	since, at time.Time
	// lasts is how long it is held for when it does not change; free that nobody holds it.
	lasts time.Duration
	free  bool
}

func (s sighting) gone(now time.Time) bool { return s.free || now.Sub(s.since) > s.lasts }

// Gone says that nobody has led under a lease for a while, so that what its managers held is free: it was let go, it has run out, or
// there is none. Leases that are not alike for long enough count as held.
func (h *Holders) Gone(ctx context.Context, name string, while time.Duration) (bool, error) {
	s, err := h.look(ctx, name, while > 0)
	if err != nil {
		return false, err
	}
	now := h.Clock.Now()
	return s.gone(now) && now.Sub(s.since)-s.lasts >= while, nil
}

// Whole says that a manager leads that is no shard. It serves every pool; one that is older than shards are does so without saying
// so in any.
func (h *Holders) Whole(ctx context.Context) (bool, error) {
	s, err := h.look(ctx, DefaultLease, false)
	return err == nil && s.version != "" && !s.gone(h.Clock.Now()), err
}

// look at a lease. One that was held a moment ago is not read again, nor, with roughly, any other.
func (h *Holders) look(ctx context.Context, name string, roughly bool) (sighting, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.Clock.Now()
	last, known := h.seen[name]
	if known && now.Sub(last.at) < lookAgain && (roughly || !last.gone(now)) {
		return last, nil
	}
	var lease coordinationv1.Lease
	err := h.Live.Get(ctx, client.ObjectKey{Namespace: h.Namespace, Name: name}, &lease)
	if client.IgnoreNotFound(err) != nil {
		return sighting{}, fmt.Errorf("reading the lease of the pool's manager: %w", err)
	}
	seen := sighting{version: lease.ResourceVersion, since: now, at: now, lasts: h.Lasts}
	if !apierrors.IsNotFound(err) {
		seen.lasts = time.Duration(ptr.Deref(lease.Spec.LeaseDurationSeconds, 0)) * time.Second
		if seen.free = ptr.Deref(lease.Spec.HolderIdentity, "") == ""; seen.free {
			seen.lasts = 0
		}
	}
	if known && last.version == seen.version {
		seen.since = last.since
	}
	if h.seen == nil {
		h.seen = map[string]sighting{}
	}
	h.seen[name] = seen
	return seen, nil
}
