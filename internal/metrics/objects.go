package metrics

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

func objectDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

func poolDesc(name, help string, labels ...string) *prometheus.Desc {
	return objectDesc(name, help, append([]string{poolNamespace, poolName}, labels...)...)
}

var (
	poolInfo      = poolDesc("pool_info", "What the pool serves and which runner version it uses; always 1.", "scope", "runner_version")
	poolLimit     = poolDesc("pool_max_concurrency", "The most sandboxes of the pool that may be alive at once.")
	poolMinIdle   = poolDesc("pool_min_idle", "Idle runners that the pool keeps ready.")
	poolSuspended = poolDesc("pool_suspended", "1 while the pool is suspended.")
	poolDeleting  = poolDesc("pool_deleting", "1 while the pool is being deleted and waits for its runners to end.")
	poolCondition = poolDesc("pool_condition", "1 for the status that the pool's condition has (true, false or unknown), 0 for the other two.", "condition", "status")
	poolRunners   = poolDesc("pool_runners", "Runners of the pool, by phase.", "phase")
	poolJobs      = poolDesc("pool_jobs", "Jobs of the pool that are not over: queued (a runner is wanted), unserved (queued, and refused or not decided), waiting (for an approval) or in_progress.", "state")
	poolUnserved  = poolDesc("pool_unserved_jobs", "Queued jobs of the pool that are not served, by the reason that they give.", "reason")
	poolOldest    = poolDesc("pool_oldest_queued_job_timestamp_seconds", "When the queued job that has waited longest for a runner of the pool was created at GitHub, in Unix time; absent while none waits.")
	poolFailures  = poolDesc("pool_circuit_failures", "Attempts in a row that failed while the pool is degraded; 0 while it is not.")
	poolProbe     = poolDesc("pool_circuit_probe_timestamp_seconds", "When the degraded pool tries again to start a runner, in Unix time; absent while it is not degraded.")
	poolSpent     = poolDesc("pool_cost_today", "What the pool's sandboxes have cost today (UTC), those that are alive included, estimated from the price table, in its currency.", "currency")
	poolBurn      = poolDesc("pool_cost_per_hour", "What the pool's sandboxes that are alive cost an hour, estimated from the price table, in its currency.", "currency")
	poolBudget    = poolDesc("pool_budget_per_day", "What the pool may spend a day, in the price table's currency; absent for a pool without a budget.", "currency")

	unservedPools = objectDesc("unserved_pools", "Pools that no manager has taken; told alike by each replica that acts.")

	queuePolled = objectDesc("queue_poll_timestamp_seconds", "When the latest poll of a scope's queue that went well was begun, in Unix time; 0 for none yet.", "scope", "credential")
	listed      = objectDesc("list_timestamp_seconds", "When the latest list of registrations or sandboxes that went well was begun, in Unix time; 0 for none yet.", "kind", "source")

	ofObjects = []*prometheus.Desc{
		poolInfo, poolLimit, poolMinIdle, poolSuspended, poolDeleting, poolCondition, poolRunners, poolJobs, poolUnserved, poolOldest, poolFailures, poolProbe,
		poolSpent, poolBurn, poolBudget, unservedPools, queuePolled, listed,
	}
)

// Queue that is polled, in words.
type Queue struct{ Scope, Credential string }

// Spending of a pool today.
type Spending struct {
	// Amount so far, and what the sandboxes that are alive add each second.
	Amount, PerSecond float64
	Currency          string
}

// Objects gives the metrics of what is stored, read at each scrape from the cache, so that they are never older than the
// scrape and none outlives its object. A replica that does not act gives none: two would be counted twice in sums.
type Objects struct {
	// Reader of the cache.
	Reader client.Reader
	Clock  clock.PassiveClock
	// Acts is closed when the replica begins to act.
	Acts <-chan struct{}
	// Serves says whether a pool is this replica's to serve; nil when all are.
	Serves func(*v1alpha1.RunnerPool) bool
	// Spending of a pool.
	Spending func(*v1alpha1.RunnerPool, []v1alpha1.Runner, time.Time) Spending
	// Polls tells when each queue was last polled well.
	Polls func() map[Queue]time.Time
	// Lists tells for each kind of list when each source was last listed well.
	Lists map[string]func() map[string]time.Time
}

