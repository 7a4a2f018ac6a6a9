package e2e

import (
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
	"github.com/modalrunner/modal-runner-controller/simulators/runner"
)

// granting wishes for some GPUs and up to 8 cores.
func granting(s *v1alpha1.RunnerPoolSpec) {
	s.Wishes = &v1alpha1.Wishes{GPUs: []v1alpha1.GPU{"T4", "H100:2"}, MaxCPU: ptr.To(resource.MustParse("8"))}
}

func gpus(sandboxes []modalsim.Sandbox) map[string]int {
	count := map[string]int{}
	for _, s := range sandboxes {
		count[s.Request.GetDefinition().GetResources().GetGpuConfig().GetGpuType()]++
	}
	return count
}

func TestAJobsWishesAreGrantedInASandboxOfItsOwn(t *testing.T) {
	w := newWorld(t)
	w.awaitReady(w.pool("p", 10, granting))
	var ids []int64
	for range 3 {
		ids = append(ids, w.queue("plain", "sleep 0.3"))
		ids = append(ids, w.github.AddQueuedJob(repository, "gpu", []string{"modal-gpu=H100"}, "sleep 0.3"))
	}
	ids = append(ids, w.github.AddQueuedJob(repository, "both", []string{"Modal", "modal-gpu=T4", "modal-cpu=8"}, "sleep 0.3"))
	w.awaitAll(ids, "success")
	w.awaitNothingLeft()
	made := gpus(w.modal.Sandboxes())
	w.Expect(made["H100"]).To(Equal(3), "%v", made)
	w.Expect(made["T4"]).To(BeNumerically(">=", 1), "%v", made)
	for _, id := range ids[:6] {
		job, _ := w.github.Job(id)
		sandboxes := w.modal.Select(func(s modalsim.Sandbox) bool { return s.Name == job.RunnerName })
		w.Expect(sandboxes).To(HaveLen(1))
		if gpu := gpus(sandboxes); job.Name == "gpu" {
			w.Expect(gpu).To(HaveKey("H100"), "a job ran without the GPU that it asked for")
		}
	}
}

// GitHub gives a job to any runner that has all of its labels: a runner made for a wish that names a label of the pool too
// may be taken by a job without the wish. The job with the wish gets another.
func TestAJobWhoseRunnerAnotherTookGetsAnother(t *testing.T) {
	w := newWorld(t)
	w.awaitReady(w.pool("p", 10, granting, idleTimeout(time.Second)))
	wish := w.github.AddQueuedJob(repository, "wish", []string{"modal", "modal-cpu=8"}, "sleep 0.2")
	w.Eventually(func() int { return len(w.modal.Alive(nil)) }).Should(BeNumerically(">=", 1))
	var ids []int64
	for range 4 {
		ids = append(ids, w.queue("plain", "sleep 0.5"))
	}
	w.awaitAll(append(ids, wish), "success")
	w.awaitNothingLeft()
	job, _ := w.github.Job(wish)
	took := w.modal.Select(func(s modalsim.Sandbox) bool { return s.Name == job.RunnerName })
	w.Expect(took).To(HaveLen(1))
	w.Expect(took[0].Request.GetDefinition().GetResources().GetMilliCpu()).To(BeEquivalentTo(8000))
}

func TestAWishOutOfBoundsIsRefusedVisibly(t *testing.T) {
	w := newWorld(t)
	pool := w.pool("p", 2, granting)
	w.awaitReady(pool)
	id := w.github.AddQueuedJob(repository, "greedy", []string{"modal", "modal-gpu=B200"})
	w.Eventually(func() string {
		out, _ := kubectl(t, "", "-n", w.namespace, "get", "wfj", "-o", "jsonpath={.items[*].status.problem}")
		return out
	}).Should(And(ContainSubstring(v1alpha1.ReasonWishRefused), ContainSubstring("the pool allows T4, H100:2 (spec.wishes.gpus)")))
	w.Expect(w.events()).To(ContainElement(v1alpha1.ReasonWishRefused))
	w.Expect(w.modal.Sandboxes()).To(BeEmpty())
	w.patch(pool, `{"spec": {"wishes": {"gpus": ["B200"]}}}`)
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
}

func TestASecondRunFindsWhatTheFirstOneFetched(t *testing.T) {
	w := newWorld(t, withShell)
	w.awaitReady(w.pool("p", 1, func(s *v1alpha1.RunnerPoolSpec) {
		s.Sandbox.Cache = &v1alpha1.Cache{Volume: "ci-cache"}
	}))
	const fetch = `test ! -e "$RUNNER_TOOL_CACHE/node" && mkdir -p "$RUNNER_TOOL_CACHE" && echo 22 >"$RUNNER_TOOL_CACHE/node"`
	w.awaitAll([]int64{w.queue("cold", fetch)}, "success")
	w.awaitAll([]int64{w.queue("warm", `test "$(cat "$RUNNER_TOOL_CACHE/node")" = 22`)}, "success")
	w.awaitNothingLeft()
	w.Expect(w.modal.Sandboxes()).To(HaveLen(2), "each job has a sandbox of its own")
}

