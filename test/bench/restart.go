package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// missed is how many jobs are queued, and how many end, while no manager leads.
const missed = 100

// runRestart kills the leader of two managers while many Runners are alive.
func runRestart(ctx context.Context, b *bench, r *results) error {
	w, err := b.newWorld(ctx, settings{managers: 2})
	if err != nil {
		return err
	}
	return errors.Join(w.takeover(ctx, r), w.stop(ctx))
}

func (w *world) takeover(ctx context.Context, r *results) error {
	alive := w.large / 2
	if err := w.createPools(ctx, []*v1alpha1.RunnerPool{w.pool(0, alive+missed)}); err != nil {
		return err
	}
	// The other one: deliveries arrive all the time.
	w.hook(w.managers[1])
	w.players.queue(poolName(0), alive)
	if err := w.until(ctx, "all jobs to run", func() bool { begun, _ := w.players.started(); return begun == alive }); err != nil {
		return err
	}
	if err := w.allRunning(ctx, alive); err != nil {
		return err
	}
	pauseFor(ctx, settle)
	before := len(w.createdAt())
	w.managers[0].Kill()
	killed := time.Now()
	w.managers = w.managers[1:]
	w.players.queue(poolName(0), missed)
	w.players.release(missed)
	elected, err := w.elected(ctx)
	if err != nil {
		return err
	}
	if err := w.until(ctx, "the first sandbox", func() bool { return len(w.createdAt()) > before }); err != nil {
		return err
	}
	first := w.createdAt()[before]
	if err := w.until(ctx, "all that was missed", func() bool {
		pauseFor(ctx, 200*time.Millisecond)
		begun, queued := w.players.started()
		n, err := w.count(ctx, &v1alpha1.RunnerList{})
		return err == nil && begun == queued && n == alive
	}); err != nil {
		return err
	}
	r.add("alive_runners", float64(alive))
	r.add("new_leader_s", elected.Sub(killed).Seconds())
	r.add("first_action_s", first.Sub(killed).Seconds())
	r.add("first_action_after_election_s", first.Sub(elected).Seconds())
	r.add("all_caught_up_s", time.Since(killed).Seconds())
	r.add("all_caught_up_after_election_s", time.Since(elected).Seconds())
	_, peak := memoryMiB(w.managers[0].PID())
	r.add("manager_peak_MiB", peak)
	w.players.release(alive)
	return w.gone(ctx)
}

// elected is when another manager has taken the lease.
func (w *world) elected(ctx context.Context) (time.Time, error) {
	var lease coordinationv1.Lease
	read := func() (string, error) {
		err := w.plane.Client.Get(ctx, types.NamespacedName{Namespace: w.namespace, Name: "modal-runner-controller"}, &lease)
		if err != nil || lease.Spec.HolderIdentity == nil {
			return "", errors.Join(err, client.IgnoreNotFound(err))
		}
		return *lease.Spec.HolderIdentity, nil
	}
	dead, err := read()
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the lease: %w", err)
	}
	err = w.until(ctx, "another leader", func() bool {
		holder, err := read()
		return err == nil && holder != dead
	})
	return time.Now(), err
}
