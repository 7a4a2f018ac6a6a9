package e2e

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	. "github.com/onsi/gomega"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/grpc/codes"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
	"github.com/modalrunner/modal-runner-controller/simulators/runner"
)

// observed is a world in which all goes well and wrong that an operator wants to see, with what was scraped of it.
type observed struct {
	*world
	scrapes []string
}

// observedSettings poll and deliver, whatever way the suite is run, so that both show.
func observedSettings(s *settings) {
	s.webhooks, s.poll, s.heal, s.faults = true, "2s", "1s", githubsim.WebhookFaults{}
	s.lostAfter = 5 * time.Second
	s.arguments = []string{"--leader-elect", "--sweep-interval=1s", "--orphan-grace=2s"}
	s.behave = func(c modalsim.Container) runner.Behaviour {
		switch {
		case c.Env[runner.JITVariable] == "", strings.HasPrefix(c.Name, "hang-") && strings.HasSuffix(c.Name, "-1"):
			return runner.Hang
		case strings.HasPrefix(c.Name, "broken-"):
			return runner.Crash
		}
		return ""
	}
}

// scrape the manager as Prometheus does.
func (w *world) scrape() string {
	w.t.Helper()
	resp, err := http.Get("http://" + w.manager.MetricsAddress() + "/metrics")
	w.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(resp).To(HaveHTTPStatus(http.StatusOK), string(text))
	return string(text)
}

func (o *observed) keep() { o.scrapes = append(o.scrapes, o.scrape()) }

// labelled is a pool that serves the label of its own name.
func (o *observed) labelled(name string, limit int32, change ...func(*v1alpha1.RunnerPoolSpec)) *v1alpha1.RunnerPool {
	return o.pool(name, limit, append(change, labels(v1alpha1.RunnerLabel(name)))...)
}

func (o *observed) queueFor(pool string, steps ...string) int64 {
	return o.github.AddQueuedJob(repository, "job of "+pool, []string{pool}, steps...)
}

// work for the manager, of which the scrapes tell.
func (o *observed) work() {
	o.github.ChangeRepository(repository, func(r *githubsim.Repository) { r.ForksCount = 1 })
	budget := func(s *v1alpha1.RunnerPoolSpec) { s.Budget = &v1alpha1.Budget{PerDay: resource.MustParse("100")} }
	busy := o.labelled("busy", 2, budget)
	hang := o.labelled("hang", 1, startupTimeout(2*time.Second))
	dies := o.labelled("dies", 1)
	broken := o.labelled("broken", 5)
	warm := o.labelled("warm", 3, minIdle(1))
	picky := o.labelled("picky", 1)
	bare := o.labelled("bare", 1, func(s *v1alpha1.RunnerPoolSpec) { s.Modal.SecretName = "missing" })
	for _, pool := range []*v1alpha1.RunnerPool{busy, hang, dies, broken, warm, picky} {
		o.awaitReady(pool)
	}
	o.Eventually(o.reason(bare)).Should(Equal(v1alpha1.ReasonSecretNotFound))
	for round := range 2 {
		o.goWell()
		o.goWrong(round)
		o.keep()
	}
	// A queue and runners that are there while it is looked at.
	for range 4 {
		o.queueFor("busy", "sleep 600")
	}
	o.queueFor("bare")
	o.Eventually(func() float64 { return o.now("modalrunner_pool_jobs", "state", "in_progress", "pool", "busy") }).Should(BeNumerically("==", 2))
	o.Eventually(func() float64 { return o.now("modalrunner_pool_jobs", "state", "queued") }).Should(BeNumerically(">=", 3))
	o.Eventually(func() float64 { return o.now("modalrunner_pool_runners", "pool", "busy", "phase", "Running") }).Should(BeNumerically("==", 2))
	o.keep()
	o.keep()
}

// goWell runs jobs to their end.
func (o *observed) goWell() {
	var ids []int64
	for range 3 {
		ids = append(ids, o.queueFor("busy", "sleep 1"))
	}
	o.awaitAll(append(ids, o.queueFor("warm")), "success")
	failing := o.queueFor("warm", "exit 1")
	o.Eventually(o.conclusion(failing)).ShouldNot(BeEmpty())
}

