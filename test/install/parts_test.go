package install

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	. "github.com/onsi/gomega"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/test/stack"
)

// The ServiceAccounts of separate receivers, and of what applies the pools in the values.
const (
	receiver = account + "-webhook"
	applier  = account + "-pools"
)

// TestAnInstallationOfSeveralParts has receivers of webhooks of their own, a shard for each of two teams, and their pools in its
// values, from the first installation to a removal by Helm alone.
func TestAnInstallationOfSeveralParts(t *testing.T) {
	w := newWorld(t)
	w.prepareNamespaces()
	w.mustKubectl("-n", "ci", "create", "secret", "generic", "gamma-webhook", "--from-literal=webhook_secret=secret-of-gamma")
	w.install(w.chart(), "--values", w.severalParts(1), "--set", "webhook.separate.enabled=true")
	w.github.AddWebhook(repository, w.webhook+"/webhook", stack.WebhookSecret)
	w.mustKubectl("-n", "ci", "wait", "rp/alpha", "rp/beta", "rp/gamma", "--for=condition=Ready", "--timeout=2m")
	w.Expect(w.mustKubectl("-n", "ci", "get", "rp", "-o", "jsonpath={.items[*].status.servedBy}")).
		To(Equal("modal-runner-controller-a modal-runner-controller-b modal-runner-controller-b"))
	w.Expect(w.mustHelm("test", release, "-n", namespace, "--timeout=1m")).To(ContainSubstring("Succeeded"))
	w.await(append(w.queueFor("alpha", 3, "alpha", "true"), w.queueFor("beta", 3, "beta", "true")...), "success")

	w.exerciseReceivers()
	w.receiveWithoutManagers()
	w.upgradePools()
	w.Expect(w.denied(account, w.since)).To(BeEmpty(), "the managers ask what the chart does not allow them")
	w.Expect(w.denied(receiver, w.since)).To(BeEmpty(), "the receivers ask what the chart does not allow them")
	w.Expect(w.unused(receiver, w.since)).To(ConsistOf(receiverNeverAsks), "what receivers may and never ask")
	w.removeByHelmAlone()
	w.Expect(w.denied(applier, w.since)).To(BeEmpty(), "what applies pools asks what the chart does not allow it")
}

// receiverNeverAsks is as neverAsked.
var receiverNeverAsks = []string{
	release + "-webhook: list runnerpools.modalrunner.dev",
	release + "-webhook: list runners.modalrunner.dev",
	release + "-webhook: update runnerpools/finalizers.modalrunner.dev",
}

// exerciseReceivers does what takes rights that an ordinary delivery does not: a pool has a secret of its own, a job is told of
// twice at once, and metrics are asked for.
func (w *world) exerciseReceivers() {
	w.t.Helper()
	w.github.AddWebhook("octo", w.webhook+"/webhook/ci/gamma", "secret-of-gamma")
	w.await(w.queueFor("gamma", 1, "gamma", "true"), "success")
	for _, hook := range w.github.Hooks() {
		if hook.Target == "octo" {
			w.github.DeleteHook(hook.ID)
		}
	}
	w.raceToStore(receiver, "beta")
	asked := func(r request) bool { return r.Resource == "subjectaccessreviews" }
	w.Eventually(func() bool {
		w.scrapeMetrics()
		return slices.ContainsFunc(w.requests(receiver, w.since), asked)
	}).Should(BeTrue(), "behind the Service for metrics are the receivers too")
}

// severalParts are the values of this installation, with pools of so many sandboxes.
func (w *world) severalParts(limit int) string {
	return w.values(fmt.Sprintf(`
shards:
- {name: a, poolSelector: team=a}
- {name: b, poolSelector: "team notin (a)"}
runnerPools:
- {name: alpha, namespace: ci, labels: {team: a}, spec: %s}
- {name: beta, namespace: ci, labels: {team: b}, spec: %s}
- {name: gamma, namespace: ci, labels: {team: b}, spec: %s}
`, w.poolSpec("alpha", limit), w.poolSpec("beta", limit), w.poolSpec("gamma", limit, "webhook: {secretName: gamma-webhook}")))
}

