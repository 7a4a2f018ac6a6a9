package cost

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
)

// Ledger adds up what the sandboxes of each pool have cost today (UTC). It goes on from what a pool's status says, so that
// a restart loses only what was not stored yet.
type Ledger struct {
	prices *Prices

	mu    sync.Mutex
	pools map[types.NamespacedName]*account
}

type account struct {
	day time.Time
	// stored says that what the pool's status had is in it.
	stored bool
	total  entry
	by     map[string]entry
	// seen sandboxes of the day: one that is told of twice counts once.
	seen map[string]bool
}

type entry struct{ seconds, amount float64 }

func (e entry) plus(other entry) entry {
	return entry{e.seconds + other.seconds, e.amount + other.amount}
}

// NewLedger with these prices.
func NewLedger(prices *Prices) *Ledger {
	return &Ledger{prices: prices, pools: map[types.NamespacedName]*account{}}
}

// Prices that it reckons with.
func (l *Ledger) Prices() *Prices { return l.prices }

// Ended tells of the end of a Runner's sandbox.
func (l *Ledger) Ended(runner *v1alpha1.Runner, at time.Time) {
	s := &runner.Status
	if s.SandboxID == "" || s.LaunchedAt == nil {
		return
	}
	if s.EndedAt != nil && s.EndedAt.Time.Before(at) {
		at = s.EndedAt.Time
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	pool := types.NamespacedName{Namespace: runner.Namespace, Name: runner.Spec.PoolName}
	a := l.account(pool, at)
	if a.seen[s.SandboxID] {
		return
	}
	a.seen[s.SandboxID] = true
	repository := ""
	if s.Job != nil {
		repository = s.Job.Repository
	}
	today := l.lived(runner, a.day, at)
	a.total = a.total.plus(today)
	a.by[repository] = a.by[repository].plus(today)
	whole := l.lived(runner, time.Time{}, at)
	metrics.SandboxCost(pool, repository, string(runner.Spec.Sandbox.GPU), l.prices.Currency, whole.seconds, whole.amount)
}

// lived between two times.
func (l *Ledger) lived(runner *v1alpha1.Runner, from, to time.Time) entry {
	if launched := runner.Status.LaunchedAt.Time; launched.After(from) {
		from = launched
	}
	seconds := max(0, to.Sub(from).Seconds())
	return entry{seconds, seconds * l.prices.PerSecond(&runner.Spec.Sandbox)}
}

// account of a pool for the day of a time.
func (l *Ledger) account(pool types.NamespacedName, at time.Time) *account {
	a, day := l.pools[pool], dayOf(at)
	if a == nil || a.day.Before(day) {
		// What a status says of an earlier day is of no use; what it says of this one is added when it is seen.
		a = &account{day: day, stored: a != nil, by: map[string]entry{}, seen: map[string]bool{}}
		l.pools[pool] = a
	}
	return a
}

func dayOf(at time.Time) time.Time { return at.UTC().Truncate(24 * time.Hour) }

// NextDay begins at this time.
func NextDay(now time.Time) time.Time { return dayOf(now).Add(24 * time.Hour) }

// Forget a pool.
func (l *Ledger) Forget(pool types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pools, pool)
}

// Spending of a pool today.
type Spending struct {
	// Amount so far, and what is added each second by the sandboxes that are alive.
	Amount, PerSecond float64
}

// Usage of a pool today, with its status as it is stored and its Runners as they are.
func (l *Ledger) Usage(pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner, now time.Time) (*v1alpha1.Usage, Spending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.account(types.NamespacedName{Namespace: pool.Namespace, Name: pool.Name}, now)
	if !a.stored {
		a.add(pool.Status.Usage)
	}
	var alive entry
	spending := Spending{Amount: a.total.amount}
	for i := range runners {
		runner := &runners[i]
		s := &runner.Status
		if s.SandboxID == "" || s.LaunchedAt == nil || a.seen[s.SandboxID] {
			continue
		}
		until := now
		if s.EndedAt != nil {
			until = s.EndedAt.Time
		} else {
			spending.PerSecond += l.prices.PerSecond(&runner.Spec.Sandbox)
		}
		alive = alive.plus(l.lived(runner, a.day, until))
	}
	spending.Amount += alive.amount
	if a.total.seconds == 0 && alive.seconds == 0 {
		return nil, spending
	}
	return &v1alpha1.Usage{
		Day: a.day.Format(time.DateOnly), SandboxSeconds: int64(a.total.seconds), Cost: Decimal(a.total.amount), CostAlive: Decimal(alive.amount),
		Currency: l.prices.Currency, Repositories: a.dearest(),
	}, spending
}

// add what a status says of the day, which another manager has stored.
func (a *account) add(usage *v1alpha1.Usage) {
	a.stored = true
	if usage == nil || usage.Day != a.day.Format(time.DateOnly) {
		return
	}
	a.total = a.total.plus(entry{float64(usage.SandboxSeconds), Amount(usage.Cost)})
	for _, r := range usage.Repositories {
		a.by[r.Repository] = a.by[r.Repository].plus(entry{float64(r.SandboxSeconds), Amount(r.Cost)})
	}
}

// mostRepositories is how many repositories a status names.
const mostRepositories = 20

func (a *account) dearest() []v1alpha1.RepositoryUsage {
	var all []v1alpha1.RepositoryUsage
	for repository, e := range a.by {
		all = append(all, v1alpha1.RepositoryUsage{Repository: repository, SandboxSeconds: int64(e.seconds), Cost: Decimal(e.amount)})
	}
	slices.SortFunc(all, func(x, y v1alpha1.RepositoryUsage) int {
		return cmp.Or(cmp.Compare(Amount(y.Cost), Amount(x.Cost)), cmp.Compare(x.Repository, y.Repository))
	})
	return all[:min(len(all), mostRepositories)]
}
