// Package metrics declares every metric of the controller, in one place. Names and labels follow Prometheus's conventions, and
// every label has a bounded number of values: pools and Secrets are made by operators, reasons and results are closed sets, and
// repositories are counted (repositories.go).
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

const namespace = "modalrunner"

// Labels that name a pool. "namespace" alone would clash with the label that Prometheus gives to what it scrapes.
const (
	poolNamespace = "pool_namespace"
	poolName      = "pool"
)

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

// histogram with classic buckets, and native ones for a Prometheus that scrapes those.
func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	}, labels)
}

// Buckets in seconds.
var (
	callBuckets    = []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}
	answerBuckets  = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 8, 10}
	launchBuckets  = []float64{0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300}
	startupBuckets = []float64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600}
	queueBuckets   = []float64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600}
	jobBuckets     = []float64{5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 21600}
	buildBuckets   = []float64{1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800}
)

var (
	buildInfo = gauge("build_info", "The manager's version; always 1.", "version", "commit", "go_version")
	leader    = gauge("leader", "1 where this replica acts for its shard (empty for none), 0 where it waits to take over.", "shard")

	githubCalls = counter("github_calls_total",
		"Calls to GitHub by what they did and the HTTP status of the answer; 304 is free of the rate limit, none means no answer, held that it was not made so as to stay within the limits.",
		"operation", "code")
	githubSeconds = histogram("github_call_duration_seconds",
		"How long calls to GitHub took, by what they did; those that were held back are not in it.", callBuckets, "operation")
	githubLimit = gauge("github_rate_limit",
		"Requests an hour that GitHub allows a credential, by the Secret that holds it (namespace/name, and for an App the owner that it is installed on).",
		"credential")
	githubRemaining = gauge("github_rate_limit_remaining",
		"Requests that GitHub still allows a credential in the present hour, by the Secret that holds it (namespace/name, and for an App the owner that it is installed on).",
		"credential")
	githubReset = gauge("github_rate_limit_reset_timestamp_seconds",
		"When GitHub allows a credential its whole limit again, in Unix time.", "credential")

	modalCalls   = counter("modal_calls_total", "RPCs to Modal by method and gRPC code, each try of the SDK counted.", "method", "code")
	modalSeconds = histogram("modal_call_duration_seconds", "How long RPCs to Modal took, by method.", callBuckets, "method")

	webhookEvents       = counter("webhook_deliveries_total", "Webhook deliveries by event and what became of them.", "event", "result")
	webhookSeconds      = histogram("webhook_delivery_duration_seconds", "How long webhook deliveries took to be answered, by event; GitHub gives up after 10 s.", answerBuckets, "event")
	webhookRedeliveries = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: namespace, Name: "webhook_redeliveries_total",
		Help: "Webhook deliveries that had failed and that GitHub was asked to make again.",
	})

	queuedToLaunched = histogram("runner_launch_seconds", "Time from the creation of a Runner to the creation of its sandbox.", launchBuckets, poolNamespace, poolName)
	launchedToOnline = histogram("runner_startup_seconds", "Time from the creation of a sandbox until its runner was seen online or busy.", startupBuckets, poolNamespace, poolName)
	jobWait          = histogram("job_queue_seconds", "Time from a job's creation at GitHub until a runner took it, by GitHub's clock.", queueBuckets, poolNamespace, poolName)
	jobTime          = histogram("job_duration_seconds", "Time from when a runner took a job until the job was over, by GitHub's clock.", jobBuckets, poolNamespace, poolName)
	jobsCompleted    = counter("jobs_completed_total", "Jobs that are over, by GitHub's conclusion; unknown for one that GitHub did not tell.", poolNamespace, poolName, "conclusion")

	attemptFailures = counter("runner_attempt_failures_total", "Attempts to get a runner online that failed, by reason.", poolNamespace, poolName, "reason")
	runnersHung     = counter("runners_hung_total", "Runners whose sandbox was alive and did no work, by reason; each was ended.", poolNamespace, poolName, "reason")
	runnersDied     = counter("runners_died_total", "Runners whose sandbox ended in the middle of a job, by reason.", poolNamespace, poolName, "reason")
	runnersLetGo    = counter("runners_let_go_total", "Runners that were removed without knowing that their sandbox and registration are gone.", poolNamespace, poolName)
	sandboxesEnded  = counter("sandboxes_ended_total", "Sandboxes that ended, by Modal's result status.", "status")
	orphans         = counter("orphans_removed_total", "Sandboxes and registrations of this controller that no Runner owned and that were removed, by kind.", "kind")
	orphansSeen     = gauge("orphans", "Sandboxes and registrations of this controller that no Runner owns and that are still there, by kind.", "kind")

	imageBuilds = histogram("image_build_duration_seconds", "How long images took to be built, or to be found as built before, by result.", buildBuckets, "result")

	sandboxSeconds = counter("sandbox_seconds_total",
		"Seconds that ended sandboxes lived, by pool, by the repository whose job they ran (empty for none) and by GPU (empty for none).",
		poolNamespace, poolName, "repository", "gpu")
	sandboxCost = counter("sandbox_cost_total",
		"What ended sandboxes cost, estimated from the price table, in its currency, by pool and by the repository whose job they ran (empty for none).",
		poolNamespace, poolName, "repository", "currency")
)

// ofPools have the labels of a pool, and go with it.
var ofPools = []interface {
	prometheus.Collector
	DeletePartialMatch(prometheus.Labels) int
}{
	queuedToLaunched, launchedToOnline, jobWait, jobTime, jobsCompleted, attemptFailures, runnersHung, runnersDied, runnersLetGo,
	sandboxSeconds, sandboxCost,
}

// all of them but those of objects (objects.go), which are registered when there is a cache to read from.
var all = func() []prometheus.Collector {
	collectors := []prometheus.Collector{
		buildInfo, leader, githubCalls, githubSeconds, githubLimit, githubRemaining, githubReset, modalCalls, modalSeconds, webhookEvents,
		webhookSeconds, webhookRedeliveries, sandboxesEnded, orphans, orphansSeen, imageBuilds,
	}
	for _, c := range ofPools {
		collectors = append(collectors, c)
	}
	return collectors
}()

func init() {
	metrics.Registry.MustRegister(all...)
	// What counts from nothing is there from the start, so that its first increase shows as one.
	for _, kind := range []string{"registration", "sandbox"} {
		orphans.WithLabelValues(kind)
	}
	for _, result := range []string{"failed", "unauthorized"} {
		webhookEvents.WithLabelValues("workflow_job", result)
	}
}
