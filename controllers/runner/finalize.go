package runner

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
	"github.com/modalrunner/modal-runner-controller/internal/tracing"
)

const (
	// dyingWait is how soon to look again whether a terminated sandbox is dead.
	dyingWait = time.Second
	// busyWait is how soon to try again to remove a registration that GitHub says is busy.
	busyWait = 15 * time.Second
	// forcedGrace is how long after its sandbox's end a Runner that is deleted by force waits until GitHub lets its
	// registration go: it gives up the job of a dead runner after about ten minutes.
	forcedGrace = 15 * time.Minute
	// letGoMargin is how long after its sandbox's own timeout a Runner may stay when Modal or GitHub do not answer.
	letGoMargin = 5 * time.Minute
)

// left says what an attempt still has outside.
type left int

const (
	nothingLeft left = iota
	// busyRunner: GitHub says that the runner has a job.
	busyRunner
	// dyingSandbox: terminated, and not known to be dead yet.
	dyingSandbox
)

// finalize a Runner that is being deleted: end what it has outside, a busy runner only after its job, then let it go.
func (l *life) finalize(ctx context.Context) error {
	l.status().Phase = v1alpha1.RunnerTerminating
	if forced(l.runner) || l.pool != nil && forced(l.pool) {
		return l.force(ctx)
	}
	return l.retire(ctx)
}

// forced says that an object is to be deleted whatever runs.
func forced(object client.Object) bool {
	return !object.GetDeletionTimestamp().IsZero() && object.GetAnnotations()[v1alpha1.ForceDelete] == "true"
}

// force the end of the sandbox, whatever runs in it, then wait for GitHub to let the registration go, but not for ever.
func (l *life) force(ctx context.Context) error {
	if l.status().EndedAt == nil {
		modal, err := l.modal(ctx)
		if err != nil {
			return l.letGo(ctx, err)
		}
		left, err := l.terminate(ctx, modal)
		if err != nil {
			return l.letGo(ctx, err)
		}
		if left == dyingSandbox {
			l.lookAgain(l.now.Add(dyingWait))
			return nil
		}
		if l.status().EndedAt == nil {
			l.status().EndedAt = l.timestamp()
		}
		l.warn(v1alpha1.EventForceDeleted, "the sandbox was terminated, whatever ran in it")
	}
	if l.now.After(l.status().EndedAt.Add(forcedGrace)) {
		l.warn(v1alpha1.EventLetGo, "removed by force; GitHub still had its runner %s", l.runner.OutsideName())
		return l.abandon(ctx)
	}
	return l.retire(ctx)
}

// retire the Runner: end what it has outside, then remove the object. The finalizer goes first and the object after it, so
// that there is no moment at which something outside has no Runner.
func (l *life) retire(ctx context.Context) error {
	left, err := l.tearDown(ctx)
	switch {
	case err != nil:
		return l.letGo(ctx, err)
	case left == busyRunner:
		l.lookAgain(l.now.Add(busyWait))
		return nil
	case left == dyingSandbox:
		l.lookAgain(l.now.Add(dyingWait))
		return nil
	}
	return l.remove(ctx)
}

// letGo of a Runner whose outside does not answer, once that cannot matter any more (B41); until then it is an error.
func (l *life) letGo(ctx context.Context, err error) error {
	if !l.now.After(l.letGoAt()) {
		return err
	}
	log.FromContext(ctx).Info("letting go: the sandbox's own timeout has passed", "sandbox", l.status().SandboxID, "error", err.Error())
	l.warn(v1alpha1.EventLetGo, "removed without an answer from outside, after the sandbox's own timeout; remove what GitHub and Modal still have of %s: %s",
		l.runner.OutsideName(), clip(err.Error()))
	return l.abandon(ctx)
}

// letGoAt is when the sandbox has ended by itself whatever happened, and the finalizer need not hold any longer (B41).
func (l *life) letGoAt() time.Time {
	begun := l.runner.CreationTimestamp.Time
	switch {
	case l.status().LaunchedAt != nil:
		begun = l.status().LaunchedAt.Time
	case l.runner.DeletionTimestamp != nil:
		begun = l.runner.DeletionTimestamp.Time
	}
	return begun.Add(l.runner.Spec.Sandbox.Timeout.Duration + letGoMargin)
}

