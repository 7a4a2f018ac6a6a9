package runner

import (
	"context"
	"fmt"
	"time"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
	"github.com/modalrunner/modal-runner-controller/internal/tracing"
)

const (
	// exitDelay is how long after its job a runner program takes to end: no use to look earlier.
	exitDelay = 2 * time.Second
	// exitGrace is how long after its job a sandbox may still be alive. Then it is terminated.
	exitGrace = 30 * time.Second
	// explainWait is how long a runner that ended well is kept until it is known which job it had: most have had one, of
	// which GitHub has not told yet, and its queued job would be taken for one that still waits.
	explainWait = 15 * time.Second
	// explainMost is how long it is kept when GitHub does not tell of any job, as while it throttles.
	explainMost = 10 * time.Minute
)

// finish sees to the end of a sandbox: of one whose job is over, and of one that ended without.
func (l *life) finish(ctx context.Context) error {
	s := l.status()
	if s.SandboxID == "" {
		if l.job != nil {
			return l.retire(ctx)
		}
		return nil
	}
	completed := l.job != nil && l.job.Status.State == v1alpha1.JobCompleted
	if completed && l.now.Before(l.completedAt().Add(exitDelay)) {
		l.lookAgain(l.completedAt().Add(exitDelay))
		return nil
	}
	if !completed && l.exit == nil && !l.missing() {
		return nil
	}
	if err := l.askForExit(tracing.Attempt(ctx, l.runner, tracing.Cleanup)); err != nil {
		return err
	}
	switch {
	case l.exit != nil:
		return l.ended(ctx)
	case completed && !l.now.Before(l.completedAt().Add(exitGrace)):
		return l.endHung(ctx, v1alpha1.ReasonOutlivedJob, fmt.Sprintf("the job is over for %s, and the sandbox is alive", exitGrace))
	case completed:
		l.lookAgain(l.now.Add(exitDelay))
	}
	return nil
}

func (l *life) completedAt() time.Time {
	if t := l.job.Status.CompletedAt; t != nil {
		return t.Time
	}
	return l.now
}

// missing says that the list of live sandboxes lacks this one. That is a reason to ask, not yet a proof.
func (l *life) missing() bool {
	_, alive, listedAt := l.SandboxLists.Get(l.place.Sandboxes(), l.status().SandboxID)
	return !alive && listedAt.After(l.status().LaunchedAt.Time)
}

// askForExit asks Modal about the one sandbox, unless it is known to have ended.
func (l *life) askForExit(ctx context.Context) error {
	s := l.status()
	if l.exit != nil {
		return nil
	}
	modal, err := l.modal(ctx)
	if err != nil {
		return err
	}
	state, err := modal.State(ctx, s.SandboxID)
	if err != nil || state.Running {
		return err
	}
	l.exit = &state.Exit
	s.EndedAt = l.timestamp()
	s.Exit = &v1alpha1.SandboxExit{Status: string(state.Exit.Status), Code: state.Exit.Code, Message: clip(state.Exit.Message)}
	l.count(func() { metrics.SandboxEnded(string(state.Exit.Status)) })
	return nil
}

// ended decides what follows the end of a sandbox: its runner's work is done, or the attempt has failed (B26).
func (l *life) ended(ctx context.Context) error {
	if l.job == nil && l.exit.Status == sandbox.ExitSuccess && l.mayHaveHadAJob() {
		l.explain()
		return nil
	}
	if l.job == nil && l.status().BusyAt == nil {
		return l.replace(ctx, reasonOf(*l.exit), "the sandbox ended before its runner had a job: "+describe(*l.exit))
	}
	if l.diedAtWork() {
		if err := l.died(ctx); err != nil {
			return err
		}
	}
	return l.retire(ctx)
}

// mayHaveHadAJob says that it is too early to judge a runner that ended well with no job known: GitHub has not told of the
// pool's jobs since. When it does not tell at all, nothing has failed here (I8).
func (l *life) mayHaveHadAJob() bool {
	ended := l.status().EndedAt.Time
	if told := ended.Add(explainWait); l.now.Before(told) {
		l.lookAgain(told)
		return true
	}
	if l.now.After(ended.Add(explainMost)) || l.Told(l.poolKey(), ended) {
		return false
	}
	l.lookAgain(l.now.Add(explainWait))
	return true
}
