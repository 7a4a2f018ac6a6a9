package e2e

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"google.golang.org/grpc/codes"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
	"github.com/modalrunner/modal-runner-controller/simulators/runner"
)

var (
	mintPath   = regexp.MustCompile(`/generate-jitconfig$`)
	runnerPath = regexp.MustCompile(`/actions/runners/\d+$`)
)

// firstOnly gives the first attempt a behaviour, and all later ones a good one.
func firstOnly(behaviour runner.Behaviour) option {
	return withBehaviour(func(c modalsim.Container) runner.Behaviour {
		if strings.HasSuffix(c.Name, "-1") {
			return behaviour
		}
		return ""
	})
}

func TestB20_AConfigWhoseSandboxWasRefusedIsDeregistered(t *testing.T) {
	w := newWorld(t)
	w.awaitReady(w.pool("p", 1))
	refusal := w.modal.Faults().Add(modalsim.Fault{Method: "SandboxCreate", Code: codes.InvalidArgument, Message: "no such region"})
	id := w.queue("build")
	w.Eventually(refusal.Hits).Should(BeNumerically(">=", 2))
	w.Eventually(func() int { return len(w.github.Runners()) }).Should(BeZero())
	w.Expect(w.runnerStatus().LastFailure).To(And(
		HaveField("Reason", v1alpha1.ReasonRefused), HaveField("Message", ContainSubstring("no such region"))))
	w.Expect(w.events()).To(ContainElement(v1alpha1.ReasonRefused))
	refusal.Remove()
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
}

func TestB20_NothingIsMintedBeyondTheLimit(t *testing.T) {
	w := newWorld(t)
	w.awaitReady(w.pool("p", 2))
	var ids []int64
	for range 6 {
		ids = append(ids, w.queue("build", "sleep 0.5"))
	}
	w.awaitAll(ids, "success")
	w.awaitNothingLeft()
	alive, peak := 0, 0
	for _, event := range w.github.History() {
		switch event.Kind {
		case "runner registered":
			alive++
			peak = max(peak, alive)
		case "runner removed", "runner removed after its job":
			alive--
		}
	}
	w.Expect(peak).To(BeNumerically("<=", 2))
}

func TestB21_AStaleRegistrationIsDeletedAndTheRunnerGoesOnUnderAFreshName(t *testing.T) {
	w := newWorld(t)
	w.awaitReady(w.pool("p", 1))
	w.github.Inject(githubsim.Fault{Method: http.MethodPost, Path: mintPath, Times: 1, DropAnswer: true})
	id := w.queue("build")
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
	sandboxes := w.modal.Sandboxes()
	w.Expect(sandboxes).To(HaveLen(1))
	w.Expect(sandboxes[0].Name).To(HaveSuffix("-2"))
}

func TestB22_ASandboxWhoseIDWasNotStoredIsAdopted(t *testing.T) {
	w := newWorld(t)
	w.awaitReady(w.pool("p", 1))
	// The sandbox is made, and the manager dies before it hears of it.
	lost := w.modal.Faults().Add(modalsim.Fault{Method: "SandboxCreate", Times: 1, DropAnswer: true, Hang: true})
	id := w.queue("build", "sleep 6")
	w.Eventually(lost.Hits).Should(Equal(1))
	w.Eventually(func() int { return len(w.modal.Alive(nil)) }).Should(Equal(1))
	w.manager.Kill()
	w.startManager()
	w.Eventually(func() []string { return []string{w.runnerStatus().SandboxID} }).Should(ConsistOf(w.modal.Sandboxes()[0].ID))
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
	w.Expect(w.modal.Sandboxes()).To(HaveLen(1))
	w.Expect(w.modal.Sandboxes()[0].Tags).To(HaveKey("modalrunner-runner"))
}

// runnerStatus of the only Runner, empty when there is none.
func (w *world) runnerStatus() v1alpha1.RunnerStatus {
	runners := w.runners()
	if len(runners) == 0 {
		return v1alpha1.RunnerStatus{}
	}
	return runners[0].Status
}

func TestB23_ARunnerThatDoesNotComeOnlineIsReplaced(t *testing.T) {
	w := newWorld(t, firstOnly(runner.Hang))
	w.awaitReady(w.pool("p", 1, startupTimeout(2*time.Second)))
	id := w.queue("build")
	w.Eventually(func() string {
		if failure := w.runnerStatus().LastFailure; failure != nil {
			return failure.Reason
		}
		return ""
	}).Should(Equal(v1alpha1.ReasonStartupTimeout))
	w.Expect(w.runnerStatus().Attempt).To(BeNumerically("==", 2))
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
	sandboxes := w.modal.Sandboxes()
	w.Expect(sandboxes).To(HaveLen(2))
	w.Expect(sandboxes[1].Created).To(BeTemporally(">=", sandboxes[0].Finished), "the second began before the first had ended")
	w.Expect(w.modal.Peak("")).To(Equal(1))
	w.Expect(w.events()).To(ContainElement(v1alpha1.ReasonStartupTimeout))
}

