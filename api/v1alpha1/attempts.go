package v1alpha1

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// MaxAttempts is how often a Runner tries by itself to get a runner online.
	MaxAttempts = 10
	// MaxFailures is how many attempts of a pool may fail in a row, with no runner coming online, before it is Degraded.
	MaxFailures = 5
)

// AttemptsExhausted says that the Runner has tried as often as it may by itself. One that was made for a wish tries on for as
// long as a job has it, at the slowest pace: no circuit probes in its place.
func (r *Runner) AttemptsExhausted() bool {
	return len(r.Spec.Wishes) == 0 && r.Status.SandboxID == "" && r.Status.LastFailure != nil && r.CurrentAttempt() > MaxAttempts
}

// FailedIn says that the attempt failed.
func (r *Runner) FailedIn(attempt int32) bool {
	return r.Status.LastFailure != nil && r.Status.LastFailure.Attempt == attempt
}

// DoneLabel is on a Runner of which nothing is left outside. It goes there with the finalizer's removal, in one write; the pool
// removes such Runners together.
const DoneLabel = "modalrunner.dev/done"

// Done says that nothing is left of a Runner but the object.
func (r *Runner) Done() bool {
	_, labelled := r.Labels[DoneLabel]
	return labelled && !slices.Contains(r.Finalizers, RunnerFinalizer)
}

// Dead says that the Runner's sandbox has ended and that it will never have another: all that is left of it is a
// registration that GitHub does not let go yet.
func (r *Runner) Dead() bool {
	return r.Done() || r.Status.EndedAt != nil && (!r.DeletionTimestamp.IsZero() || r.Status.Phase == RunnerFailed)
}

// CanLaunch says whether Runners of the pool may start sandboxes, and what they wait for if not.
func (p *RunnerPool) CanLaunch() (waitsFor string, ok bool) {
	switch {
	case !p.DeletionTimestamp.IsZero():
		return "the pool is being deleted", false
	case p.Spec.Suspend:
		return "the pool is suspended", false
	}
	if c := meta.FindStatusCondition(p.Status.Conditions, ConditionReady); c != nil && c.Reason == ReasonUnserved {
		return c.Message, false
	}
	for _, kind := range []string{ConditionGitHubReady, ConditionModalReady, ConditionTemplateReady} {
		c := meta.FindStatusCondition(p.Status.Conditions, kind)
		if c == nil {
			return kind + " is not known yet", false
		}
		if c.Status != metav1.ConditionTrue {
			return kind + ": " + c.Message, false
		}
	}
	if c := meta.FindStatusCondition(p.Status.Conditions, ConditionBudgetSpent); c != nil && c.Status == metav1.ConditionTrue {
		return c.Message, false
	}
	if c := meta.FindStatusCondition(p.Status.Conditions, ConditionImageReady); !p.Status.Image.Serves(&p.Spec.RunnerTemplate) {
		if c == nil {
			return ConditionImageReady + " is not known yet", false
		}
		return ConditionImageReady + ": " + c.Message, false
	}
	return "", true
}
