package runnerpool

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/cost"
)

// newSpendingWorld in which a sandbox costs 1 an hour, and the pool may spend 3 a day.
func newSpendingWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.reconciler.Ledger = cost.NewLedger(&cost.Prices{Currency: "EUR", CPUCoreSecond: 1.0 / 3600, MemoryGiBSecond: 1e-12, BroadRegion: 1, NarrowRegion: 1})
	w.change(func(s *v1alpha1.RunnerPoolSpec) {
		s.Budget, s.MaxConcurrency, s.IdleTimeout = &v1alpha1.Budget{PerDay: resource.MustParse("3")}, 5, metav1.Duration{Duration: time.Minute}
	})
	w.reconcile()
	return w
}

func (w *world) running(name string) {
	begun := metav1.NewTime(w.Clock.Now())
	w.runner(name, func(s *v1alpha1.RunnerStatus) {
		*s = v1alpha1.RunnerStatus{Phase: v1alpha1.RunnerRunning, SandboxID: "sb-" + name, LaunchedAt: &begun, OnlineAt: &begun, BusyAt: &begun}
	})
}

func TestABudgetThatIsSpentStopsThePoolUntilTheNextDay(t *testing.T) {
	w := newSpendingWorld(t)
	w.Expect(w.reason(v1alpha1.ConditionBudgetSpent)).To(Equal(v1alpha1.ReasonBudgetLeft))
	w.running("p-0")
	w.running("p-1")
	w.running("p-2")
	w.reconcile()
	w.Expect(w.result.RequeueAfter).To(BeNumerically("<=", time.Hour+time.Second), "it looks again when the budget will be spent")
	w.queue("job-1")
	w.pass(59 * time.Minute)
	w.Expect(w.runners()).To(HaveLen(4))
	w.queue("job-2")
	w.pass(time.Minute)
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonDailyBudgetSpent))
	w.Expect(w.message(v1alpha1.ConditionReady)).To(ContainSubstring("the 3 EUR of spec.budget.perDay: runners are made again from 2026-01-02T00:00:00Z"))
	w.Expect(w.runners()).To(HaveLen(4), "what runs, finishes, and no other is made")
	_, ok := w.pool().CanLaunch()
	w.Expect(ok).To(BeFalse(), "nor does one that waits start")
	w.Expect(w.pool().Status.Usage.CostAlive).To(HavePrefix("3.000"))
	w.pass(11 * time.Hour)
	w.Expect(w.reason(v1alpha1.ConditionBudgetSpent)).To(Equal(v1alpha1.ReasonBudgetLeft), w.message(v1alpha1.ConditionBudgetSpent))
	w.Expect(len(w.runners())).To(BeNumerically(">", 4))
}

func TestARaisedBudgetHealsThePoolAtOnce(t *testing.T) {
	w := newSpendingWorld(t)
	w.running("p-0")
	w.pass(3 * time.Hour)
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonDailyBudgetSpent))
	w.change(func(s *v1alpha1.RunnerPoolSpec) { s.Budget.PerDay = resource.MustParse("3.5") })
	w.reconcile()
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonReady))
	w.change(func(s *v1alpha1.RunnerPoolSpec) { s.Budget = nil })
	w.reconcile()
	w.Expect(meta.FindStatusCondition(w.pool().Status.Conditions, v1alpha1.ConditionBudgetSpent)).To(BeNil())
}

func TestNoWarmRunnersOnABudgetThatIsSpent(t *testing.T) {
	w := newSpendingWorld(t)
	w.change(func(s *v1alpha1.RunnerPoolSpec) { s.MinIdle = 1 })
	w.running("p-0")
	w.runner("p-1", func(s *v1alpha1.RunnerStatus) {
		begun := metav1.NewTime(w.Clock.Now())
		*s = v1alpha1.RunnerStatus{Phase: v1alpha1.RunnerIdle, SandboxID: "sb-1", LaunchedAt: &begun, OnlineAt: &begun}
	})
	w.pass(time.Hour)
	w.Expect(w.runners()[1].DeletionTimestamp).To(BeNil())
	w.pass(time.Hour)
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonDailyBudgetSpent))
	w.Expect(w.runners()).To(HaveLen(2))
	w.Expect(w.runners()[1].DeletionTimestamp).NotTo(BeNil())
}

func TestWhatTicksAloneIsNoReasonToWriteTheStatus(t *testing.T) {
	w := newSpendingWorld(t)
	w.running("p-0")
	w.pass(time.Second)
	w.pass(countsWait)
	before := w.pool().ResourceVersion
	w.pass(time.Minute)
	w.Expect(w.pool().ResourceVersion).To(Equal(before))
}

func TestABudgetThatIsNeverSpentNeedsNoLookingAgain(t *testing.T) {
	w := newSpendingWorld(t)
	w.change(func(s *v1alpha1.RunnerPoolSpec) { s.Budget.PerDay = resource.MustParse("1000M") })
	w.running("p-0")
	w.Expect(w.reconciler.spend(w.pool(), w.runners())).To(Equal(cost.NextDay(w.Clock.Now())))
}
