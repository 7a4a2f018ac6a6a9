package main

import (
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// costs of pools, their Runners and repositories, by the controller's estimate; the dearest first.
type costs struct {
	Pools        []poolCost       `json:"pools"`
	Runners      []runnerCost     `json:"runners"`
	Repositories []repositoryCost `json:"repositories"`
}

// amount of money, as a decimal number; empty when it is not known.
type amount string

// poolCost of today (UTC).
type poolCost struct {
	Namespace string `json:"namespace"`
	Pool      string `json:"pool"`
	Running   int32  `json:"running"`
	Idle      int32  `json:"idle"`
	Starting  int32  `json:"starting"`
	Max       int32  `json:"max"`
	Queued    int32  `json:"queued"`
	// Cost and SandboxSeconds of the day, of the sandboxes that have ended and of those alive.
	Cost           amount `json:"cost,omitempty"`
	Currency       string `json:"currency,omitempty"`
	SandboxSeconds int64  `json:"sandboxSeconds"`
	// Budget of the day, if there is one.
	Budget amount `json:"budget,omitempty"`
	// PerHour of all that is alive now.
	PerHour amount `json:"perHour,omitempty"`
}

// runnerCost since its sandbox was made.
type runnerCost struct {
	Namespace string               `json:"namespace"`
	Runner    string               `json:"runner"`
	Pool      string               `json:"pool"`
	Phase     v1alpha1.RunnerPhase `json:"phase"`
	Job       string               `json:"job,omitempty"`
	Seconds   int64                `json:"seconds"`
	PerHour   amount               `json:"perHour,omitempty"`
	Cost      amount               `json:"cost,omitempty"`
	Currency  string               `json:"currency,omitempty"`
}

// repositoryCost of today, in one pool.
type repositoryCost struct {
	Namespace string `json:"namespace"`
	// Repository is empty for sandboxes that ran no job.
	Repository     string `json:"repository"`
	Pool           string `json:"pool"`
	SandboxSeconds int64  `json:"sandboxSeconds"`
	Cost           amount `json:"cost"`
	Currency       string `json:"currency"`
}

// costsOf pools at a time.
func costsOf(views []view, now time.Time) costs {
	all := costs{Pools: []poolCost{}, Runners: []runnerCost{}, Repositories: []repositoryCost{}}
	for _, v := range views {
		p := poolCostOf(v, now)
		for i := range v.runners {
			all.Runners = append(all.Runners, runnerCostOf(&v.runners[i], p.Currency, now))
		}
		all.Pools = append(all.Pools, p)
		if usage := today(&v.pool, now); usage != nil {
			for _, r := range usage.Repositories {
				all.Repositories = append(all.Repositories, repositoryCost{
					Namespace: v.pool.Namespace, Repository: r.Repository, Pool: v.pool.Name, SandboxSeconds: r.SandboxSeconds,
					Cost: amount(r.Cost), Currency: usage.Currency,
				})
			}
		}
	}
	slices.SortStableFunc(all.Pools, func(a, b poolCost) int { return dearest(a.Cost, b.Cost) })
	slices.SortStableFunc(all.Runners, func(a, b runnerCost) int { return dearest(a.Cost, b.Cost) })
	slices.SortStableFunc(all.Repositories, func(a, b repositoryCost) int { return dearest(a.Cost, b.Cost) })
	return all
}

func poolCostOf(v view, now time.Time) poolCost {
	s := v.pool.Status
	p := poolCost{
		Namespace: v.pool.Namespace, Pool: v.pool.Name, Running: s.Running, Idle: s.Idle, Starting: s.Starting,
		Max: v.pool.Spec.MaxConcurrency, Queued: s.Queued,
	}
	if v.pool.Spec.Budget != nil {
		p.Budget = amount(v.pool.Spec.Budget.PerDay.AsDec().String())
	}
	cost, perHour := new(big.Rat), new(big.Rat)
	if s.Usage != nil {
		p.Currency = s.Usage.Currency
	}
	if usage := today(&v.pool, now); usage != nil {
		p.SandboxSeconds = usage.SandboxSeconds
		if ended, ok := rat(usage.Cost); ok {
			p.Cost = decimal(cost.Add(cost, ended))
		}
	}
	// The stored usage has what is alive as of its last change alone.
	midnight := now.UTC().Truncate(24 * time.Hour)
	for i := range v.runners {
		lived, price, ok := lifeOf(&v.runners[i], midnight, now)
		if v.runners[i].Status.EndedAt != nil || lived == 0 {
			continue
		}
		p.SandboxSeconds += lived
		if ok {
			p.Cost = decimal(cost.Add(cost, priceOf(price, lived)))
			p.PerHour = decimal(perHour.Add(perHour, price))
		}
	}
	return p
}

// lifeOf a Runner's sandbox since a time, in seconds, and its price per hour where that is known.
func lifeOf(r *v1alpha1.Runner, since, now time.Time) (lived int64, price *big.Rat, ok bool) {
	price, ok = rat(r.Status.CostPerHour)
	if r.Status.LaunchedAt == nil {
		return 0, price, ok
	}
	begun, ended := r.Status.LaunchedAt.Time, now
	if r.Status.EndedAt != nil {
		ended = r.Status.EndedAt.Time
	}
	if begun.Before(since) {
		begun = since
	}
	return int64(max(0, ended.Sub(begun)).Seconds()), price, ok
}

func priceOf(perHour *big.Rat, seconds int64) *big.Rat {
	return new(big.Rat).Mul(perHour, big.NewRat(seconds, 3600))
}

func runnerCostOf(r *v1alpha1.Runner, currency string, now time.Time) runnerCost {
	c := runnerCost{
		Namespace: r.Namespace, Runner: r.Name, Pool: r.Spec.PoolName, Phase: r.Status.Phase, PerHour: amount(r.Status.CostPerHour), Currency: currency,
	}
	if job := r.Status.Job; job != nil {
		c.Job = job.Repository + " " + job.Name
	}
	lived, price, ok := lifeOf(r, time.Time{}, now)
	c.Seconds = lived
	if ok && r.Status.LaunchedAt != nil {
		c.Cost = decimal(priceOf(price, lived))
	}
	return c
}

// today's usage of a pool; nil when what is stored is of another day.
func today(pool *v1alpha1.RunnerPool, now time.Time) *v1alpha1.Usage {
	if usage := pool.Status.Usage; usage != nil && usage.Day == now.UTC().Format(time.DateOnly) {
		return usage
	}
	return nil
}

func rat(text string) (*big.Rat, bool) { return new(big.Rat).SetString(text) }

func decimal(r *big.Rat) amount { return amount(r.FloatString(6)) }

// dearest first; what is not known comes last.
func dearest(a, b amount) int {
	x, xKnown := rat(string(a))
	y, yKnown := rat(string(b))
	switch {
	case xKnown && yKnown:
		return y.Cmp(x)
	case xKnown:
		return -1
	case yKnown:
		return 1
	}
	return 0
}

// money for people: cents, or finer below one.
func money(a amount, currency string) string {
	value, known := rat(string(a))
	if !known {
		return "-"
	}
	digits := 2
	if value.Sign() != 0 && value.Cmp(big.NewRat(1, 1)) < 0 {
		digits = 4
	}
	return strings.TrimSpace(value.FloatString(digits) + " " + currency)
}