// goWrong in each way that the metrics tell of.
func (o *observed) goWrong(round int) {
	hung := o.queueFor("hang")
	o.Eventually(func() float64 {
		return o.now("modalrunner_runners_hung_total", "reason", v1alpha1.ReasonStartupTimeout)
	}).Should(BeNumerically(">", round))
	dying := o.queueFor("dies", "sleep 600")
	o.awaitRunning(dying)
	alive := o.modal.Alive(func(s modalsim.Sandbox) bool { return strings.HasPrefix(s.Name, "dies-") })
	o.Expect(alive).NotTo(BeEmpty())
	o.modal.FinishOutOfMemory(alive[0].ID)
	o.Eventually(func() float64 { return o.now("modalrunner_runners_died_total", "reason", v1alpha1.ReasonOutOfMemory) }).Should(BeNumerically(">", round))
	o.awaitAll([]int64{dying}, "failure")
	if round == 0 {
		for range 5 {
			o.queueFor("broken")
		}
		o.Eventually(func() float64 { return o.now("modalrunner_pool_circuit_failures", "pool", "broken") }).Should(BeNumerically(">=", 5))
		o.github.AddForkJob(repository, "mallory/widgets", "fork", []string{"picky"})
		o.Eventually(func() float64 { return o.now("modalrunner_pool_unserved_jobs", "reason", v1alpha1.ReasonFork) }).Should(BeNumerically("==", 1))
	}
	o.buildImages(round)
	o.breakOutside(round)
	o.leaveOrphans(round)
	o.awaitAll([]int64{hung}, "success")
}

// buildImages of which one can be built.
func (o *observed) buildImages(round int) {
	o.awaitReady(o.labelled(fmt.Sprint("built-", round), 1, func(s *v1alpha1.RunnerPoolSpec) {
		s.Image.DockerfileCommands = []v1alpha1.DockerfileCommand{v1alpha1.DockerfileCommand(fmt.Sprint("ENV ROUND=", round))}
	}))
	o.Eventually(o.reason(o.labelled(fmt.Sprint("unbuilt-", round), 1, func(s *v1alpha1.RunnerPoolSpec) {
		s.Image.Base = fmt.Sprint("example.com/no/such:", round)
	}))).Should(Equal(v1alpha1.ReasonBuildFailed))
}

// breakOutside has calls fail on both sides, and deliveries lost and refused.
func (o *observed) breakOutside(round int) {
	o.github.Inject(githubsim.Fault{Method: http.MethodGet, Path: regexp.MustCompile(`/actions/runners$`), Times: 2, Status: http.StatusBadGateway})
	o.modal.Faults().Add(modalsim.Fault{Method: "SandboxList", Times: 2, Code: codes.Unavailable})
	o.Eventually(func() float64 { return o.now("modalrunner_github_calls_total", "code", "502") }).Should(BeNumerically(">", round))
	o.Eventually(func() float64 { return o.now("modalrunner_modal_calls_total", "code", "Unavailable") }).Should(BeNumerically(">", round))
	o.send("workflow_job", []byte("{}"), "not the secret", nil)
	if the.scope == "enterprise" {
		// GitHub gives no access to the deliveries of an enterprise's webhook.
		return
	}
	o.github.SetWebhookFaults(githubsim.WebhookFaults{Drop: 1})
	lost := o.queueFor("warm")
	o.Eventually(func() float64 { return o.now("modalrunner_webhook_redeliveries_total") }).Should(BeNumerically(">", round))
	o.github.SetWebhookFaults(githubsim.WebhookFaults{})
	o.awaitAll([]int64{lost}, "success")
}

// leaveOrphans that the sweeper removes.
func (o *observed) leaveOrphans(round int) {
	name := fmt.Sprintf("x-%d-%s-0123456789ab-7", round, o.mark())
	o.github.AddForeignRunner(the.place(), name, "other")
	o.makeSandbox(name)
	o.Eventually(func() float64 { return o.now("modalrunner_orphans", "kind", "sandbox") }).Should(BeNumerically("==", 1))
	o.Eventually(func() float64 { return o.now("modalrunner_orphans_removed_total", "kind", "sandbox") }).Should(BeNumerically(">", round))
	o.Eventually(func() float64 { return o.now("modalrunner_orphans") }).Should(BeNumerically("==", 0))
}

// families of metrics in a scrape.
func families(o *observed, text string) map[string]*dto.MetricFamily {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	all, err := parser.TextToMetricFamilies(strings.NewReader(text))
	o.Expect(err).NotTo(HaveOccurred())
	return all
}

// now is the sum of the series of a metric that have these labels: values of gauges and counters, counts of histograms. It is -1
// when there is none.
func (o *observed) now(name string, labels ...string) float64 {
	return sum(families(o, o.scrape())[name], labels...)
}

func sum(family *dto.MetricFamily, labels ...string) float64 {
	total, found := 0.0, false
	for _, metric := range family.GetMetric() {
		have := map[string]string{}
		for _, label := range metric.GetLabel() {
			have[label.GetName()] = label.GetValue()
		}
		matches := true
		for i := 0; i < len(labels); i += 2 {
			matches = matches && have[labels[i]] == labels[i+1]
		}
		if matches {
			found = true
			total += metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	if !found {
		return -1
	}
	return total
}
