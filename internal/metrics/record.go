package metrics

import (
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// SetBuild tells which build this is.
func SetBuild(version, commit string) {
	buildInfo.Reset()
	buildInfo.WithLabelValues(version, commit, runtime.Version()).Set(1)
}

// SetLeader tells whether this replica acts for a shard; the shard is empty where there are none.
func SetLeader(shard string, acts bool) {
	value := 0.0
	if acts {
		value = 1
	}
	leader.WithLabelValues(shard).Set(value)
}

// GitHubCall counts a call to GitHub and how long it took.
func GitHubCall(operation, code string, took time.Duration) {
	githubCalls.WithLabelValues(operation, code).Inc()
	if code != GitHubHeld {
		githubSeconds.WithLabelValues(operation).Observe(took.Seconds())
	}
}

// GitHubHeld is the code of a call that was not made.
const GitHubHeld = "held"

// GitHubBudget shows what GitHub allows a credential an hour, what remains of it, and when the next hour begins.
func GitHubBudget(credential string, limit, remaining int, reset time.Time) {
	githubLimit.WithLabelValues(credential).Set(float64(limit))
	githubRemaining.WithLabelValues(credential).Set(float64(remaining))
	githubReset.WithLabelValues(credential).Set(float64(reset.Unix()))
}

// ForgetGitHubBudget of a credential that is not used any more.
func ForgetGitHubBudget(credential string) {
	for _, g := range []*prometheus.GaugeVec{githubLimit, githubRemaining, githubReset} {
		g.DeleteLabelValues(credential)
	}
}

// ModalCall counts an RPC to Modal and how long it took.
func ModalCall(method, code string, took time.Duration) {
	modalCalls.WithLabelValues(method, code).Inc()
	modalSeconds.WithLabelValues(method).Observe(took.Seconds())
}

// WebhookDelivery counts a webhook delivery and how long its answer took.
func WebhookDelivery(event, result string, took time.Duration) {
	webhookEvents.WithLabelValues(event, result).Inc()
	webhookSeconds.WithLabelValues(event).Observe(took.Seconds())
}

// WebhookRedelivered counts a webhook delivery that GitHub was asked to make again.
func WebhookRedelivered() { webhookRedeliveries.Inc() }

// RunnerLaunched observes how long a Runner waited for its sandbox.
func RunnerLaunched(pool types.NamespacedName, wait time.Duration) {
	queuedToLaunched.WithLabelValues(pool.Namespace, pool.Name).Observe(wait.Seconds())
}

// RunnerOnline observes how long a sandbox took until its runner was online.
func RunnerOnline(pool types.NamespacedName, wait time.Duration) {
	launchedToOnline.WithLabelValues(pool.Namespace, pool.Name).Observe(wait.Seconds())
}

// JobStarted observes how long a job was queued.
func JobStarted(pool types.NamespacedName, wait time.Duration) {
	jobWait.WithLabelValues(pool.Namespace, pool.Name).Observe(wait.Seconds())
}

// JobRan observes how long a job ran.
func JobRan(pool types.NamespacedName, took time.Duration) {
	jobTime.WithLabelValues(pool.Namespace, pool.Name).Observe(took.Seconds())
}

// conclusions of a job that GitHub documents, and "deleted" for one that it does not know any more. What it may add one day
// counts as other.
var conclusions = []string{
	"success", "failure", "cancelled", "skipped", "timed_out", "action_required", "neutral", "stale", "startup_failure", "deleted",
}

// JobCompleted counts a job that is over.
func JobCompleted(pool types.NamespacedName, conclusion string) {
	switch {
	case conclusion == "":
		conclusion = "unknown"
	case !slices.Contains(conclusions, conclusion):
		conclusion = "other"
	}
	jobsCompleted.WithLabelValues(pool.Namespace, pool.Name, conclusion).Inc()
}

// AttemptFailed counts an attempt to get a runner online that failed.
func AttemptFailed(pool types.NamespacedName, reason string) {
	attemptFailures.WithLabelValues(pool.Namespace, pool.Name, reason).Inc()
}

// RunnerHung counts a runner whose sandbox was alive and did no work.
func RunnerHung(pool types.NamespacedName, reason string) {
	runnersHung.WithLabelValues(pool.Namespace, pool.Name, reason).Inc()
}

// RunnerDied counts a runner whose sandbox ended in the middle of a job.
func RunnerDied(pool types.NamespacedName, reason string) {
	runnersDied.WithLabelValues(pool.Namespace, pool.Name, reason).Inc()
}

// RunnerLetGo counts a Runner that was removed without knowing what became of its sandbox and registration.
func RunnerLetGo(pool types.NamespacedName) {
	runnersLetGo.WithLabelValues(pool.Namespace, pool.Name).Inc()
}

// OrphanRemoved counts a sandbox or registration that no Runner owned.
func OrphanRemoved(kind string) { orphans.WithLabelValues(kind).Inc() }

// Orphans of a kind that are there now.
func Orphans(kind string, count int) { orphansSeen.WithLabelValues(kind).Set(float64(count)) }

// SandboxEnded counts a sandbox that ended.
func SandboxEnded(status string) { sandboxesEnded.WithLabelValues(status).Inc() }

// ImageBuilt observes the end of an image's build.
func ImageBuilt(took time.Duration, err error) {
	result := "succeeded"
	if err != nil {
		result = "failed"
	}
	imageBuilds.WithLabelValues(result).Observe(took.Seconds())
}

// SandboxCost adds what a sandbox that has ended used.
func SandboxCost(pool types.NamespacedName, repository, gpu, currency string, seconds, amount float64) {
	repository = ofPool.bound(pool, repository)
	sandboxSeconds.WithLabelValues(pool.Namespace, pool.Name, repository, gpu).Add(seconds)
	sandboxCost.WithLabelValues(pool.Namespace, pool.Name, repository, currency).Add(amount)
}

// Reasons that alerts look at one by one.
var (
	hungReasons = []string{
		v1alpha1.ReasonStartupTimeout, v1alpha1.ReasonRunnerOffline, v1alpha1.ReasonRunnerGone, v1alpha1.ReasonRunnerDeaf, v1alpha1.ReasonOutlivedJob,
	}
	diedReasons = []string{
		v1alpha1.ReasonSandboxTerminated, v1alpha1.ReasonSandboxTimeout, v1alpha1.ReasonSandboxInitFailed, v1alpha1.ReasonInfrastructureFailure,
		v1alpha1.ReasonSandboxLost, v1alpha1.ReasonRunnerVersionRefused, v1alpha1.ReasonOutOfMemory, v1alpha1.ReasonRunnerCrashed,
	}
)

// KnowPool has what is rare counted from nothing, so that its first time shows as an increase, even where many come at once: a
// series that begins with fifty has had none. The launches are there to be compared with, before the first.
func KnowPool(pool types.NamespacedName) {
	runnersLetGo.WithLabelValues(pool.Namespace, pool.Name)
	queuedToLaunched.WithLabelValues(pool.Namespace, pool.Name)
	for _, reason := range hungReasons {
		runnersHung.WithLabelValues(pool.Namespace, pool.Name, reason)
	}
	for _, reason := range diedReasons {
		runnersDied.WithLabelValues(pool.Namespace, pool.Name, reason)
	}
}

// PoolsGone is told by the informer of RunnerPools, and drops the series of those that are gone. The controller does so too where
// it acts; the replicas that wait, and those that only receive, count jobs as well.
type PoolsGone struct{}

// OnAdd implements cache.ResourceEventHandler.
func (PoolsGone) OnAdd(any, bool) {}

// OnUpdate implements cache.ResourceEventHandler.
func (PoolsGone) OnUpdate(any, any) {}

// OnDelete implements cache.ResourceEventHandler.
func (PoolsGone) OnDelete(object any) {
	if name, err := cache.DeletionHandlingObjectToName(object); err == nil {
		ForgetPool(types.NamespacedName{Namespace: name.Namespace, Name: name.Name})
	}
}

// ForgetPool drops the series of a pool that is gone.
func ForgetPool(pool types.NamespacedName) {
	for _, m := range ofPools {
		m.DeletePartialMatch(prometheus.Labels{poolNamespace: pool.Namespace, poolName: pool.Name})
	}
	ofPool.forget(pool)
}
