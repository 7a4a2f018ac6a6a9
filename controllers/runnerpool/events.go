package runnerpool

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// announced are the conditions whose changes are told as events. Degraded has events of its own.
var announced = []string{v1alpha1.ConditionReady, v1alpha1.ConditionWebhookReady, v1alpha1.ConditionRateLimited, v1alpha1.ConditionBudgetSpent}

// faults are the conditions that are bad when True: that all is well from the start is no news.
var faults = []string{v1alpha1.ConditionRateLimited, v1alpha1.ConditionBudgetSpent}

// announce as events what has changed about the pool that an operator acts on: each change once, though two conditions tell of
// it. A message alone that changes is no news.
func (r *Reconciler) announce(stored, pool *v1alpha1.RunnerPool) {
	told := map[string]bool{}
	for _, kind := range announced {
		before, after := meta.FindStatusCondition(stored.Status.Conditions, kind), meta.FindStatusCondition(pool.Status.Conditions, kind)
		switch {
		case after == nil, before != nil && before.Reason == after.Reason && before.Status == after.Status:
			continue
		case before == nil && after.Status == metav1.ConditionFalse && slices.Contains(faults, kind):
			continue
		case after.Reason == v1alpha1.ReasonAttemptsFailed, told[after.Reason+after.Message]:
			continue
		}
		told[after.Reason+after.Message] = true
		r.Events.Eventf(pool, nil, levelOf(after.Reason), after.Reason, "Check", "%s", after.Message)
	}
	r.announceCircuit(stored, pool)
}

// levelOf an event about a pool's condition: a warning, unless all is well or only takes a while.
func levelOf(reason string) string {
	switch reason {
	case v1alpha1.ReasonReady, v1alpha1.ReasonBuilding, v1alpha1.ReasonDeleting, v1alpha1.ReasonSuspended, v1alpha1.ReasonChecking,
		v1alpha1.ReasonWaiting, v1alpha1.ReasonBudgetSufficient, v1alpha1.ReasonBudgetLeft:
		return corev1.EventTypeNormal
	}
	return corev1.EventTypeWarning
}

// announceCircuit tells as events when the pool becomes degraded, and when it is not any more.
func (r *Reconciler) announceCircuit(stored, pool *v1alpha1.RunnerPool) {
	was, is := stored.Status.Circuit != nil, pool.Status.Circuit != nil
	degraded := meta.FindStatusCondition(pool.Status.Conditions, v1alpha1.ConditionDegraded)
	switch {
	case is && !was:
		r.Events.Eventf(pool, nil, corev1.EventTypeWarning, v1alpha1.EventDegraded, "Probe", "%s", degraded.Message)
	case was && !is:
		r.Events.Eventf(pool, nil, corev1.EventTypeNormal, v1alpha1.EventRecovered, "Probe", "a runner came online")
	}
}
