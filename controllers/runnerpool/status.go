package runnerpool

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/github"
)

// reasons of conditions for the classes of errors.
var reasons = map[fault.Class]string{
	fault.SecretMissing: v1alpha1.ReasonSecretNotFound,
	fault.SecretInvalid: v1alpha1.ReasonSecretInvalid,
	fault.Unauthorized:  v1alpha1.ReasonUnauthorized,
	fault.Forbidden:     v1alpha1.ReasonForbidden,
	fault.NotFound:      v1alpha1.ReasonForbidden,
	fault.NoRunnerGroup: v1alpha1.ReasonRunnerGroupNotFound,
	fault.Throttled:     v1alpha1.ReasonThrottled,
	fault.Held:          v1alpha1.ReasonThrottled,
	fault.Transient:     v1alpha1.ReasonUnreachable,
	fault.Invalid:       v1alpha1.ReasonRefused,
	fault.Conflict:      v1alpha1.ReasonRefused,
}

func setCondition(pool *v1alpha1.RunnerPool, kind string, status bool, reason, message string) {
	value := metav1.ConditionFalse
	if status {
		value = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&pool.Status.Conditions, metav1.Condition{
		Type: kind, Status: value, Reason: reason, Message: message, ObservedGeneration: pool.Generation,
	})
}

func setError(pool *v1alpha1.RunnerPool, kind string, err error) {
	reason := reasonOf(kind, err)
	setCondition(pool, kind, false, reason, err.Error()+advice(pool, kind, reason))
}

// advice to the operator, where an error says what is wrong and not what to do.
func advice(pool *v1alpha1.RunnerPool, kind, reason string) string {
	switch reason {
	case v1alpha1.ReasonUnauthorized:
		name := pool.Spec.GitHub.SecretName
		if kind == v1alpha1.ConditionModalReady {
			name = pool.Spec.Modal.SecretName
		}
		return "; replace the credentials in Secret " + pool.Namespace + "/" + name
	case v1alpha1.ReasonReferenceNotFound:
		return "; create it at Modal, or correct spec.sandbox"
	case v1alpha1.ReasonUnreachable:
		return "; it is tried again by itself"
	}
	return ""
}

// reasonOf an error in a condition: what was not found depends on what was looked for.
func reasonOf(kind string, err error) string {
	class := fault.ClassOf(err)
	switch {
	case class == fault.NotFound && kind == v1alpha1.ConditionTemplateReady:
		return v1alpha1.ReasonReferenceNotFound
	case class == fault.NotFound && kind == v1alpha1.ConditionImageReady:
		return v1alpha1.ReasonImageNotFound
	}
	return reasons[class]
}

// setRateLimited says whether GitHub limits the pool's credentials, and gives when to look again.
func setRateLimited(pool *v1alpha1.RunnerPool, b github.Budget) time.Time {
	set := func(limited bool, reason, message string) {
		setCondition(pool, v1alpha1.ConditionRateLimited, limited, reason, message)
	}
	switch {
	case !b.ThrottledUntil.IsZero():
		set(true, v1alpha1.ReasonThrottled, "GitHub asks to wait until "+b.ThrottledUntil.UTC().Format(time.RFC3339))
		return b.ThrottledUntil
	case b.Low():
		set(true, v1alpha1.ReasonBudgetLow, fmt.Sprintf("most of the %d requests that GitHub allows in an hour are used up: until %s the rest is kept for waiting jobs",
			b.Limit, b.Reset.UTC().Format(time.RFC3339)))
		return b.Reset
	}
	set(false, v1alpha1.ReasonBudgetSufficient, "GitHub does not limit the credentials now")
	return time.Time{}
}

// summarize the conditions in Ready: the first that is not as it should be speaks.
func summarize(pool *v1alpha1.RunnerPool) {
	if pool.Spec.Suspend {
		setCondition(pool, v1alpha1.ConditionReady, false, v1alpha1.ReasonSuspended, "spec.suspend is set: jobs wait in the queue until it is not")
		return
	}
	for _, kind := range []string{v1alpha1.ConditionGitHubReady, v1alpha1.ConditionModalReady, v1alpha1.ConditionTemplateReady, v1alpha1.ConditionImageReady} {
		c := meta.FindStatusCondition(pool.Status.Conditions, kind)
		if c == nil || c.Status != metav1.ConditionTrue {
			setCondition(pool, v1alpha1.ConditionReady, false, c.Reason, c.Message)
			return
		}
	}
	for _, fault := range []string{v1alpha1.ConditionBudgetSpent, v1alpha1.ConditionDegraded} {
		if c := meta.FindStatusCondition(pool.Status.Conditions, fault); c != nil && c.Status == metav1.ConditionTrue {
			setCondition(pool, v1alpha1.ConditionReady, false, c.Reason, c.Message)
			return
		}
	}
	setCondition(pool, v1alpha1.ConditionReady, true, v1alpha1.ReasonReady, "jobs are served")
}

// count what the pool has into its status.
func count(pool *v1alpha1.RunnerPool, s situation) {
	status := &pool.Status
	status.ObservedGeneration = pool.Generation
	status.Queued, status.Runners = int32(len(s.waiting)), int32(len(s.runners)) //nolint:gosec // bounded by etcd
	status.Starting, status.Idle, status.Running = 0, 0, 0
	for _, r := range s.runners {
		switch r.use {
		case pending, starting:
			status.Starting++
		case idle:
			status.Idle++
		case busy:
			status.Running++
		}
	}
}