// abandon the Runner, of which something may be left outside. Until it is gone it is tried again, and counts once.
func (l *life) abandon(ctx context.Context) error {
	err := l.remove(ctx)
	if l.over {
		l.count(func() { metrics.RunnerLetGo(l.poolKey()) })
	}
	return err
}

// remove the Runner, of which nothing is left outside: the finalizer goes, and the pool removes the object, with others.
func (l *life) remove(ctx context.Context) error {
	// Before the pool sees that it is gone.
	l.Ledger.Ended(l.runner, l.now)
	patch := client.MergeFromWithOptions(l.stored.DeepCopy(), client.MergeFromWithOptimisticLock{})
	bare := l.stored.DeepCopy()
	if controllerutil.RemoveFinalizer(bare, v1alpha1.RunnerFinalizer) {
		metav1.SetMetaDataLabel(&bare.ObjectMeta, v1alpha1.DoneLabel, "true")
		if err := l.Patch(ctx, bare, patch); err != nil {
			return client.IgnoreNotFound(fmt.Errorf("removing the finalizer: %w", err))
		}
	}
	if l.pool == nil && l.runner.DeletionTimestamp.IsZero() {
		if err := l.Delete(ctx, bare, client.Preconditions{UID: &bare.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting the Runner: %w", err)
		}
	}
	tracing.RunnerRemoved(l.runner, l.job, l.now)
	log.FromContext(ctx).Info("removed", "sandbox", l.status().SandboxID, "runner", l.status().Name)
	l.forget(l.key())
	l.over = true
	return nil
}

// tearDown ends what the current attempt has outside and says what is left of it. The registration goes first: GitHub
// refuses to remove a runner that has a job, and so decides for both sides whether it may be ended (I4).
func (l *life) tearDown(ctx context.Context) (left, error) {
	ctx = tracing.Attempt(ctx, l.runner, tracing.Cleanup)
	gh, err := l.github(ctx)
	if err != nil {
		return nothingLeft, err
	}
	modal, err := l.modal(ctx)
	if err != nil {
		return nothingLeft, err
	}
	if !l.deregisteredByGitHub() {
		if err := l.deregister(ctx, gh); fault.Is(err, fault.Busy) {
			return busyRunner, nil
		} else if fault.IgnoreNotFound(err) != nil {
			return nothingLeft, err
		}
	}
	return l.terminate(ctx, modal)
}

// deregisteredByGitHub says that the runner did its one job and ended by itself: GitHub has then removed it.
// Source: docs.github.com/actions/reference/runners/self-hosted-runners, ephemeral runners.
func (l *life) deregisteredByGitHub() bool {
	return l.job != nil && l.job.Status.State == v1alpha1.JobCompleted && l.exit != nil && l.exit.Status == sandbox.ExitSuccess
}

// deregister the runner, by its ID or, when a crash came before the ID was stored, by its name.
func (l *life) deregister(ctx context.Context, gh *github.Client) error {
	s := l.status()
	id := s.RunnerID
	if seen, listed, _ := l.Registrations.Get(l.place.Registrations(), s.Name); listed && seen.Busy && l.job != nil && l.job.Status.State == v1alpha1.JobInProgress {
		return &fault.Error{Op: "removing runner", Class: fault.Busy, Message: "it has a job"}
	}
	if id == 0 {
		found, err := gh.FindRunner(ctx, l.place.Scope, l.runner.OutsideName())
		if err != nil {
			return err
		}
		id = found.ID
	}
	return gh.DeleteRunner(ctx, l.place.Scope, id)
}

// terminate the sandbox and see that it is dead.
func (l *life) terminate(ctx context.Context, modal sandbox.Provider) (left, error) {
	s := l.status()
	if s.SandboxID == "" {
		id, err := modal.Find(ctx, l.runner.OutsideName())
		if err != nil {
			return nothingLeft, fault.IgnoreNotFound(err)
		}
		s.SandboxID = id
	}
	if err := l.askForExit(ctx); err != nil || l.exit != nil {
		return nothingLeft, err
	}
	if err := modal.Terminate(ctx, s.SandboxID); err != nil {
		return dyingSandbox, err
	}
	if err := l.askForExit(ctx); err != nil || l.exit != nil {
		return nothingLeft, err
	}
	return dyingSandbox, nil
}
