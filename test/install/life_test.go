package install

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	"github.com/modalrunner/modal-runner-controller/test/stack"
)

// TestAnInstallationLives installs the chart and has it serve the demo's workflow; upgrades it to another chart and rolls
// that back while jobs run; removes it as the docs say, and installs it again. All the while the API server notes what the
// manager asks: nothing that it may not, and all that it may.
func TestAnInstallationLives(t *testing.T) {
	w := newWorld(t)
	w.prepareNamespaces()
	w.install(w.chart(), "--values", w.values())
	w.Expect(worker.Rewritten(namespace)).To(Equal(map[string]bool{
		"--health-probe-bind-address": true, "--metrics-bind-address": true, "--webhook-bind-address": true,
		"--webhook-secret-dir": true, "--prices-file": true,
	}), "flags that are not as the chart gives them")
	w.github.AddWebhook(repository, w.webhook+"/webhook", stack.WebhookSecret)
	w.servePool("ci")
	w.runDemo()
	w.exerciseRights("ci")
	w.scrapeMetrics()
	w.upgradeWhileJobsRun()
	w.rollBackWhileJobsRun()

	w.Expect(w.denied(account, w.since)).To(BeEmpty(), "the manager asks what the chart does not allow it")
	w.Expect(w.unused(account, w.since)).To(ConsistOf(neverAsked("modal-runner-controller")), "what the manager may and never asks")

	mark := w.mark()
	w.remove()
	w.Eventually(w.leftOver).Should(ConsistOf(slices.Concat(ofTheOperator("ci"), stays, definitions)))
	w.installAgain(mark)
}

// neverAsked is what a role allows and this cluster's API server is never asked, and why it is allowed all the same.
func neverAsked(role string) []string {
	return []string{
		// Since Kubernetes 1.32 a watch begins with the list; before, and where the API server cannot do that, it is asked for.
		role + ": list runnerpools.modalrunner.dev",
		// Asked by the API server itself, when it is told to check who may own what: TestAMissingRightIsSeen.
		role + ": update runnerpools/finalizers.modalrunner.dev",
	}
}

// servePool applies a pool as the deployment guide says.
func (w *world) servePool(in string) {
	w.t.Helper()
	w.apply(w.pool(in, "widgets", "modal", 4))
	w.mustKubectl("-n", in, "wait", "rp/widgets", "--for=condition=Ready", "--timeout=2m")
}

// runDemo sends the demo's workflow through the installation.
func (w *world) runDemo() {
	w.t.Helper()
	workflow, err := os.ReadFile(filepath.Join(root, "cmd", "sandstack", "workflow.yml"))
	w.Expect(err).NotTo(HaveOccurred())
	_, err = w.github.Push(repository, "demo.yml", workflow)
	w.Expect(err).NotTo(HaveOccurred())
	w.Eventually(func() map[string]int {
		outcomes := map[string]int{}
		for _, job := range w.github.Jobs() {
			outcomes[job.Conclusion]++
		}
		return outcomes
	}).Should(Equal(map[string]int{"success": 8, "failure": 1, "skipped": 1}))
	w.awaitNothingOutside()
	w.Expect(w.modal.Peak("")).To(BeNumerically("<=", 4))
}

// exerciseRights does what takes rights that an ordinary job does not: a job is told of twice at once, another is refused, Runners
// are removed alone and together, what no Runner owns is removed, with an event that repeats itself, and jobs are forgotten.
func (w *world) exerciseRights(in string) {
	w.t.Helper()
	w.raceToStore(account, "modal")
	w.removeRunners(in, "modal")
	w.github.ChangeRepository(repository, func(r *githubsim.Repository) { r.ForksCount = 1 })
	fork := w.github.AddForkJob(repository, "stranger/widgets", "from-a-fork", []string{"modal"}, "true")
	w.Eventually(func() string {
		return w.mustKubectl("-n", in, "get", "wfj", "-o", "jsonpath={.items[*].status.problem.reason}")
	}).Should(Equal("Fork"))
	w.github.CancelJob(fork)
	w.repeatAnEvent()
	w.forgetOldJobs(in)
	w.Eventually(func() string { return w.mustKubectl("-n", in, "get", "wfj", "-o", "name") }).Should(BeEmpty())
}

// raceToStore tells those who receive of jobs twice at once, until one finds that another was first and reads what that stored.
func (w *world) raceToStore(user, label string) {
	w.t.Helper()
	w.github.AddWebhook("octo", w.webhook+"/webhook", stack.WebhookSecret)
	reads := func(r request) bool { return r.Verb == "get" && r.Resource == "workflowjobs" }
	w.Eventually(func() bool {
		w.await(w.queueFor(label, 2, "told-twice", "true"), "success")
		return slices.ContainsFunc(w.requests(user, w.since), reads)
	}).Should(BeTrue())
	for _, hook := range w.github.Hooks() {
		if hook.Target == "octo" {
			w.github.DeleteHook(hook.ID)
		}
	}
}

