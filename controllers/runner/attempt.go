package runner

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
	"github.com/modalrunner/modal-runner-controller/internal/tracing"
)

// A Runner tries again by itself up to v1alpha1.MaxAttempts times, with waits that grow. Beyond that it is replaced by a
// fresh one where others of its pool come online; where none does, the pool is degraded, and one Runner at a time probes
// whether they do again (B28). Package runnerpool decides which.

const (
	// firstBackoff is the wait after a first failed attempt; it doubles with each up to lastBackoff.
	firstBackoff = 10 * time.Second
	lastBackoff  = 5 * time.Minute
)

// backoff after the current attempt failed.
func (l *life) backoff() time.Duration {
	return min(firstBackoff<<min(l.runner.CurrentAttempt()-1, 10), lastBackoff)
}

// mayTry says whether the attempt may begin now, and when to look again if not.
func (l *life) mayTry() bool {
	if l.pool != nil && l.pool.Status.Circuit != nil && len(l.runner.Spec.Wishes) == 0 {
		return l.mayProbe(l.pool.Status.Circuit)
	}
	s := l.status()
	if l.runner.AttemptsExhausted() {
		l.condition(v1alpha1.ConditionLaunched, false, v1alpha1.ReasonAttemptsExhausted,
			fmt.Sprintf("%d attempts failed and a fresh Runner takes its place; the last failure: %s", v1alpha1.MaxAttempts, s.LastFailure.Message))
		return false
	}
	if s.LastFailure != nil && s.LastFailure.RetryAt != nil && s.LastFailure.RetryAt.After(l.now) {
		l.lookAgain(s.LastFailure.RetryAt.Time)
		return false
	}
	return true
}

// mayProbe says whether it is this Runner's turn to find out whether runners of its degraded pool start again.
func (l *life) mayProbe(circuit *v1alpha1.Circuit) bool {
	probes := circuit.Probe == l.runner.Name
	if probes && !l.now.Before(circuit.ProbeAt.Time) {
		return true
	}
	reason, message := v1alpha1.ReasonPoolDegraded, "runners of the pool fail to start"
	if l.runner.AttemptsExhausted() {
		reason, message = v1alpha1.ReasonAttemptsExhausted, fmt.Sprintf("%d attempts failed", l.runner.CurrentAttempt()-1)
	}
	if probes {
		l.lookAgain(circuit.ProbeAt.Time)
		message += fmt.Sprintf("; this one tries next, at %s", circuit.ProbeAt.UTC().Format(time.RFC3339))
	} else {
		message += "; another one tries next"
	}
	l.condition(v1alpha1.ConditionLaunched, false, reason, clip(message+"; the last failure: "+circuit.LastFailure.Message))
	return false
}

// replace what the attempt has outside by another attempt, unless it turns out to run a job after all (I4).
func (l *life) replace(ctx context.Context, reason, message string) error {
	left, err := l.tearDown(ctx)
	if err != nil {
		return err
	}
	switch left {
	case nothingLeft:
		l.fail(reason, message, l.lastWords(ctx), l.backoff())
	case busyRunner:
		l.status().BusyAt, l.status().OnlineAt = l.timestamp(), l.timestamp()
		l.status().Phase = v1alpha1.RunnerRunning
	case dyingSandbox:
		l.lookAgain(l.now.Add(dyingWait))
	}
	return nil
}

// fail the attempt, of which nothing is left outside, and go on to the next after a wait.
func (l *life) fail(reason, message, words string, wait time.Duration) {
	s := l.status()
	l.Ledger.Ended(l.runner, l.now)
	failing := l.runner.DeepCopy()
	retryAt := metav1.NewTime(l.now.Add(wait))
	failed := &v1alpha1.AttemptFailure{
		Attempt: l.runner.CurrentAttempt(), Name: s.Name, Reason: reason, Message: clip(message), Log: words,
		ImageID: s.ImageID, Time: metav1.NewTime(l.now), RetryAt: &retryAt,
	}
	failures := l.failuresSoFar()
	if s.OnlineAt == nil && reason != v1alpha1.ReasonNameTaken {
		failures++
	}
	*s = v1alpha1.RunnerStatus{
		Phase: v1alpha1.RunnerPending, Attempt: failed.Attempt + 1, Failures: failures, Exit: s.Exit, Conditions: s.Conditions,
		LastFailure: failed,
	}
	l.condition(v1alpha1.ConditionLaunched, false, v1alpha1.ReasonBackoff,
		fmt.Sprintf("attempt %d failed: %s; the next starts at %s", failed.Attempt, failed.Message, retryAt.UTC().Format(time.RFC3339)))
	l.condition(v1alpha1.ConditionOnline, false, reason, failed.Message)
	l.Registrations.Untrack(l.key())
	l.SandboxLists.Untrack(l.key())
	l.next = retryAt.Time
	l.count(func() {
		tracing.AttemptFailed(failing, l.now, reason)
		metrics.AttemptFailed(l.poolKey(), reason)
	})
	l.warn(reason, "attempt %d: %s", failed.Attempt, failed.Message)
}

// failuresSoFar of this Runner in a row: none when a runner of the pool came online since the last.
func (l *life) failuresSoFar() int32 {
	s := l.status()
	if s.LastFailure == nil || l.pool != nil && l.pool.Status.LastOnline != nil && !l.pool.Status.LastOnline.Before(&s.LastFailure.Time) {
		return 0
	}
	return s.Failures
}
