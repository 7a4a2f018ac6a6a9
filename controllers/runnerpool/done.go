package runnerpool

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// doneWait is how long Runners stay of which nothing is left outside: those of so long are removed with one request. They hold
// nothing but their names.
const doneWait = time.Second

// removeDone removes the Runners of which nothing is left outside, and says when to look again.
func (r *Reconciler) removeDone(ctx context.Context, pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner) (time.Time, error) {
	key, now := client.ObjectKeyFromObject(pool), r.Clock.Now()
	var done []*v1alpha1.Runner
	for i := range runners {
		if runners[i].Done() {
			done = append(done, &runners[i])
		}
	}
	if len(done) == 0 {
		r.done.forget(key)
		return time.Time{}, nil
	}
	if due := r.done.wait(key, now, doneWait); due.After(now) {
		return due, nil
	}
	r.done.forget(key)
	var err error
	if len(done) == 1 {
		err = r.Delete(ctx, done[0], client.Preconditions{UID: &done[0].UID})
	} else {
		err = r.Live.DeleteAllOf(ctx, &v1alpha1.Runner{}, client.InNamespace(pool.Namespace),
			client.MatchingLabels{v1alpha1.PoolLabel: pool.Name}, client.HasLabels{v1alpha1.DoneLabel})
	}
	if client.IgnoreNotFound(err) != nil {
		return time.Time{}, fmt.Errorf("removing Runners that are done: %w", err)
	}
	return time.Time{}, nil
}