// receiveWithoutManagers: while no manager runs, what GitHub tells is stored, and done when one is back.
func (w *world) receiveWithoutManagers() {
	w.t.Helper()
	scale := func(replicas int) {
		w.mustKubectl("-n", namespace, "scale", "deployment/"+release+"-a", "deployment/"+release+"-b", fmt.Sprint("--replicas=", replicas))
	}
	scale(0)
	w.Eventually(func() string {
		return w.mustKubectl("-n", namespace, "get", "pods", "-l", "app.kubernetes.io/component=manager", "-o", "name")
	}).Should(BeEmpty())
	before := len(w.github.Deliveries())
	ids := append(w.queueFor("alpha", 1, "alone", "true"), w.queueFor("beta", 1, "alone", "true")...)
	w.Eventually(func() []int { return w.answers(before) }).Should(HaveExactElements(http.StatusAccepted, http.StatusAccepted))
	var stored v1alpha1.WorkflowJobList
	w.Expect(plane.Client.List(w.ctx, &stored, client.InNamespace("ci"))).To(Succeed())
	queued := slices.DeleteFunc(stored.Items, func(j v1alpha1.WorkflowJob) bool { return j.Status.State != v1alpha1.JobQueued })
	w.Expect(queued).To(HaveLen(2))
	scale(1)
	w.await(ids, "success")
}

// upgradePools while a job runs: they change, and are the same pools.
func (w *world) upgradePools() {
	w.t.Helper()
	g := w.gate("upgrade")
	busy := w.queueFor("alpha", 1, "busy", g.step())
	w.await(busy, "in_progress")
	pools := func(path string) string {
		return w.mustKubectl("-n", "ci", "get", "rp", "-o", "jsonpath={.items[*]."+path+"}")
	}
	before := pools("metadata.uid")
	w.mustHelm("upgrade", release, w.chart(), "-n", namespace, "--wait", "--timeout=3m", "--values", w.severalParts(2), "--set", "webhook.separate.enabled=true")
	w.Expect(pools("metadata.uid")).To(Equal(before))
	w.Expect(pools("spec.maxConcurrency")).To(Equal("2 2 2"))
	w.Expect(w.state(busy[0])()).To(Equal("in_progress"))
	w.await(w.queueFor("alpha", 1, "beside", "true"), "success")
	g.open(w)
	w.await(busy, "success")
}

// removeByHelmAlone while a job runs: Helm waits for it, and nothing is left.
func (w *world) removeByHelmAlone() {
	w.t.Helper()
	g := w.gate("removal")
	busy := w.queueFor("beta", 1, "last", g.step())
	w.await(busy, "in_progress")
	type result struct {
		out string
		err error
	}
	done := make(chan result, 1)
	go func() {
		out, err := w.helm("uninstall", release, "-n", namespace, "--wait", "--timeout=3m")
		done <- result{out, err}
	}()
	w.Eventually(func() string {
		return w.mustKubectl("-n", "ci", "get", "rp/beta", "-o", "jsonpath={.metadata.deletionTimestamp}", "--ignore-not-found")
	}).ShouldNot(BeEmpty())
	w.Expect(w.state(busy[0])()).To(Equal("in_progress"))
	w.Expect(done).NotTo(Receive(), "Helm does not wait")
	g.open(w)
	w.await(busy, "success")
	var removed result
	w.Eventually(done).Should(Receive(&removed))
	w.Expect(removed.err).NotTo(HaveOccurred(), removed.out)
	w.Expect(w.outside()).To(Equal("0 sandboxes, 0 registrations"))
	leases := []string{stays[0], stays[1] + "-a", stays[1] + "-b"}
	w.Eventually(w.leftOver).Should(ConsistOf(slices.Concat(ofTheOperator("ci"), []string{"secrets ci/gamma-webhook"}, leases, definitions)))
}