// Register the metrics of objects.
func (o *Objects) Register() error { return metrics.Registry.Register(o) }

// Describe implements prometheus.Collector.
func (o *Objects) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range ofObjects {
		to <- desc
	}
}

// collectTimeout bounds what a scrape waits for the cache.
const collectTimeout = 5 * time.Second

// Collect implements prometheus.Collector.
func (o *Objects) Collect(to chan<- prometheus.Metric) {
	select {
	case <-o.Acts:
	default:
		return
	}
	all, err := o.read()
	if err != nil {
		// Nothing is better than half of it, which would be taken for the whole.
		to <- prometheus.NewInvalidMetric(poolInfo, err)
		return
	}
	e, taken := emitter{to}, 0
	for i := range all.pools {
		pool := &all.pools[i]
		if pool.Status.ServedBy != "" {
			taken++
		}
		if o.Serves != nil && !o.Serves(pool) {
			continue
		}
		key := client.ObjectKeyFromObject(pool)
		e.pool(pool)
		e.runners(key, all.runners[key])
		e.jobs(pool, all.jobs[key])
		e.spending(pool, o.Spending(pool, all.runners[key], o.Clock.Now()))
	}
	e.emit(unservedPools, float64(len(all.pools)-taken))
	for queue, at := range o.Polls() {
		e.emit(queuePolled, unix(at), queue.Scope, queue.Credential)
	}
	for kind, latest := range o.Lists {
		for source, at := range latest() {
			e.emit(listed, unix(at), kind, source)
		}
	}
}

// everything that is stored, Runners and jobs by their pool.
type everything struct {
	pools   []v1alpha1.RunnerPool
	runners map[types.NamespacedName][]v1alpha1.Runner
	jobs    map[types.NamespacedName][]*v1alpha1.WorkflowJob
}

func (o *Objects) read() (everything, error) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	var pools v1alpha1.RunnerPoolList
	var runners v1alpha1.RunnerList
	var jobs v1alpha1.WorkflowJobList
	for _, list := range []client.ObjectList{&pools, &runners, &jobs} {
		if err := o.Reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return everything{}, fmt.Errorf("reading the cache for metrics: %w", err)
		}
	}
	all := everything{
		pools: pools.Items, runners: map[types.NamespacedName][]v1alpha1.Runner{}, jobs: map[types.NamespacedName][]*v1alpha1.WorkflowJob{},
	}
	for _, runner := range runners.Items {
		key := types.NamespacedName{Namespace: runner.Namespace, Name: runner.Spec.PoolName}
		all.runners[key] = append(all.runners[key], runner)
	}
	for i := range jobs.Items {
		key := types.NamespacedName{Namespace: jobs.Items[i].Namespace, Name: jobs.Items[i].Spec.PoolName}
		all.jobs[key] = append(all.jobs[key], &jobs.Items[i])
	}
	return all, nil
}

// unix time of a moment, 0 for none.
func unix(at time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return float64(at.UnixMilli()) / 1000
}

// emitter of gauges to one scrape.
type emitter struct{ to chan<- prometheus.Metric }

