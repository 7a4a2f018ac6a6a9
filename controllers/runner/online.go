package runner

import (
	"context"
	"fmt"
	"time"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
)

// listWait is when to look again for a list of GitHub's that is recent enough to judge by.
const listWait = 5 * time.Second

// online follows the runner from its sandbox's creation to its job: what GitHub's list says of it, and what its job says.
func (l *life) online(ctx context.Context) error {
	s := l.status()
	if s.SandboxID == "" {
		return nil
	}
	l.track()
	seen, listed, listedAt := l.Registrations.Get(l.place.Registrations(), s.Name)
	busy := listed && seen.Busy || l.job != nil
	if (busy || listed && seen.Online) && s.OnlineAt == nil {
		s.OnlineAt = l.timestamp()
		l.isOnline()
		if s.LaunchedAt != nil {
			took := l.now.Sub(s.LaunchedAt.Time)
			l.count(func() { metrics.RunnerOnline(l.poolKey(), took) })
		}
	}
	if busy && s.BusyAt == nil {
		s.BusyAt = l.timestamp()
	}
	l.took()
	s.Phase = phaseOf(l.runner)
	switch {
	case !l.runner.DeletionTimestamp.IsZero():
		return nil
	case s.OnlineAt == nil:
		return l.awaitOnline(ctx, listedAt)
	default:
		return l.watch(ctx, sighting{seen, listed, listedAt})
	}
}

func (l *life) isOnline() {
	l.condition(v1alpha1.ConditionOnline, true, v1alpha1.ReasonOnline, "the runner came online at GitHub")
}

// took notes the runner's job, or asks for it to be found when GitHub says busy and no job is known.
func (l *life) took() {
	s := l.status()
	switch {
	case l.job != nil:
		s.Job = &v1alpha1.RunnerJob{ID: l.job.Spec.ID, Repository: l.job.Spec.Repository, Name: l.job.Spec.Name}
	case s.BusyAt != nil && l.stored.Status.BusyAt == nil:
		l.explain()
	}
}

// explain asks for the pool's jobs soon.
func (l *life) explain() {
	l.Explain(l.poolKey())
}

// phaseOf a Runner that has a sandbox.
func phaseOf(runner *v1alpha1.Runner) v1alpha1.RunnerPhase {
	switch s := runner.Status; {
	case !runner.DeletionTimestamp.IsZero():
		return v1alpha1.RunnerTerminating
	case s.EndedAt != nil && runner.FailedIn(runner.CurrentAttempt()):
		return v1alpha1.RunnerFailed
	case s.BusyAt != nil:
		return v1alpha1.RunnerRunning
	case s.OnlineAt != nil:
		return v1alpha1.RunnerIdle
	default:
		return v1alpha1.RunnerStarting
	}
}

// awaitOnline replaces a runner that is not online within the startup timeout (B23). Only a list that GitHub gave after
// the timeout counts: while GitHub does not answer, nothing is known and nothing is killed (I8).
func (l *life) awaitOnline(ctx context.Context, listedAt time.Time) error {
	timeout := l.runner.Spec.StartupTimeout.Duration
	deadline := l.status().LaunchedAt.Add(timeout)
	if l.now.Before(deadline) {
		l.lookAgain(deadline)
		return nil
	}
	if !listedAt.After(deadline) {
		l.lookAgain(l.now.Add(listWait))
		return nil
	}
	if err := l.askForExit(ctx); err != nil || l.exit != nil {
		// It has ended: how it did tells more than that it is late.
		return err
	}
	return l.hung(ctx, v1alpha1.ReasonStartupTimeout, fmt.Sprintf("the runner was not online %s after its sandbox was created", timeout))
}