// removeRunners has jobs end alone, and others at once, until the Runners of the former were removed one by one and those of the
// latter together.
func (w *world) removeRunners(in, label string) {
	w.t.Helper()
	asked := func(verb string) bool {
		return slices.ContainsFunc(w.requests(account, w.since), func(r request) bool { return r.Verb == verb && r.Resource == "runners" })
	}
	w.Eventually(func() bool {
		for _, jobs := range []int{1, 3} {
			w.await(w.queueFor(label, jobs, "removed", "true"), "success")
			w.Eventually(func() string { return w.mustKubectl("-n", in, "get", "mr", "-o", "name") }).Should(BeEmpty())
		}
		return asked("delete") && asked("deletecollection")
	}).Should(BeTrue())
}

// forgetOldJobs, together; and those that a manager of an earlier version has stored, which did not label them, one by one.
func (w *world) forgetOldJobs(in string) {
	w.t.Helper()
	removes := func(r request) bool { return r.Verb == "delete" && r.Resource == "workflowjobs" }
	together := func(r request) bool { return r.Verb == "deletecollection" && r.Resource == "workflowjobs" }
	w.Eventually(func() bool { return slices.ContainsFunc(w.requests(account, w.since), together) }).Should(BeTrue())
	w.Eventually(func() bool {
		w.await(w.queue(1, "old", "true"), "success")
		_, _ = w.kubectl("-n", in, "label", "wfj", "--all", v1alpha1.CompletedLabel+"-")
		return slices.ContainsFunc(w.requests(account, w.since), removes)
	}).Should(BeTrue())
}

// repeatAnEvent leaves registrations that nobody owns, until two that are removed are told of by one event.
func (w *world) repeatAnEvent() {
	w.t.Helper()
	counts := func(r request) bool { return r.Verb == "patch" && r.Resource == "events" }
	w.Eventually(func() bool {
		w.leaveRegistrations(3)
		w.awaitNothingOutside()
		return slices.ContainsFunc(w.requests(account, w.since), counts)
	}).Should(BeTrue())
}

// leaveRegistrations at GitHub with the installation's mark, as a manager that lost its objects does.
func (w *world) leaveRegistrations(count int) {
	mark := w.mark()
	for range count {
		w.left++
		w.github.AddForeignRunner(repository, fmt.Sprintf("widgets-0-%s-0123456789ab-%d", mark, w.left), "modal")
	}
}

// upgradeWhileJobsRun to a chart with another version, another CRD, and values that change arguments and replicas.
func (w *world) upgradeWhileJobsRun() {
	w.t.Helper()
	chart := w.changedChart()
	w.whileJobsRun("upgrade", func() {
		w.mustHelm("upgrade", release, chart, "-n", namespace, "--wait", "--timeout=3m", "--values", w.values(), "--set", "replicas=2,orphanGrace=90s")
	})
	w.Expect(w.deployed().Status.ReadyReplicas).To(BeEquivalentTo(2))
	w.Expect(w.deployed().Spec.Template.Spec.Containers[0].Args).To(ContainElement("--orphan-grace=90s"))
	w.Expect(w.deployed().Spec.Template.Spec.Containers[0].Image).To(Equal(image + ":0.2.0"))
	w.Expect(w.mustKubectl("-n", "ci", "get", "rp")).To(ContainSubstring("UPGRADED"), "the CRD is upgraded with the chart")
	w.Eventually(func() string {
		return w.mustKubectl("-n", namespace, "get", "pdb", release, "-o", "jsonpath={.status.disruptionsAllowed}")
	}).Should(Equal("1"))
}

func (w *world) rollBackWhileJobsRun() {
	w.t.Helper()
	w.whileJobsRun("rollback", func() { w.mustHelm("rollback", release, "1", "-n", namespace, "--wait", "--timeout=3m") })
	w.Expect(w.deployed().Status.Replicas).To(BeEquivalentTo(1))
	w.Expect(w.deployed().Spec.Template.Spec.Containers[0].Args).NotTo(ContainElement("--orphan-grace=90s"))
	w.Expect(w.mustKubectl("-n", "ci", "get", "rp")).NotTo(ContainSubstring("UPGRADED"))
}

// whileJobsRun something happens to the managers: two jobs are in the middle of their work all the time, others come and go.
// In the end none is lost, none was done twice, and no sandbox was ended before its job was.
func (w *world) whileJobsRun(name string, something func()) {
	w.t.Helper()
	g := w.gate(name)
	long := w.queue(2, name+"-long", g.step())
	w.await(long, "in_progress")
	stop, stopped := make(chan struct{}), make(chan []int64)
	go func() {
		var ids []int64
		for {
			select {
			case <-stop:
				stopped <- ids
				return
			case <-time.After(700 * time.Millisecond):
				ids = append(ids, w.queue(1, name+"-short", "true")...)
			}
		}
	}()
	something()
	close(stop)
	short := <-stopped
	w.Expect(len(short)).To(BeNumerically(">", 2), "hardly a job came meanwhile")
	for _, id := range long {
		w.Expect(w.state(id)()).To(Equal("in_progress"), "a job ended in the middle of its work")
	}
	g.open(w)
	w.await(append(long, short...), "success")
	w.awaitNothingOutside()
	served := map[string]int64{}
	for _, job := range w.github.Jobs() {
		if job.RunnerName == "" {
			continue
		}
		w.Expect(served[job.RunnerName]).To(BeZero(), "runner %s had two jobs", job.RunnerName)
		served[job.RunnerName] = job.ID
	}
	w.Expect(w.modal.Peak("")).To(BeNumerically("<=", 4), "more sandboxes than the pool may have")
}