func (e emitter) emit(desc *prometheus.Desc, value float64, labels ...string) {
	e.to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

var statuses = map[metav1.ConditionStatus]string{
	metav1.ConditionTrue: "true", metav1.ConditionFalse: "false", metav1.ConditionUnknown: "unknown",
}

func (e emitter) pool(pool *v1alpha1.RunnerPool) {
	of := []string{pool.Namespace, pool.Name}
	version := ""
	if pool.Status.Image != nil {
		version = pool.Status.Image.RunnerVersion
	}
	e.emit(poolInfo, 1, append(of, scopeOf(pool), version)...)
	e.emit(poolLimit, float64(pool.Spec.MaxConcurrency), of...)
	e.emit(poolMinIdle, float64(pool.Spec.MinIdle), of...)
	e.emit(poolSuspended, truth(pool.Spec.Suspend), of...)
	e.emit(poolDeleting, truth(!pool.DeletionTimestamp.IsZero()), of...)
	for _, condition := range pool.Status.Conditions {
		for status, label := range statuses {
			e.emit(poolCondition, truth(condition.Status == status), append(of, condition.Type, label)...)
		}
	}
	failures := 0.0
	if circuit := pool.Status.Circuit; circuit != nil {
		failures = float64(circuit.Failures)
		e.emit(poolProbe, unix(circuit.ProbeAt.Time), of...)
	}
	e.emit(poolFailures, failures, of...)
}

// scopeOf a pool, as it is written in its spec.
func scopeOf(pool *v1alpha1.RunnerPool) string {
	switch scope := pool.Spec.Scope; {
	case scope.Repository != "":
		return scope.Repository
	case scope.Enterprise != "":
		return scope.Enterprise
	default:
		return scope.Organization
	}
}

var phases = []v1alpha1.RunnerPhase{
	v1alpha1.RunnerPending, v1alpha1.RunnerStarting, v1alpha1.RunnerIdle, v1alpha1.RunnerRunning, v1alpha1.RunnerFailed, v1alpha1.RunnerTerminating,
}

func (e emitter) runners(pool types.NamespacedName, runners []v1alpha1.Runner) {
	count := map[v1alpha1.RunnerPhase]int{}
	for i := range runners {
		phase := runners[i].Status.Phase
		if phase == "" {
			// Made, and not looked at yet.
			phase = v1alpha1.RunnerPending
		}
		count[phase]++
	}
	for _, phase := range phases {
		e.emit(poolRunners, float64(count[phase]), pool.Namespace, pool.Name, string(phase))
	}
}

// States of jobs in the metric.
const (
	jobsQueued     = "queued"
	jobsUnserved   = "unserved"
	jobsWaiting    = "waiting"
	jobsInProgress = "in_progress"
)

// unserved are the reasons why a job may not be served.
var unserved = []string{v1alpha1.ReasonPublicRepository, v1alpha1.ReasonFork, v1alpha1.ReasonWishRefused, v1alpha1.ReasonUndecided}

func (e emitter) jobs(pool *v1alpha1.RunnerPool, jobs []*v1alpha1.WorkflowJob) {
	states := map[string]int{jobsQueued: 0, jobsUnserved: 0, jobsWaiting: 0, jobsInProgress: 0}
	reasons := map[string]int{}
	var oldest time.Time
	for _, job := range jobs {
		switch job.Status.State {
		case v1alpha1.JobWaiting:
			states[jobsWaiting]++
		case v1alpha1.JobInProgress:
			states[jobsInProgress]++
		case v1alpha1.JobQueued:
			if !pool.Wants(job) {
				states[jobsUnserved]++
				reasons[whyNot(pool, job)]++
				continue
			}
			states[jobsQueued]++
			since := job.CreationTimestamp.Time
			if job.Status.QueuedAt != nil {
				since = job.Status.QueuedAt.Time
			}
			if oldest.IsZero() || since.Before(oldest) {
				oldest = since
			}
		}
	}
	for _, state := range slices.Sorted(maps.Keys(states)) {
		e.emit(poolJobs, float64(states[state]), pool.Namespace, pool.Name, state)
	}
	for _, reason := range unserved {
		e.emit(poolUnserved, float64(reasons[reason]), pool.Namespace, pool.Name, reason)
	}
	if !oldest.IsZero() {
		e.emit(poolOldest, unix(oldest), pool.Namespace, pool.Name)
	}
}

// whyNot a queued job is served.
func whyNot(pool *v1alpha1.RunnerPool, job *v1alpha1.WorkflowJob) string {
	if refusal := pool.Refusal(job); refusal != nil {
		return refusal.Reason
	}
	return v1alpha1.ReasonUndecided
}

func (e emitter) spending(pool *v1alpha1.RunnerPool, spending Spending) {
	of := []string{pool.Namespace, pool.Name, spending.Currency}
	e.emit(poolSpent, spending.Amount, of...)
	e.emit(poolBurn, spending.PerSecond*time.Hour.Seconds(), of...)
	if budget := pool.Spec.Budget; budget != nil {
		e.emit(poolBudget, budget.PerDay.AsApproximateFloat64(), of...)
	}
}