func TestB23_NothingIsKilledWhileGitHubDoesNotAnswer(t *testing.T) {
	w := newWorld(t)
	w.awaitReady(w.pool("p", 1, startupTimeout(time.Second)))
	// The lists of runners fail from the start: that the runner came online cannot be known.
	w.github.Inject(githubsim.Fault{Method: http.MethodGet, Path: regexp.MustCompile(`/actions/runners$`), Status: http.StatusBadGateway})
	id := w.queue("build", "sleep 4")
	w.awaitAll([]int64{id}, "success")
	w.Expect(w.modal.Sandboxes()).To(HaveLen(1))
}

func TestB25_ASandboxThatOutlivesItsJobIsTerminated(t *testing.T) {
	w := newWorld(t, withBehaviour(func(modalsim.Container) runner.Behaviour { return runner.Linger }))
	w.awaitReady(w.pool("p", 1))
	id := w.queue("build")
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
	w.Expect(w.modal.Sandboxes()[0].Status.String()).To(Equal("GENERIC_STATUS_TERMINATED"))
}

func TestB26_ASandboxThatEndsBeforeItsRunnerHadAJobIsReplaced(t *testing.T) {
	for behaviour, reason := range map[runner.Behaviour]string{
		runner.Crash: v1alpha1.ReasonRunnerCrashed, runner.Quit: v1alpha1.ReasonSandboxEnded,
	} {
		t.Run(string(behaviour), func(t *testing.T) {
			w := newWorld(t, firstOnly(behaviour))
			w.awaitReady(w.pool("p", 1))
			id := w.queue("build")
			w.awaitAll([]int64{id}, "success")
			w.awaitNothingLeft()
			w.Expect(w.modal.Sandboxes()).To(HaveLen(2))
			w.Expect(w.events()).To(ContainElement(reason))
		})
	}
}

func TestB26_ASandboxThatEndsIsNotReplacedWhenTheDemandIsGone(t *testing.T) {
	w := newWorld(t, withBehaviour(func(modalsim.Container) runner.Behaviour { return runner.Crash }))
	w.awaitReady(w.pool("p", 1))
	id := w.queue("build")
	w.Eventually(func() bool { return w.runnerStatus().LastFailure != nil }).Should(BeTrue())
	w.github.CancelJob(id)
	w.awaitNothingLeft()
	w.Expect(w.modal.Sandboxes()).To(HaveLen(1))
}

func TestB31_LoweringTheLimitKillsNothingBusy(t *testing.T) {
	w := newWorld(t)
	pool := w.pool("p", 3)
	w.awaitReady(pool)
	ids := []int64{w.queue("one", "sleep 5"), w.queue("two", "sleep 5"), w.queue("three", "sleep 5")}
	for _, id := range ids {
		w.Eventually(func() string { job, _ := w.github.Job(id); return job.Status }).Should(Equal("in_progress"))
	}
	if out, err := kubectl(t, "", "-n", w.namespace, "scale", "rp/p", "--replicas=1"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ids = append(ids, w.queue("four"))
	w.awaitAll(ids, "success")
	w.awaitNothingLeft()
	w.Expect(w.modal.Sandboxes()).To(HaveLen(4))
	for _, sandbox := range w.modal.Sandboxes() {
		w.Expect(sandbox.Status.String()).To(Equal("GENERIC_STATUS_SUCCESS"), sandbox.Name)
	}
}

func TestB40_DeletingAPoolDrainsItsBusyRunnersAndLeavesNothing(t *testing.T) {
	w := newWorld(t)
	pool := w.pool("p", 2)
	w.awaitReady(pool)
	id := w.queue("build", "sleep 4")
	w.Eventually(func() string { job, _ := w.github.Job(id); return job.Status }).Should(Equal("in_progress"))
	w.Expect(plane.Client.Delete(w.ctx, pool)).To(Succeed())
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
	w.Eventually(func() string {
		out, _ := kubectl(t, "", "-n", w.namespace, "get", "rp,mr,wfj", "-o", "name")
		return out
	}).Should(BeEmpty())
}

func TestB42_DeregisteringThatFailsIsTriedAgain(t *testing.T) {
	w := newWorld(t, firstOnly(runner.Hang))
	w.awaitReady(w.pool("p", 1, startupTimeout(time.Second)))
	w.github.Inject(githubsim.Fault{Method: http.MethodDelete, Path: runnerPath, Times: 2, Status: http.StatusBadGateway})
	id := w.queue("build")
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
}