func (w *world) deployed() *appsv1.Deployment {
	w.t.Helper()
	var d appsv1.Deployment
	w.Expect(plane.Client.Get(w.ctx, client.ObjectKey{Namespace: namespace, Name: release}, &d)).To(Succeed())
	return &d
}

// changedChart is a copy of the chart as a later release might be.
func (w *world) changedChart() string {
	w.t.Helper()
	folder := filepath.Join(w.folder, "chart")
	w.Expect(os.CopyFS(folder, os.DirFS(w.chart()))).To(Succeed())
	replace := func(file, old, with string) {
		path := filepath.Join(folder, file)
		text, err := os.ReadFile(path)
		w.Expect(err).NotTo(HaveOccurred())
		w.Expect(strings.Count(string(text), old)).To(Equal(1), "%s in %s", old, file)
		w.Expect(os.WriteFile(path, []byte(strings.Replace(string(text), old, with, 1)), 0o600)).To(Succeed())
	}
	replace("Chart.yaml", "\nversion: 0.1.0\n", "\nversion: 0.2.0\n")
	replace("Chart.yaml", "appVersion: 0.1.0", "appVersion: 0.2.0")
	replace("files/crds/modalrunner.dev_runnerpools.yaml", "  - additionalPrinterColumns:\n",
		"  - additionalPrinterColumns:\n    - jsonPath: .spec.repository\n      name: Upgraded\n      type: string\n")
	return folder
}

// mark of the installation, by which it knows what it made outside.
func (w *world) mark() string {
	w.t.Helper()
	id := w.mustKubectl("-n", namespace, "get", "configmap", "modal-runner-controller-installation", "-o", "jsonpath={.data.id}")
	w.Expect(len(id)).To(BeNumerically(">", 8))
	return id[:8]
}

// remove the installation as docs/deployment.md says.
func (w *world) remove() {
	w.t.Helper()
	w.mustKubectl("delete", "rp", "--all", "--all-namespaces", "--wait", "--timeout=2m")
	w.Expect(w.outside()).To(Equal("0 sandboxes, 0 registrations"))
	w.mustHelm("uninstall", release, "-n", namespace, "--wait", "--timeout=2m")
	w.Eventually(func() string { return w.mustKubectl("-n", namespace, "get", "pods", "-o", "name") }).Should(BeEmpty())
}

var (
	// stays in the release's namespace when the release is gone, as docs/deployment.md says.
	stays = []string{
		"configmaps " + namespace + "/modal-runner-controller-installation",
		"leases.coordination.k8s.io " + namespace + "/modal-runner-controller",
	}
	// definitions stay with crds.keep.
	definitions = []string{
		"apiservices.apiregistration.k8s.io v1alpha1.modalrunner.dev",
		"customresourcedefinitions.apiextensions.k8s.io runnerpools.modalrunner.dev",
		"customresourcedefinitions.apiextensions.k8s.io runners.modalrunner.dev",
		"customresourcedefinitions.apiextensions.k8s.io workflowjobs.modalrunner.dev",
	}
)

// ofTheOperator is what the operator made, with pools in these namespaces.
func ofTheOperator(in ...string) []string {
	mine := []string{
		"namespaces " + namespace, "secrets " + namespace + "/github-webhook",
		"configmaps " + namespace + "/kube-root-ca.crt", "serviceaccounts " + namespace + "/default",
	}
	for _, n := range in {
		mine = append(mine, "namespaces "+n, "secrets "+n+"/github", "secrets "+n+"/modal", "configmaps "+n+"/kube-root-ca.crt",
			"serviceaccounts "+n+"/default")
	}
	return mine
}

// installAgain, this time without keeping the CRDs: what the new installation makes has the old one's mark, and the CRDs go
// with it.
func (w *world) installAgain(mark string) {
	w.t.Helper()
	w.leaveRegistrations(1)
	w.install(w.chart(), "--values", w.values(), "--set", "crds.keep=false")
	w.servePool("ci")
	w.awaitNothingOutside()
	before := len(w.modal.Sandboxes())
	w.await(w.queue(1, "again", "true"), "success")
	w.Expect(len(w.modal.Sandboxes())).To(BeNumerically(">", before))
	for _, sandbox := range w.modal.Sandboxes() {
		w.Expect(sandbox.Name).To(ContainSubstring("-" + mark + "-"))
	}
	w.remove()
	w.Eventually(w.leftOver).Should(ConsistOf(slices.Concat(ofTheOperator("ci"), stays)))
	var pools v1alpha1.RunnerPoolList
	w.Expect(plane.Client.List(w.ctx, &pools)).NotTo(Succeed(), "the CRDs are gone")
}
