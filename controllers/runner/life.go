package runner

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
	"github.com/modalrunner/modal-runner-controller/internal/observe"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
)

// life is one reconcile of one Runner: what is known at its start, and what its steps add.
type life struct {
	*Reconciler
	stored *v1alpha1.Runner
	runner *v1alpha1.Runner
	// pool is nil when it is gone already.
	pool  *v1alpha1.RunnerPool
	scope github.Scope
	// job that the runner took in this attempt or the one before, nil while none is known.
	job *v1alpha1.WorkflowJob
	now time.Time
	// exit tells how the sandbox ended, once it is known to have.
	exit *sandbox.Exit
	// over says that the Runner is deleted and gone.
	over bool

	next time.Time
}

func (r *Reconciler) begin(ctx context.Context, runner *v1alpha1.Runner) (*life, error) {
	l := &life{
		Reconciler: r, stored: runner.DeepCopy(), runner: runner, now: r.Clock.Now(),
		scope: github.ScopeOf(runner.Spec.GitHub.URL, runner.Spec.Scope),
	}
	var pool v1alpha1.RunnerPool
	err := r.Get(ctx, types.NamespacedName{Namespace: runner.Namespace, Name: runner.Spec.PoolName}, &pool)
	switch {
	case err == nil:
		l.pool = &pool
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("reading the pool: %w", err)
	}
	for _, name := range names(runner) {
		var jobs v1alpha1.WorkflowJobList
		if err := r.List(ctx, &jobs, client.InNamespace(runner.Namespace), client.MatchingFields{runnerNameIndex: name}); err != nil {
			return nil, fmt.Errorf("looking for the runner's job: %w", err)
		}
		if len(jobs.Items) > 0 {
			l.job = &jobs.Items[0]
			break
		}
	}
	return l, nil
}

func (l *life) status() *v1alpha1.RunnerStatus { return &l.runner.Status }

func (l *life) key() types.NamespacedName { return client.ObjectKeyFromObject(l.runner) }

func (l *life) github(ctx context.Context) (*github.Client, error) {
	return l.GitHub.For(ctx, l.runner.Namespace, l.runner.Spec.GitHub, l.scope)
}

func (l *life) modal(ctx context.Context) (sandbox.Provider, error) {
	return l.Sandboxes.For(ctx, l.runner.Namespace, l.runner.Spec.Modal)
}

// lookAgain at a time, or earlier if another step asked for that.
func (l *life) lookAgain(at time.Time) {
	if l.next.IsZero() || at.Before(l.next) {
		l.next = at
	}
}

// retryLater after an outside call failed: as told, or with a wait that doubles.
func (l *life) retryLater(ctx context.Context, err error) {
	id := l.key().String()
	if err == nil {
		l.retries.Reset(id)
		return
	}
	l.retries.Next(id, l.Clock.Now())
	wait := fault.RetryAfter(err, l.Clock.Now(), l.retries.Get(id))
	log.FromContext(ctx).Info("trying again later", "error", err.Error(), "after", wait.Round(time.Millisecond).String())
	l.next = l.Clock.Now().Add(wait)
}

func (l *life) result() ctrl.Result {
	if l.next.IsZero() {
		return ctrl.Result{}
	}
	return ctrl.Result{RequeueAfter: max(time.Millisecond, l.next.Sub(l.Clock.Now()))}
}

func (l *life) condition(kind string, status bool, reason, message string) {
	value := metav1.ConditionFalse
	if status {
		value = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&l.status().Conditions, metav1.Condition{
		Type: kind, Status: value, Reason: reason, Message: message, ObservedGeneration: l.runner.Generation,
	})
}

func (l *life) warn(reason, format string, args ...any) {
	l.Events.Eventf(l.runner, nil, corev1.EventTypeWarning, reason, "Watch", format, args...)
}

func (l *life) timestamp() *metav1.Time {
	t := metav1.NewTime(l.now)
	return &t
}

// track the runner and the sandbox in the shared lists.
func (l *life) track() {
	s := l.status()
	l.Registrations.Track(l.key(), l.registrations(), s.Name, func(ctx context.Context) (map[string]github.Runner, error) {
		gh, err := l.github(ctx)
		if err != nil {
			return nil, err
		}
		runners, err := gh.ListRunners(ctx, l.scope)
		return byName(runners), err
	})
	l.SandboxLists.Track(l.key(), l.sandboxes(), s.SandboxID, func(ctx context.Context) (map[string]observe.Alive, error) {
		modal, err := l.modal(ctx)
		if err != nil {
			return nil, err
		}
		ids, err := modal.List(ctx, map[string]string{tagInstallation: l.Installation})
		return observe.AliveByID(ids), err
	})
}

// registrations and sandboxes name the shared lists that the Runner is in.
func (l *life) registrations() string {
	return fmt.Sprintf("%s with %s/%s", l.scope, l.runner.Namespace, l.runner.Spec.GitHub.SecretName)
}

func (l *life) sandboxes() string {
	modal := l.runner.Spec.Modal
	return fmt.Sprintf("%s/%s with %s/%s", modal.Environment, modal.App, l.runner.Namespace, modal.SecretName)
}

func byName(runners []github.Runner) map[string]github.Runner {
	all := make(map[string]github.Runner, len(runners))
	for _, r := range runners {
		all[r.Name] = r
	}
	return all
}

const (
	// firstBackoff is the wait after a first failed attempt; it doubles with each up to lastBackoff.
	firstBackoff = 10 * time.Second
	lastBackoff  = 5 * time.Minute
)

// fail the attempt, of which nothing is left outside, and go on to the next after a wait.
func (l *life) fail(reason, message string, wait time.Duration) {
	s := l.status()
	failed := &v1alpha1.AttemptFailure{
		Attempt: l.runner.CurrentAttempt(), Name: s.Name, Reason: reason, Message: clip(message),
		Time: metav1.NewTime(l.now), RetryAt: metav1.NewTime(l.now.Add(wait)),
	}
	*s = v1alpha1.RunnerStatus{
		Phase: v1alpha1.RunnerPending, Attempt: failed.Attempt + 1, Exit: s.Exit, Conditions: s.Conditions, LastFailure: failed,
	}
	l.condition(v1alpha1.ConditionLaunched, false, v1alpha1.ReasonBackoff,
		fmt.Sprintf("attempt %d failed: %s; the next starts at %s", failed.Attempt, failed.Message, failed.RetryAt.UTC().Format(time.RFC3339)))
	l.condition(v1alpha1.ConditionOnline, false, reason, failed.Message)
	l.Registrations.Untrack(l.key())
	l.SandboxLists.Untrack(l.key())
	l.lookAgain(failed.RetryAt.Time)
	metrics.AttemptFailed(reason)
	l.warn(reason, "attempt %d: %s", failed.Attempt, failed.Message)
}

// backoff after the current attempt failed.
func (l *life) backoff() time.Duration {
	return min(firstBackoff<<min(l.runner.CurrentAttempt()-1, 10), lastBackoff)
}

// clip a message of the outside to what the status may hold.
func clip(message string) string {
	const limit = 1000
	if len(message) <= limit {
		return message
	}
	return message[:limit] + "..."
}
