package runnerpool

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// failing Runners, p-0 and up, each of which has failed so often in a row, lastly at a time.
func failing(at time.Time, failures ...int32) []v1alpha1.Runner {
	var all []v1alpha1.Runner
	for i, count := range failures {
		r := v1alpha1.Runner{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("p-%d", i)}, Spec: v1alpha1.RunnerSpec{PoolName: "p"}}
		if count > 0 {
			r.Status.Failures = count
			r.Status.LastFailure = &v1alpha1.AttemptFailure{Reason: v1alpha1.ReasonRunnerCrashed, Message: "it crashed", Time: metav1.NewTime(at)}
		}
		all = append(all, r)
	}
	return all
}

// wishing makes them Runners that were made for a wish.
func wishing(all []v1alpha1.Runner) []v1alpha1.Runner {
	for i := range all {
		all[i].Spec.Wishes = []string{"modal-gpu=B200"}
	}
	return all
}

func online(at time.Time) v1alpha1.Runner {
	t := metav1.NewTime(at)
	return v1alpha1.Runner{ObjectMeta: metav1.ObjectMeta{Name: "p-9"}, Spec: v1alpha1.RunnerSpec{PoolName: "p"}, Status: v1alpha1.RunnerStatus{OnlineAt: &t, SandboxID: "sb-1"}}
}

func degraded(pool *v1alpha1.RunnerPool) bool {
	for _, c := range pool.Status.Conditions {
		if c.Type == v1alpha1.ConditionDegraded {
			return c.Status == metav1.ConditionTrue
		}
	}
	return false
}

func TestB28_TheCircuitOpensWhenAttemptsFailInARow(t *testing.T) {
	for name, test := range map[string]struct {
		runners []v1alpha1.Runner
		open    bool
	}{
		"none failed":                           {failing(noon, 0, 0), false},
		"too few":                               {failing(noon, 2, 2), false},
		"enough of one":                         {failing(noon, 5), true},
		"enough of all together":                {failing(noon, 1, 1, 1, 1, 1), true},
		"one came online since":                 {append(failing(noon, 3, 3), online(noon.Add(time.Second))), false},
		"one came online in the same second":    {append(failing(noon, 3, 3), online(noon)), false},
		"one came online before they failed":    {append(failing(noon, 3, 3), online(noon.Add(-time.Second))), true},
		"I7: those made for wishes stand apart": {wishing(failing(noon, 9, 9)), false},
		"many that failed before one was well":  {append(failing(noon, 9, 9, 9), online(noon.Add(time.Hour))), false},
	} {
		t.Run(name, func(t *testing.T) {
			pool := &v1alpha1.RunnerPool{}
			turnCircuit(pool, test.runners, noon)
			if got := pool.Status.Circuit != nil; got != test.open || degraded(pool) != test.open {
				t.Errorf("open is %v, degraded %v", got, degraded(pool))
			}
		})
	}
}

func TestB28_ProbesWaitLongerAndLonger(t *testing.T) {
	pool, at := &v1alpha1.RunnerPool{}, noon
	runners := failing(at, 1, 1, 1, 1, 1, 1, 1, 1)
	want := firstProbe
	for range 8 {
		turnCircuit(pool, runners, noon)
		c := pool.Status.Circuit
		if c == nil || c.Probe != "p-0" || c.ProbeAt.Sub(at) != want {
			t.Fatalf("the circuit is %+v, with a wait of %v and not %v", c, c.ProbeAt.Sub(at), want)
		}
		turnCircuit(pool, runners, noon)
		if again := pool.Status.Circuit; !again.ProbeAt.Equal(&c.ProbeAt) {
			t.Fatal("looking again moved the probe")
		}
		at = c.ProbeAt.Add(10 * time.Second)
		runners[0].Status.LastFailure = &v1alpha1.AttemptFailure{Time: metav1.NewTime(at)}
		want = min(2*want, lastProbe)
	}
}

func TestB28_FailuresOfOthersThanTheProbeDoNotMakeItWaitLonger(t *testing.T) {
	pool := &v1alpha1.RunnerPool{}
	runners := failing(noon, 3, 3)
	turnCircuit(pool, runners, noon)
	late := noon.Add(5 * time.Second)
	runners[1].Status.LastFailure = &v1alpha1.AttemptFailure{Time: metav1.NewTime(late)}
	turnCircuit(pool, runners, noon)
	if wait := pool.Status.Circuit.ProbeAt.Sub(late); wait != firstProbe {
		t.Errorf("the probe waits %v", wait)
	}
}

func TestB28_TheCircuitClosesWhenARunnerComesOnlineAndStaysOpenOtherwise(t *testing.T) {
	pool := &v1alpha1.RunnerPool{}
	turnCircuit(pool, failing(noon, 5), noon)
	// The Runners may go with the demand: that heals nothing.
	turnCircuit(pool, nil, noon)
	if pool.Status.Circuit == nil || pool.Status.Circuit.Probe != "" {
		t.Fatalf("without Runners the circuit is %+v", pool.Status.Circuit)
	}
	fresh := failing(noon, 0)
	turnCircuit(pool, fresh, noon)
	if pool.Status.Circuit == nil || pool.Status.Circuit.Probe != "p-0" {
		t.Fatalf("with a fresh Runner the circuit is %+v", pool.Status.Circuit)
	}
	// The probe keeps its role while its sandbox starts.
	fresh[0].Status.SandboxID = "sb-1"
	turnCircuit(pool, append(fresh, failing(noon, 0, 0)[1]), noon)
	if pool.Status.Circuit.Probe != "p-0" {
		t.Fatalf("while it starts the probe is %q", pool.Status.Circuit.Probe)
	}
	turnCircuit(pool, []v1alpha1.Runner{online(noon.Add(time.Minute))}, noon)
	if pool.Status.Circuit != nil || degraded(pool) {
		t.Error("it did not close")
	}
}

func TestB28_AChangedSpecIsTriedAtOnce(t *testing.T) {
	pool := &v1alpha1.RunnerPool{ObjectMeta: metav1.ObjectMeta{Generation: 1}, Status: v1alpha1.RunnerPoolStatus{ObservedGeneration: 1}}
	runners := failing(noon, 5)
	turnCircuit(pool, runners, noon)
	pool.Generation = 2
	turnCircuit(pool, runners, noon.Add(time.Second))
	if at := pool.Status.Circuit.ProbeAt; !at.Equal(&metav1.Time{Time: noon.Add(time.Second)}) {
		t.Errorf("the probe is at %v", at)
	}
}
