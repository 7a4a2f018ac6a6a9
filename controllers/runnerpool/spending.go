package runnerpool

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/cost"
)

// spend puts what the pool's sandboxes cost today into its status, and says whether its budget is spent. It gives when that
// may change by time alone.
func (r *Reconciler) spend(pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner) time.Time {
	now := r.Clock.Now()
	usage, spending := r.Ledger.Usage(pool, runners, now)
	pool.Status.Usage = usage
	budget := pool.Spec.Budget
	if budget == nil {
		meta.RemoveStatusCondition(&pool.Status.Conditions, v1alpha1.ConditionBudgetSpent)
		return time.Time{}
	}
	prices, left := r.Ledger.Prices(), budget.PerDay.AsApproximateFloat64()-spending.Amount
	tomorrow := cost.NextDay(now)
	if left <= 0 {
		setCondition(pool, v1alpha1.ConditionBudgetSpent, true, v1alpha1.ReasonDailyBudgetSpent, fmt.Sprintf(
			"the pool's sandboxes have cost the %s %s of spec.budget.perDay: runners are made again from %s, or when it is raised",
			budget.PerDay.String(), prices.Currency, tomorrow.Format(time.RFC3339)))
		return tomorrow
	}
	message := "some of today's budget is left"
	if gpu := prices.Unpriced(&pool.Spec.Sandbox); gpu != "" {
		message += "; the price table has no price for the GPU " + gpu + ", which counts for nothing"
	}
	setCondition(pool, v1alpha1.ConditionBudgetSpent, false, v1alpha1.ReasonBudgetLeft, message)
	switch {
	case spending.PerSecond == 0:
		return time.Time{}
	case left/spending.PerSecond > (24 * time.Hour).Seconds():
		return tomorrow
	}
	spent := now.Add(time.Duration(left / spending.PerSecond * float64(time.Second)))
	return earlier(spent.Truncate(time.Second).Add(time.Second), tomorrow)
}

// withoutTicking is a status in which what changes with time alone is as in the one that is stored: no reason to write it.
func withoutTicking(status, stored v1alpha1.RunnerPoolStatus) v1alpha1.RunnerPoolStatus {
	if status.Usage == nil || stored.Usage == nil || status.Usage.Day != stored.Usage.Day {
		return status
	}
	usage := *status.Usage
	usage.CostAlive = stored.Usage.CostAlive
	status.Usage = &usage
	return status
}
