package ui

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/queue"
)

// poolOf a RunnerPool: what its status says.
func poolOf(pool *v1alpha1.RunnerPool) Pool {
	s, ready := &pool.Status, queue.Ready(pool)
	p := Pool{
		Namespace: pool.Namespace, Name: pool.Name, Labels: []string{},
		Reason: ready.Reason, Message: ready.Message, Advice: advice[ready.Reason], Since: timeOf(&ready.LastTransitionTime),
		Queued: int(s.Queued), Starting: int(s.Starting), Idle: int(s.Idle), Running: int(s.Running), Limit: int(pool.Spec.MaxConcurrency),
		Conditions: []Condition{},
	}
	p.Scope, p.URL = scopeOf(pool)
	p.State, p.Tone = stateOf(pool, ready)
	for _, label := range pool.Spec.Labels {
		p.Labels = append(p.Labels, string(label))
	}
	if s.Image != nil {
		p.RunnerVersion = s.Image.RunnerVersion
	}
	for i := range s.Conditions {
		if s.Conditions[i].Type != v1alpha1.ConditionReady {
			p.Conditions = append(p.Conditions, conditionOf(&s.Conditions[i]))
		}
	}
	return p
}

func stateOf(pool *v1alpha1.RunnerPool, ready metav1.Condition) (string, Tone) {
	switch {
	case !pool.DeletionTimestamp.IsZero():
		return "Deleting", ToneOff
	case pool.Spec.Suspend:
		return "Suspended", ToneOff
	case ready.Status == metav1.ConditionTrue:
		return "Ready", ToneGood
	case ready.Status == metav1.ConditionUnknown, passing[ready.Reason]:
		return "Not ready yet", ToneWait
	case ready.Reason == v1alpha1.ReasonAttemptsFailed:
		return "Degraded", ToneBad
	}
	return "Not ready", ToneBad
}

// faults are conditions that are bad when True.
var faults = map[string]bool{v1alpha1.ConditionRateLimited: true, v1alpha1.ConditionBudgetSpent: true, v1alpha1.ConditionDegraded: true}

func conditionOf(c *metav1.Condition) Condition {
	made := Condition{
		Type: c.Type, Status: string(c.Status), Tone: ToneGood, Reason: c.Reason, Message: c.Message, Since: timeOf(&c.LastTransitionTime),
	}
	if (c.Status == metav1.ConditionTrue) == faults[c.Type] {
		made.Tone, made.Advice = ToneBad, advice[c.Reason]
		if passing[c.Reason] {
			made.Tone = ToneWait
		}
	}
	return made
}

func timeOf(t *metav1.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	utc := t.UTC()
	return &utc
}
