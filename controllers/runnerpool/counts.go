package runnerpool

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// countsWait is how far what a pool's status counts may be behind: the changes of so long are written at once, so that a
// thousand jobs cost no thousand writes. It is shorter than the life of any runner that was online, whose time is kept too.
const countsWait = time.Second

// later is when what was first seen of pools is to be done about: at once for all that is seen until then.
type later struct {
	mu  sync.Mutex
	due map[types.NamespacedName]time.Time
}

// wait says when something is to be done about a pool, so long after that was first asked.
func (u *later) wait(pool types.NamespacedName, now time.Time, long time.Duration) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.due == nil {
		u.due = map[types.NamespacedName]time.Time{}
	}
	due, known := u.due[pool]
	if !known {
		due = now.Add(long)
		u.due[pool] = due
	}
	return due
}

// forget a pool about which nothing is to be done.
func (u *later) forget(pool types.NamespacedName) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.due, pool)
}

// mayWait says until when the status need not be written; zero when it is to be written now, if it has changed at all.
func (r *Reconciler) mayWait(stored, pool *v1alpha1.RunnerPool) time.Time {
	if same(stored, pool) || !sameButCounts(stored.Status, pool.Status) {
		return time.Time{}
	}
	now := r.Clock.Now()
	if due := r.counts.wait(client.ObjectKeyFromObject(pool), now, countsWait); due.After(now) {
		return due
	}
	return time.Time{}
}

// same says that a status is as it is stored, but for what changes with time alone.
func same(stored, pool *v1alpha1.RunnerPool) bool {
	return equality.Semantic.DeepEqual(stored.Status, withoutTicking(pool.Status, stored.Status))
}

// sameButCounts says that a status differs from the one that is stored in counts alone: nobody waits for those.
func sameButCounts(stored, status v1alpha1.RunnerPoolStatus) bool {
	status.Queued, status.Runners, status.Starting, status.Idle, status.Running = stored.Queued, stored.Runners, stored.Starting, stored.Idle, stored.Running
	status.Usage, status.LastOnline = stored.Usage, stored.LastOnline
	return equality.Semantic.DeepEqual(stored, status)
}
