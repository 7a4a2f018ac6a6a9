package runnerpool

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

func TestWhatIsCountedIsWrittenOnceASecond(t *testing.T) {
	w := newWorld(t)
	w.reconcile()
	w.pass(countsWait)
	before := w.pool().ResourceVersion
	for i, name := range []string{"p-0", "p-1", "p-2"} {
		w.runner(name, func(s *v1alpha1.RunnerStatus) { s.Phase = v1alpha1.RunnerRunning })
		w.pass(countsWait / 4)
		w.Expect(w.pool().ResourceVersion).To(Equal(before))
		w.Expect(w.result.RequeueAfter).To(And(BeNumerically(">", 0), BeNumerically("<=", countsWait-time.Duration(i)*countsWait/4)))
	}
	w.pass(countsWait)
	w.Expect(w.pool().Status.Running).To(BeEquivalentTo(3))
}

func TestWhatTheOperatorActsOnIsWrittenAtOnce(t *testing.T) {
	w := newWorld(t)
	w.reconcile()
	w.pass(countsWait)
	w.runner("p-0", func(s *v1alpha1.RunnerStatus) { s.Phase = v1alpha1.RunnerRunning })
	w.reconcile()
	w.Expect(w.pool().Status.Running).To(BeZero())
	w.change(func(s *v1alpha1.RunnerPoolSpec) { s.Suspend = true })
	w.reconcile()
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonSuspended))
	w.Expect(w.pool().Status.Running).To(BeEquivalentTo(1), "what is counted goes with it")
}
