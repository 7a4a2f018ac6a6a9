package runner

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
)

const (
	// goneGrace is how long GitHub may not know a runner whose sandbox is alive. A runner is forgotten after its job, and then
	// needs a moment to end.
	goneGrace = time.Minute
	// offlineGrace is how long GitHub may list a runner as offline whose sandbox is alive: connections break and heal.
	offlineGrace = 2 * time.Minute
)

// sighting of a runner in GitHub's list.
type sighting struct {
	github.Runner
	listed bool
	at     time.Time
}

// watch a runner that was online: one that GitHub has lost, or that has lost GitHub, takes no job although its sandbox is
// alive (B24). Since when is kept in the Online condition. A busy one is GitHub's to judge: it gives up the job of a runner
// that is dead, and that ends the Runner.
func (l *life) watch(ctx context.Context, seen sighting) error {
	working := l.job != nil && l.job.Status.State != v1alpha1.JobCompleted || seen.listed && seen.Busy
	switch {
	case working, seen.listed && seen.Online:
		l.isOnline()
		return nil
	case l.job != nil, l.exit != nil, !seen.at.After(l.status().OnlineAt.Time):
		// Its job is over, its sandbox has ended, or the list is older than what is known.
		return nil
	}
	reason, grace, message := v1alpha1.ReasonRunnerGone, goneGrace, "GitHub does not know the runner any more"
	if seen.listed {
		reason, grace, message = v1alpha1.ReasonRunnerOffline, offlineGrace, "GitHub lists the runner as offline"
	}
	l.condition(v1alpha1.ConditionOnline, false, reason, message)
	deadline := meta.FindStatusCondition(l.status().Conditions, v1alpha1.ConditionOnline).LastTransitionTime.Add(grace)
	if l.now.Before(deadline) {
		l.lookAgain(deadline)
		return nil
	}
	if !seen.at.After(deadline) {
		l.lookAgain(l.now.Add(listWait))
		return nil
	}
	proven, err := l.provenIdle(ctx, seen)
	if err != nil || !proven {
		return err
	}
	message = fmt.Sprintf("%s for %s, and its sandbox is alive", message, grace)
	if l.status().BusyAt != nil {
		// It has had a job, of which nothing was heard: its work is done.
		return l.endHung(ctx, reason, message)
	}
	return l.hung(ctx, reason, message)
}

// provenIdle asks both sides about the one runner: what a list lacks is a reason to ask, not a proof (B44).
func (l *life) provenIdle(ctx context.Context, seen sighting) (bool, error) {
	if !seen.listed {
		gh, err := l.github(ctx)
		if err != nil {
			return false, err
		}
		if _, err := gh.GetRunner(ctx, l.place.Scope, l.status().RunnerID); !fault.Is(err, fault.NotFound) {
			l.lookAgain(l.now.Add(listWait))
			return false, err
		}
	}
	if err := l.askForExit(ctx); err != nil {
		return false, err
	}
	return l.exit == nil, nil
}

// hung: the sandbox is alive and does no work. It is replaced.
func (l *life) hung(ctx context.Context, reason, message string) error {
	l.noteHung(ctx, reason, message)
	return l.replace(ctx, reason, message)
}

// endHung ends a runner that hangs after its work was done.
func (l *life) endHung(ctx context.Context, reason, message string) error {
	if l.noteHung(ctx, reason, message) {
		l.warn(reason, "%s", message)
	}
	return l.retire(ctx)
}

// noteHung in the Online condition, which remembers that it was told, and say whether it is news: to end what hangs may take
// several tries.
func (l *life) noteHung(ctx context.Context, reason, message string) bool {
	l.condition(v1alpha1.ConditionOnline, false, reason, message)
	if known := meta.FindStatusCondition(l.stored.Status.Conditions, v1alpha1.ConditionOnline); known != nil && known.Reason == reason && known.Message == message {
		return false
	}
	log.FromContext(ctx).Info("the runner hangs", "reason", reason, "sandbox", l.status().SandboxID, "message", message)
	l.count(func() { metrics.RunnerHung(l.poolKey(), reason) })
	return true
}
