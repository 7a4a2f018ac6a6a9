package runnerpool

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// The circuit keeps a pool whose runners fail to start from failing in a hot loop (B28). Runners that were made for wishes stand
// apart: that a GPU cannot be had says nothing of the pool (I7). They try again by themselves, with waits that grow. It opens when attempts have failed
// MaxFailures times in a row with no runner coming online. While it is open one Runner at a time, the probe, tries again,
// with waits that grow. It closes by itself as soon as a runner comes online.

const (
	// firstProbe is the wait before the first probe; it doubles with each that fails up to lastProbe.
	firstProbe = time.Minute
	lastProbe  = 10 * time.Minute
)

// turnCircuit opens, keeps or closes the pool's circuit by what its Runners tell.
func turnCircuit(pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner, now time.Time) {
	status := &pool.Status
	for i := range runners {
		if at := runners[i].Status.OnlineAt; at != nil && (status.LastOnline == nil || status.LastOnline.Before(at)) {
			status.LastOnline = at.DeepCopy()
		}
	}
	latest, failures := failuresInARow(status.LastOnline, runners)
	open := status.Circuit
	switch {
	case open != nil && status.LastOnline != nil && !status.LastOnline.Before(&open.LastFailure.Time):
		status.Circuit = nil
	case open != nil && latest != nil && open.LastFailure.Time.Before(&latest.Status.LastFailure.Time):
		wait := max(firstProbe/2, open.ProbeAt.Sub(open.LastFailure.Time.Time))
		if latest.Name == open.Probe {
			wait = min(2*wait, lastProbe)
		}
		status.Circuit = circuit(open.Failures+1, latest.Status.LastFailure, wait)
	case open == nil && failures >= v1alpha1.MaxFailures:
		status.Circuit = circuit(failures, latest.Status.LastFailure, firstProbe)
	}
	if c := status.Circuit; c != nil {
		c.Probe = probeOf(open, runners)
		if status.ObservedGeneration != pool.Generation && c.ProbeAt.After(now) {
			// The operator has changed something: it may be what was wrong.
			c.ProbeAt = metav1.NewTime(now)
		}
	}
	setDegraded(pool)
}

func circuit(failures int32, latest *v1alpha1.AttemptFailure, wait time.Duration) *v1alpha1.Circuit {
	return &v1alpha1.Circuit{Failures: failures, LastFailure: *latest.DeepCopy(), ProbeAt: metav1.NewTime(latest.Time.Add(wait))}
}

// failuresInARow of all Runners together, since a runner last came online, and the Runner that failed last.
func failuresInARow(lastOnline *metav1.Time, runners []v1alpha1.Runner) (latest *v1alpha1.Runner, count int32) {
	for i := range runners {
		s := &runners[i].Status
		if len(runners[i].Spec.Wishes) > 0 || s.Failures == 0 || lastOnline != nil && !lastOnline.Before(&s.LastFailure.Time) {
			continue
		}
		count += s.Failures
		if latest == nil || latest.Status.LastFailure.Time.Before(&s.LastFailure.Time) {
			latest = &runners[i]
		}
	}
	return latest, count
}

// probeOf the circuit: the one that was, for as long as it is there, else the first Runner that has no sandbox.
func probeOf(before *v1alpha1.Circuit, runners []v1alpha1.Runner) string {
	probe, first := "", -1
	for i := range runners {
		r := &runners[i]
		if !r.DeletionTimestamp.IsZero() || r.Done() || len(r.Spec.Wishes) > 0 {
			continue
		}
		if before != nil && r.Name == before.Probe {
			return r.Name
		}
		if slot := slotOf(r); r.Status.SandboxID == "" && (first < 0 || slot < first) {
			probe, first = r.Name, slot
		}
	}
	return probe
}

func setDegraded(pool *v1alpha1.RunnerPool) {
	c := pool.Status.Circuit
	if c == nil {
		setCondition(pool, v1alpha1.ConditionDegraded, false, v1alpha1.ReasonAttemptsSucceed, "runners come online")
		return
	}
	setCondition(pool, v1alpha1.ConditionDegraded, true, v1alpha1.ReasonAttemptsFailed,
		fmt.Sprintf("%d attempts to start a runner failed in a row; one runner tries next at %s; the last failure, %s: %s",
			c.Failures, c.ProbeAt.UTC().Format(time.RFC3339), c.LastFailure.Reason, c.LastFailure.Message))
}
