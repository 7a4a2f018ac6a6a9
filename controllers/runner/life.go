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
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/observe"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
)

// life is one reconcile of one Runner: what is known at its start, and what its steps add.
type life struct {
	*Reconciler
	stored *v1alpha1.Runner
	runner *v1alpha1.Runner
	// pool is nil when it is gone already.
	pool *v1alpha1.RunnerPool
	// place is where the runner is registered and its sandbox made.
	place observe.Place
	// job that the runner took in this attempt or the one before, nil while none is known.
	job *v1alpha1.WorkflowJob
	now time.Time
	// exit tells how the sandbox ended, once it is known to have.
	exit *sandbox.Exit
	// waits says that it is too early to try again what failed.
	waits bool
	// over says that the Runner is deleted and gone.
	over bool
	// news is told as events once it is stored: told before, it would be told again when it could not be.
	news []news
	// counts are what metrics and traces are told then, for the same reason.
	counts []func()

	next time.Time
}

func (r *Reconciler) begin(ctx context.Context, runner *v1alpha1.Runner) (*life, error) {
	l := &life{
		Reconciler: r, stored: runner.DeepCopy(), runner: runner, now: r.Clock.Now(),
		place: observe.PlaceOf(runner.Namespace, runner.Spec.Scope, &runner.Spec.RunnerTemplate),
	}
	var pool v1alpha1.RunnerPool
	key := types.NamespacedName{Namespace: runner.Namespace, Name: runner.Spec.PoolName}
	err := r.Get(ctx, key, &pool)
	if apierrors.IsNotFound(err) {
		// The cache may know a Runner before its pool, which may be another shard's.
		err = r.Live.Get(ctx, key, &pool)
	}
	switch {
	case err == nil:
		l.pool = &pool
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("reading the pool: %w", err)
	}
	if s := &runner.Status; s.EndedAt != nil && s.Exit != nil {
		l.exit = &sandbox.Exit{Status: sandbox.ExitStatus(s.Exit.Status), Code: s.Exit.Code, Message: s.Exit.Message}
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

func (l *life) poolKey() types.NamespacedName {
	return types.NamespacedName{Namespace: l.runner.Namespace, Name: l.runner.Spec.PoolName}
}

func (l *life) github(ctx context.Context) (*github.Client, error) {
	return l.GitHubAt(ctx, l.place)
}

func (l *life) modal(ctx context.Context) (sandbox.Provider, error) {
	return l.ModalAt(ctx, l.place)
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
		l.notBefore.Delete(l.key())
		return
	}
	l.retries.Next(id, l.Clock.Now())
	// All who were told to wait until the same moment must not come back in the same moment.
	after := wait.Jitter(fault.RetryAfter(err, l.Clock.Now(), l.retries.Get(id)), retryJitter)
	log.FromContext(ctx).Info("trying again later", "error", err.Error(), "after", after.Round(time.Millisecond).String())
	l.next = l.Clock.Now().Add(after)
	if fault.Is(err, fault.Transient, fault.Throttled, fault.Held) {
		// Refused credentials are the pool's to heal, which wakes its Runners.
		l.notBefore.Store(l.key(), l.next)
	}
}

// waitsToRetry says whether it is too early to try again, whatever has woken the Runner.
func (l *life) waitsToRetry() bool {
	until, ok := l.notBefore.Load(l.key())
	if !ok || !until.(time.Time).After(l.now) {
		return false
	}
	l.lookAgain(until.(time.Time))
	return true
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
	if old := meta.FindStatusCondition(l.status().Conditions, kind); kind == v1alpha1.ConditionLaunched && old != nil && old.Reason != reason {
		// The pool looks at when the reason was first met, also when it follows another.
		meta.RemoveStatusCondition(&l.status().Conditions, kind)
	}
	meta.SetStatusCondition(&l.status().Conditions, metav1.Condition{
		Type: kind, Status: value, Reason: reason, Message: message, ObservedGeneration: l.runner.Generation,
		LastTransitionTime: metav1.NewTime(l.now),
	})
}

// news that an operator acts on.
type news struct{ reason, message string }

func (l *life) warn(reason, format string, args ...any) {
	l.news = append(l.news, news{reason, fmt.Sprintf(format, args...)})
}

// count something in metrics or traces, once what it is about is stored.
func (l *life) count(something func()) { l.counts = append(l.counts, something) }

// tell the news as events, and count what there is to be counted.
func (l *life) tell() {
	for _, n := range l.news {
		l.Events.Eventf(l.runner, nil, corev1.EventTypeWarning, n.reason, "Watch", "%s", n.message)
	}
	for _, count := range l.counts {
		count()
	}
	l.news, l.counts = nil, nil
}

func (l *life) timestamp() *metav1.Time {
	t := metav1.NewTime(l.now)
	return &t
}

// track the runner and the sandbox in the shared lists.
func (l *life) track() {
	s := l.status()
	l.Registrations.Track(l.key(), l.place.Registrations(), s.Name, l.ListRegistrations(l.place))
	l.SandboxLists.Track(l.key(), l.place.Sandboxes(), s.SandboxID, l.ListSandboxes(l.place))
}

// retryJitter spreads out what was held back until one moment.
const retryJitter = 0.2

// clip a message of the outside to what the status may hold.
func clip(message string) string {
	const limit = 1000
	if len(message) <= limit {
		return message
	}
	return message[:limit] + "..."
}
