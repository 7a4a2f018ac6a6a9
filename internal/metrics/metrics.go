// Package metrics declares every metric of the controller, in one place.
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

const namespace = "modalrunner"

var (
	githubCalls = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "github_calls_total",
		Help: "Calls to GitHub by what they did and the HTTP status of the answer; 304 is free of the rate limit, none means no answer, held that it was not made so as to stay within the limits.",
	}, []string{"operation", "code"})

	githubLimit = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "github_rate_limit",
		Help: "Requests an hour that GitHub allows a credential, by the Secret that holds it (namespace/name, and for an App the owner that it is installed on).",
	}, []string{"credential"})
	githubRemaining = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "github_rate_limit_remaining",
		Help: "Requests that GitHub still allows a credential in the present hour, by the Secret that holds it (namespace/name, and for an App the owner that it is installed on).",
	}, []string{"credential"})

	modalCalls = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "modal_calls_total",
		Help: "RPCs to Modal by method and gRPC code, each try of the SDK counted.",
	}, []string{"method", "code"})

	webhookEvents = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "webhook_deliveries_total",
		Help: "Webhook deliveries by event and what became of them.",
	}, []string{"event", "result"})

	webhookRedeliveries = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: namespace, Name: "webhook_redeliveries_total",
		Help: "Webhook deliveries that had failed and that GitHub was asked to make again.",
	})

	queuedToLaunched = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: namespace, Name: "runner_launch_seconds",
		Help:    "Time from the creation of a Runner to the creation of its sandbox.",
		Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300},
	})

	launchedToOnline = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: namespace, Name: "runner_startup_seconds",
		Help:    "Time from the creation of a sandbox until its runner was seen online or busy.",
		Buckets: []float64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600},
	})

	jobWait = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: namespace, Name: "job_queue_seconds",
		Help:    "Time from a job's creation at GitHub until a runner took it, by GitHub's clock.",
		Buckets: []float64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600},
	})

	attemptFailures = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "runner_attempt_failures_total",
		Help: "Attempts to get a runner online that failed, by reason.",
	}, []string{"reason"})

	runnersHung = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "runners_hung_total",
		Help: "Runners whose sandbox was alive and did no work, by reason; each was ended.",
	}, []string{"reason"})
	runnersDied = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "runners_died_total",
		Help: "Runners whose sandbox ended in the middle of a job, by reason.",
	}, []string{"reason"})
	orphans = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "orphans_removed_total",
		Help: "Sandboxes and registrations of this controller that no Runner owned and that were removed, by kind.",
	}, []string{"kind"})
	sandboxesEnded = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "sandboxes_ended_total",
		Help: "Sandboxes that ended, by Modal's result status.",
	}, []string{"status"})

	sandboxSeconds = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "sandbox_seconds_total",
		Help: "Seconds that ended sandboxes lived, by pool, by the repository whose job they ran (empty for none) and by GPU (empty for none).",
	}, []string{"pool_namespace", "pool", "repository", "gpu"})
	sandboxCost = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "sandbox_cost_total",
		Help: "What ended sandboxes cost, estimated from the price table, in its currency, by pool and by the repository whose job they ran (empty for none).",
	}, []string{"pool_namespace", "pool", "repository", "currency"})
)

// all of them.
var all = []prometheus.Collector{
	githubCalls, githubLimit, githubRemaining, modalCalls, webhookEvents, webhookRedeliveries, queuedToLaunched, launchedToOnline, jobWait,
	attemptFailures, runnersHung, runnersDied, orphans, sandboxesEnded, sandboxSeconds, sandboxCost,
}

func init() { metrics.Registry.MustRegister(all...) }

// GitHubCall counts a call to GitHub.
func GitHubCall(operation, code string) { githubCalls.WithLabelValues(operation, code).Inc() }

// GitHubBudget shows what GitHub allows a credential an hour, and what remains of it.
func GitHubBudget(credential string, limit, remaining int) {
	githubLimit.WithLabelValues(credential).Set(float64(limit))
	githubRemaining.WithLabelValues(credential).Set(float64(remaining))
}

// ModalCall counts an RPC to Modal.
func ModalCall(method, code string) { modalCalls.WithLabelValues(method, code).Inc() }

// WebhookDelivery counts a webhook delivery.
func WebhookDelivery(event, result string) { webhookEvents.WithLabelValues(event, result).Inc() }

// WebhookRedelivered counts a webhook delivery that GitHub was asked to make again.
func WebhookRedelivered() { webhookRedeliveries.Inc() }

// RunnerLaunched observes how long a Runner waited for its sandbox.
func RunnerLaunched(wait time.Duration) { queuedToLaunched.Observe(wait.Seconds()) }

// RunnerOnline observes how long a sandbox took until its runner was online.
func RunnerOnline(wait time.Duration) { launchedToOnline.Observe(wait.Seconds()) }

// JobStarted observes how long a job was queued.
func JobStarted(wait time.Duration) { jobWait.Observe(wait.Seconds()) }

// AttemptFailed counts an attempt to get a runner online that failed.
func AttemptFailed(reason string) { attemptFailures.WithLabelValues(reason).Inc() }

// RunnerHung counts a runner whose sandbox was alive and did no work.
func RunnerHung(reason string) { runnersHung.WithLabelValues(reason).Inc() }

// RunnerDied counts a runner whose sandbox ended in the middle of a job.
func RunnerDied(reason string) { runnersDied.WithLabelValues(reason).Inc() }

// OrphanRemoved counts a sandbox or registration that no Runner owned.
func OrphanRemoved(kind string) { orphans.WithLabelValues(kind).Inc() }

// SandboxEnded counts a sandbox that ended.
func SandboxEnded(status string) { sandboxesEnded.WithLabelValues(status).Inc() }

// SandboxCost adds what a sandbox that has ended used.
func SandboxCost(pool types.NamespacedName, repository, gpu, currency string, seconds, amount float64) {
	sandboxSeconds.WithLabelValues(pool.Namespace, pool.Name, repository, gpu).Add(seconds)
	sandboxCost.WithLabelValues(pool.Namespace, pool.Name, repository, currency).Add(amount)
}