func TestVariablesOutOfSecretsReachTheSandboxAlone(t *testing.T) {
	w := newWorld(t, withShell)
	pool := w.pool("p", 1, func(s *v1alpha1.RunnerPoolSpec) {
		s.Sandbox.Env = []v1alpha1.EnvVar{
			{Name: "FLAVOUR", Value: "plain"}, {Name: "NPM_TOKEN", SecretKeyRef: &v1alpha1.SecretKeyRef{Name: "npm", Key: "token"}},
		}
	})
	w.Eventually(w.reason(pool)).Should(Equal(v1alpha1.ReasonSecretNotFound))
	w.createSecret("npm", map[string]string{"token": npmToken})
	id := w.queue("build", `[ "$NPM_TOKEN" = "`+npmToken+`" ]`)
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
	env := w.modal.Sandboxes()[0].Env
	w.Expect(env).To(And(HaveKeyWithValue("FLAVOUR", "plain"), HaveKeyWithValue("NPM_TOKEN", npmToken)))
	w.Expect(env).NotTo(HaveKey(ContainSubstring("MODAL_TOKEN")), "a credential of the controller's")
	for name, value := range env {
		w.Expect(strings.Contains(value, modalSecret) || strings.Contains(value, token)).To(BeFalse(), "%s holds a credential of the controller's", name)
	}
}

func TestARunnerVersionThatGitHubRefusesHealsByItself(t *testing.T) {
	refused := withBehaviour(func(c modalsim.Container) runner.Behaviour {
		if strings.Contains(c.Env["BUILT_WITH"], "2.331.0") {
			return ""
		}
		return runner.Refused
	})
	w := newWorld(t, refused)
	pool := w.pool("p", 3, func(s *v1alpha1.RunnerPoolSpec) {
		s.Image.RunnerVersion, s.Image.RunnerSHA256 = "2.330.0", strings.Repeat("a", 64)
		s.Sandbox.Env = []v1alpha1.EnvVar{{Name: "BUILT_WITH", Value: "2.330.0"}}
	})
	w.awaitReady(pool)
	id := w.queue("build")
	w.Eventually(w.reason(pool)).Should(Equal(v1alpha1.ReasonRunnerVersionRefused))
	made := len(w.modal.Sandboxes())
	w.Consistently(func() int { return len(w.modal.Sandboxes()) }, "2s").Should(Equal(made), "a storm of runners that GitHub refuses")
	w.github.ReleaseRunner("2.331.0")
	w.patch(pool, `{"spec": {"image": {"runnerVersion": "latest", "runnerSHA256": null}, "sandbox": {"env": [{"name": "BUILT_WITH", "value": "2.331.0"}]}}}`)
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
}

func TestWhatSandboxesCostIsInTheStatus(t *testing.T) {
	w := newWorld(t)
	pool := w.pool("p", 2, func(s *v1alpha1.RunnerPoolSpec) { s.Budget = &v1alpha1.Budget{PerDay: resource.MustParse("100")} })
	w.awaitReady(pool)
	id := w.queue("build", "sleep 3")
	w.awaitRunning(id)
	w.Eventually(func() string { return w.runnerStatus().CostPerHour }).Should(Equal("0.1659"), "a core and a gibibyte for an hour")
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
	w.Eventually(func() string {
		out, _ := kubectl(t, "", "-n", w.namespace, "get", "rp/p", "-o", "jsonpath={.status.usage}")
		return out
	}).Should(And(ContainSubstring(`"repository":"`+repository+`"`), ContainSubstring(`"currency":"USD"`), MatchRegexp(`"sandboxSeconds":[1-9]`)))
}

func TestABudgetThatIsSpentShowsAndWhatRunsFinishes(t *testing.T) {
	w := newWorld(t)
	// A sandbox of this size costs about 14 cents an hour: the budget is gone within a second or two.
	pool := w.pool("p", 2, func(s *v1alpha1.RunnerPoolSpec) { s.Budget = &v1alpha1.Budget{PerDay: resource.MustParse("0.00005")} })
	w.awaitReady(pool)
	first := w.queue("first", "sleep 4")
	w.awaitRunning(first)
	w.Eventually(w.reason(pool)).Should(Equal(v1alpha1.ReasonDailyBudgetSpent))
	second := w.queue("second")
	w.awaitAll([]int64{first}, "success")
	w.Eventually(func() int { return len(w.modal.Alive(nil)) }).Should(BeZero())
	w.Expect(w.conclusion(second)()).To(BeEmpty())
	w.Expect(w.events()).To(ContainElement(v1alpha1.ReasonDailyBudgetSpent))
	w.patch(pool, `{"spec": {"budget": {"perDay": 100}}}`)
	w.awaitAll([]int64{second}, "success")
	w.awaitNothingLeft()
}
