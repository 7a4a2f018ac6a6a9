package runner

import (
	"context"
	"net/http"
	"regexp"
	"testing"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc/codes"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
	"github.com/modalrunner/modal-runner-controller/simulators/runner"
	"github.com/modalrunner/modal-runner-controller/test/simulated"
)

var listPath = regexp.MustCompile(`/actions/runners$`)

func TestB23_ARunnerHasItsStartupTimeoutAndNoMore(t *testing.T) {
	w := newWorld(t, runner.Hang)
	w.launch()
	w.Expect(w.result.RequeueAfter).To(Equal(5 * time.Minute))
	w.pass(5*time.Minute - time.Second)
	w.Expect(w.status().Phase).To(Equal(v1alpha1.RunnerStarting))
	w.pass(listInterval)
	w.Expect(w.failure()).To(Equal(v1alpha1.ReasonStartupTimeout))
	w.Expect(w.outside()).To(Equal(nothing))
	w.Expect(w.status()).To(And(HaveField("Phase", v1alpha1.RunnerPending), HaveField("Attempt", int32(2)), HaveField("Failures", int32(1))))
	w.Expect(w.events.Events).To(Receive(ContainSubstring(v1alpha1.ReasonStartupTimeout)))
}

func TestB23_OnlyAListMadeAfterTheTimeoutCounts(t *testing.T) {
	w := newWorld(t, runner.Hang)
	w.launch()
	w.pass(listInterval)
	w.GitHub.Inject(githubsim.Fault{Method: http.MethodGet, Path: listPath, Status: http.StatusBadGateway})
	w.pass(time.Hour)
	w.Expect(w.status().Phase).To(Equal(v1alpha1.RunnerStarting))
	w.Expect(w.result.RequeueAfter).To(Equal(listWait))
	w.GitHub.ClearFaults()
	w.pass(time.Minute)
	w.Expect(w.failure()).To(Equal(v1alpha1.ReasonStartupTimeout))
}

func TestB28_AttemptsWaitLongerAndLonger(t *testing.T) {
	w := newWorld(t, runner.Crash)
	wait := 10 * time.Second
	for attempt := int32(1); attempt <= v1alpha1.MaxAttempts; attempt++ {
		w.launch()
		w.Eventually(func() int { return len(w.Modal.Alive(nil)) }).Should(BeZero())
		w.pass(listInterval)
		w.Expect(w.failure()).To(Equal(v1alpha1.ReasonRunnerCrashed))
		w.Expect(w.result.RequeueAfter).To(Equal(wait), "after attempt %d", attempt)
		w.pass(wait - time.Second)
		w.Expect(w.status().Attempt).To(Equal(attempt + 1))
		w.Expect(w.status().Phase).To(Equal(v1alpha1.RunnerPending))
		w.Clock.Step(time.Second)
		wait = min(2*wait, 5*time.Minute)
	}
	w.pass(time.Hour)
	w.Expect(w.status().SandboxID).To(BeEmpty())
	w.Expect(w.status().Conditions).To(ContainElement(And(HaveField("Type", v1alpha1.ConditionLaunched),
		HaveField("Reason", v1alpha1.ReasonAttemptsExhausted), HaveField("Message", ContainSubstring("exit code 1")))))
	w.Expect(w.Modal.Sandboxes()).To(HaveLen(v1alpha1.MaxAttempts))
}

func TestB28_InADegradedPoolOnlyTheProbeTriesAndNotBeforeItsTime(t *testing.T) {
	w := newWorld(t, "")
	circuit := &v1alpha1.Circuit{Failures: 5, Probe: "p-1", ProbeAt: metav1.NewTime(noon.Add(time.Minute)),
		LastFailure: v1alpha1.AttemptFailure{Reason: v1alpha1.ReasonRunnerCrashed, Message: "it crashed", Time: metav1.NewTime(noon)}}
	w.setCircuit(circuit)
	w.pass(time.Hour)
	w.Expect(w.status().SandboxID).To(BeEmpty())
	w.Expect(w.status().Conditions).To(ContainElement(And(HaveField("Reason", v1alpha1.ReasonPoolDegraded), HaveField("Message", ContainSubstring("it crashed")))))
	circuit.Probe, circuit.ProbeAt = "p-0", metav1.NewTime(w.Clock.Now().Add(time.Minute))
	w.setCircuit(circuit)
	w.reconcile()
	w.Expect(w.status().SandboxID).To(BeEmpty())
	w.Expect(w.result.RequeueAfter).To(Equal(time.Minute))
	w.Clock.Step(time.Minute)
	w.launch()
}

func (w *world) setCircuit(circuit *v1alpha1.Circuit) {
	var pool v1alpha1.RunnerPool
	w.Expect(w.cluster.Get(w.t.Context(), types.NamespacedName{Namespace: "ci", Name: "p"}, &pool)).To(Succeed())
	pool.Status.Circuit = circuit
	w.Expect(w.cluster.Status().Update(w.t.Context(), &pool)).To(Succeed())
}

func TestB24_ARunnerThatGitHubForgotIsReplacedAfterTheGrace(t *testing.T) {
	w := newWorld(t, "")
	w.online()
	w.GitHub.ForgetRunner(w.GitHub.Runners()[0].ID)
	w.pass(listInterval)
	w.Expect(w.status().Conditions).To(ContainElement(And(HaveField("Type", v1alpha1.ConditionOnline), HaveField("Reason", v1alpha1.ReasonRunnerGone))))
	w.Expect(w.result.RequeueAfter).To(Equal(goneGrace))
	w.pass(goneGrace - time.Second)
	w.Expect(w.failure()).To(BeEmpty())
	w.pass(listInterval)
	w.Expect(w.failure()).To(Equal(v1alpha1.ReasonRunnerGone))
	w.Expect(w.outside()).To(Equal(nothing))
	w.Expect(w.status().Failures).To(BeZero(), "it had come online, so that starting runners works")
}

func TestB44_AListThatIsEmptyByMistakeKillsNobody(t *testing.T) {
	w := newWorld(t, "")
	w.online()
	w.GitHub.Inject(githubsim.Fault{Method: http.MethodGet, Path: listPath, Status: http.StatusOK, Body: `{"total_count":0,"runners":[]}`})
	for range 20 {
		w.pass(listInterval)
	}
	w.Expect(w.failure()).To(BeEmpty())
	w.Expect(w.outside()).To(Equal("1 sandboxes, 1 registrations"))
	w.GitHub.ClearFaults()
	w.pass(listInterval)
	w.Expect(w.status().Conditions).To(ContainElement(And(HaveField("Type", v1alpha1.ConditionOnline), HaveField("Status", metav1.ConditionTrue))))
}

func TestB24_ARunnerThatIsOfflineBeyondTheGraceIsReplaced(t *testing.T) {
	w := newWorld(t, runner.Freeze)
	w.launch()
	w.Eventually(func() bool { return w.GitHub.Runners()[0].Online }).Should(BeTrue())
	// The list is made within the time in which GitHub takes a silent runner for online.
	w.pass(8 * time.Second)
	w.Expect(w.status().Phase).To(Equal(v1alpha1.RunnerIdle))
	w.pass(listInterval)
	w.Expect(w.status().Conditions).To(ContainElement(And(HaveField("Type", v1alpha1.ConditionOnline), HaveField("Reason", v1alpha1.ReasonRunnerOffline))))
	w.Expect(w.result.RequeueAfter).To(Equal(offlineGrace))
	w.pass(offlineGrace - time.Second)
	w.Expect(w.failure()).To(BeEmpty())
	w.pass(listInterval)
	w.Expect(w.failure()).To(Equal(v1alpha1.ReasonRunnerOffline))
	w.Expect(w.outside()).To(Equal(nothing))
}

func TestB25_ASandboxMayOutliveItsJobForTheGrace(t *testing.T) {
	w := newWorld(t, "")
	w.online()
	w.storeJob(v1alpha1.JobCompleted, "success")
	w.reconcile()
	w.Expect(w.result.RequeueAfter).To(Equal(exitDelay))
	w.pass(exitGrace - time.Second)
	w.Expect(w.outside()).To(HavePrefix("1 sandboxes"))
	w.pass(time.Second)
	w.Expect(w.runner()).To(BeNil())
	w.Expect(w.outside()).To(Equal(nothing))
	w.Expect(w.events.Events).To(Receive(ContainSubstring(v1alpha1.ReasonOutlivedJob)))
}

func TestARunnerThatEndedWellWaitsForItsJobToBeTold(t *testing.T) {
	w := newWorld(t, runner.Quit)
	w.launch()
	w.Eventually(func() int { return len(w.Modal.Alive(nil)) }).Should(BeZero())
	w.pass(listInterval)
	w.Expect(w.result.RequeueAfter).To(Equal(explainWait))
	w.Expect(w.explained).To(BeNumerically(">", 0))
	w.pass(explainWait - time.Second)
	w.Expect(w.failure()).To(BeEmpty())
	w.pass(time.Second)
	w.Expect(w.failure()).To(Equal(v1alpha1.ReasonSandboxEnded))
}

// I8: while GitHub does not tell, as when it throttles, a runner that ended well has not failed. It is not kept for ever.
func TestI8_ARunnerThatEndedWellHasNotFailedWhileGitHubDoesNotTell(t *testing.T) {
	for name, tells := range map[string]bool{"until it tells": true, "or for ten minutes": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, runner.Quit)
			w.silent = true
			w.launch()
			w.Eventually(func() int { return len(w.Modal.Alive(nil)) }).Should(BeZero())
			w.pass(listInterval)
			for range 10 {
				w.pass(explainWait)
			}
			w.Expect(w.failure()).To(BeEmpty())
			if tells {
				w.silent = false
			} else {
				w.Clock.Step(explainMost)
			}
			w.pass(explainWait)
			w.Expect(w.failure()).To(Equal(v1alpha1.ReasonSandboxEnded))
		})
	}
}

// B27: every way in which a sandbox can end is told by its own reason, on the Runner, on its job, and as an event.
func TestB27_ADeathAtWorkIsExplained(t *testing.T) {
	for reason, end := range map[string]struct {
		status    pb.GenericResult_GenericStatus
		code      int32
		exception string
	}{
		v1alpha1.ReasonSandboxTimeout:        {pb.GenericResult_GENERIC_STATUS_TIMEOUT, 0, "timed out"},
		v1alpha1.ReasonSandboxTerminated:     {pb.GenericResult_GENERIC_STATUS_TERMINATED, 0, ""},
		v1alpha1.ReasonOutOfMemory:           {pb.GenericResult_GENERIC_STATUS_FAILURE, 137, "Sandbox was killed: out of memory"},
		v1alpha1.ReasonInfrastructureFailure: {pb.GenericResult_GENERIC_STATUS_INTERNAL_FAILURE, 0, "worker lost"},
		v1alpha1.ReasonSandboxInitFailed:     {pb.GenericResult_GENERIC_STATUS_INIT_FAILURE, 0, "no such file"},
		v1alpha1.ReasonRunnerVersionRefused:  {pb.GenericResult_GENERIC_STATUS_FAILURE, 7, ""},
		v1alpha1.ReasonRunnerCrashed:         {pb.GenericResult_GENERIC_STATUS_FAILURE, 1, ""},
	} {
		t.Run(reason, func(t *testing.T) {
			w := newWorld(t, "")
			w.online()
			job := w.GitHub.AddQueuedJob(repository, "build", []string{"modal"}, "sleep 60")
			w.Eventually(func() string { j, _ := w.GitHub.Job(job); return j.Status }).Should(Equal("in_progress"))
			w.Eventually(func() string { return w.Modal.Logs(w.status().SandboxID) }).Should(ContainSubstring("Running job"))
			w.storeJob(v1alpha1.JobInProgress, "")
			w.pass(listInterval)
			w.Expect(w.status().Phase).To(Equal(v1alpha1.RunnerRunning))
			w.Expect(w.Modal.Finish(w.status().SandboxID, end.status, end.code, end.exception)).To(BeTrue())
			w.pass(listInterval)
			w.Expect(w.status()).To(And(HaveField("Phase", v1alpha1.RunnerFailed), HaveField("LastFailure.Reason", reason),
				HaveField("LastFailure.Message", ContainSubstring(end.exception)), HaveField("LastFailure.Log", ContainSubstring("Running job: build"))))
			w.Expect(w.job().Status.Problem).To(HaveField("Reason", reason))
			w.Expect(w.events.Events).To(Receive(ContainSubstring(reason)))
			w.Expect(w.runner().Dead()).To(BeTrue())
			w.Expect(w.result.RequeueAfter).To(Equal(busyWait))
			// GitHub gives up the job in its own time, and with it the registration.
			w.Clock.Step(11 * time.Minute)
			w.Eventually(func() string { j, _ := w.GitHub.Job(job); return j.Conclusion }).Should(Equal("failure"))
			w.storeJob(v1alpha1.JobCompleted, "failure")
			w.pass(listInterval)
			w.Expect(w.runner()).To(BeNil())
			w.Expect(w.events.Events).NotTo(Receive(ContainSubstring(reason)), "it was told twice")
		})
	}
}

func TestTheLastWordsOfASandboxAreKeptWithoutSecrets(t *testing.T) {
	w := newWorld(t, runner.Crash)
	w.says = "MODAL_TOKEN_SECRET=hunter2hunter2"
	w.launch()
	w.Eventually(func() int { return len(w.Modal.Alive(nil)) }).Should(BeZero())
	w.pass(listInterval)
	w.Expect(w.status().LastFailure.Log).To(And(ContainSubstring("Segmentation fault"), ContainSubstring("MODAL_TOKEN_SECRET"),
		Not(ContainSubstring("hunter2"))))
}

func TestB40_ABusyRunnerIsAskedForAgainUntilItsJobIsOver(t *testing.T) {
	w := newWorld(t, "")
	w.online()
	job := w.GitHub.AddQueuedJob(repository, "build", []string{"modal"}, "sleep 60")
	w.Eventually(func() string { j, _ := w.GitHub.Job(job); return j.Status }).Should(Equal("in_progress"))
	w.delete()
	for range 4 {
		w.pass(busyWait)
		w.Expect(w.status().Phase).To(Equal(v1alpha1.RunnerTerminating))
		w.Expect(w.result.RequeueAfter).To(Equal(busyWait))
	}
	w.Expect(w.outside()).To(Equal("1 sandboxes, 1 registrations"))
	w.Expect(w.GitHub.CompleteJob(job, "success")).To(Succeed())
	w.pass(busyWait)
	w.Expect(w.runner()).To(BeNil())
	w.Expect(w.outside()).To(Equal(nothing))
}

func TestB40_ForcedDeletionEndsABusySandboxAndWaitsForGitHubButNotForEver(t *testing.T) {
	w := newWorld(t, "")
	w.online()
	job := w.GitHub.AddQueuedJob(repository, "build", []string{"modal"}, "sleep 60")
	w.Eventually(func() string { j, _ := w.GitHub.Job(job); return j.Status }).Should(Equal("in_progress"))
	r := w.runner()
	r.Annotations = map[string]string{v1alpha1.ForceDelete: "true"}
	w.Expect(w.cluster.Update(t.Context(), r)).To(Succeed())
	w.delete()
	w.reconcile()
	w.Expect(w.outside()).To(Equal("0 sandboxes, 1 registrations"))
	w.Expect(w.result.RequeueAfter).To(Equal(busyWait))
	w.Expect(w.runner().Dead()).To(BeTrue())
	w.Expect(w.events.Events).To(Receive(ContainSubstring(v1alpha1.EventForceDeleted)))
	// GitHub never gives it up.
	w.GitHub.Inject(githubsim.Fault{Method: http.MethodDelete, Status: http.StatusUnprocessableEntity})
	w.pass(forcedGrace - time.Second)
	w.Expect(w.runner()).NotTo(BeNil())
	w.pass(2 * time.Second)
	w.Expect(w.runner()).To(BeNil())
	w.Expect(w.events.Events).To(Receive(ContainSubstring(v1alpha1.EventLetGo)))
}

func TestB41_TheFinalizerLetsGoAfterTheSandboxsOwnTimeout(t *testing.T) {
	w := newWorld(t, "")
	w.online()
	launched := w.status().LaunchedAt.Time
	w.delete()
	refuse := w.Modal.Faults().Add(modalsim.Fault{Method: "SandboxWait", Code: codes.PermissionDenied})
	defer refuse.Remove()
	w.reconcile()
	w.Expect(w.result.RequeueAfter).To(BeNumerically(">=", firstRetry))
	w.Clock.SetTime(launched.Add(6*time.Hour + letGoMargin))
	w.reconcile()
	w.Expect(w.runner()).NotTo(BeNil())
	w.pass(2 * time.Second)
	w.Expect(w.runner()).To(BeNil())
	w.Expect(w.events.Events).To(Receive(ContainSubstring(v1alpha1.EventLetGo)))
}

func TestRunnersEndWithCredentialsThatAreGone(t *testing.T) {
	w := newWorld(t, "")
	w.online()
	w.Expect(w.cluster.DeleteAllOf(t.Context(), &corev1.Secret{})).To(Succeed())
	w.delete()
	w.pass(time.Minute)
	w.Expect(w.runner()).To(BeNil())
	w.Expect(w.outside()).To(Equal(nothing))
}

func TestASandboxThatIsDyingIsLookedAtAgain(t *testing.T) {
	w := newWorld(t, runner.Hang)
	w.launch()
	w.delete()
	// Modal says yes to the termination, and takes its time.
	slow := w.Modal.Faults().Add(modalsim.Fault{Method: "SandboxTerminate", Times: 1, Code: codes.NotFound})
	w.reconcile()
	w.Expect(slow.Hits()).To(Equal(1))
	w.Expect(w.result.RequeueAfter).To(Equal(dyingWait))
	w.pass(dyingWait)
	w.Expect(w.runner()).To(BeNil())
}

func TestB50_WhoeverIsThrottledComesBackWhenToldAndNotAllAtOnce(t *testing.T) {
	w := newWorld(t, "")
	w.GitHub.Inject(githubsim.Fault{Method: http.MethodPost, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"60"}}})
	w.reconcile()
	w.Expect(w.result.RequeueAfter).To(And(BeNumerically(">=", time.Minute), BeNumerically("<=", time.Minute+12*time.Second)))
	w.Expect(w.status().Conditions).To(ContainElement(HaveField("Reason", v1alpha1.ReasonThrottled)))
	asked := w.GitHub.FaultHits()[""]
	w.pass(30 * time.Second)
	w.Expect(w.GitHub.FaultHits()[""]).To(Equal(asked), "it asked while it was told to wait")
	w.GitHub.ClearFaults()
	w.Clock.Step(time.Minute)
	w.launch()
}

func TestRetriesAfterFailedCallsWaitLongerAndLonger(t *testing.T) {
	w := newWorld(t, "")
	w.GitHub.Inject(githubsim.Fault{Method: http.MethodPost, Status: http.StatusBadGateway})
	longest := time.Duration(0)
	for range 12 {
		w.pass(longest)
		w.Expect(w.result.RequeueAfter).To(And(BeNumerically(">=", firstRetry), BeNumerically("<=", 2*lastRetry)))
		longest = max(longest, w.result.RequeueAfter)
	}
	w.Expect(longest).To(BeNumerically(">=", time.Minute))
}

func TestI1_TheNextSandboxWaitsForTheOldOnesDeath(t *testing.T) {
	w := newWorld(t, runner.Hang)
	w.launch()
	lost := w.Modal.Faults().Add(modalsim.Fault{Method: "SandboxTerminate", Code: codes.NotFound})
	w.pass(5*time.Minute + listInterval)
	for range 5 {
		w.pass(listInterval)
		w.Expect(w.status().Attempt).To(BeNumerically("<=", 1))
	}
	lost.Remove()
	w.pass(listInterval)
	w.Expect(w.failure()).To(Equal(v1alpha1.ReasonStartupTimeout))
	w.pass(time.Minute)
	w.Expect(w.Modal.Peak("")).To(Equal(1))
}

// The controller died between the sandbox's creation and the storing of its ID, and the Runner was deleted meanwhile.
func TestI5_ASandboxWhoseIDWasNotStoredEndsWithItsRunner(t *testing.T) {
	w := newWorld(t, runner.Hang)
	w.launch()
	r := w.runner()
	r.Status = v1alpha1.RunnerStatus{Phase: v1alpha1.RunnerPending}
	w.Expect(w.cluster.Status().Update(t.Context(), r)).To(Succeed())
	w.delete()
	w.pass(time.Second)
	w.pass(time.Second)
	w.Expect(w.runner()).To(BeNil())
	w.Expect(w.outside()).To(Equal(nothing))
}

func TestB22_ASandboxWhoseIDWasNotStoredIsAdopted(t *testing.T) {
	w := newWorld(t, runner.Hang)
	w.launch()
	id := w.status().SandboxID
	r := w.runner()
	r.Status = v1alpha1.RunnerStatus{Phase: v1alpha1.RunnerPending}
	w.Expect(w.cluster.Status().Update(t.Context(), r)).To(Succeed())
	w.pass(time.Second)
	w.Expect(w.status().SandboxID).To(Equal(id))
	w.Expect(w.Modal.Sandboxes()).To(HaveLen(1))
	w.Expect(w.outside()).To(Equal("1 sandboxes, 1 registrations"))
}

// The same, with a job that became known in between and a sandbox that takes its time to die.
func TestI5_ABusySandboxWhoseIDWasNotStoredEndsWithItsRunner(t *testing.T) {
	w := newWorld(t, runner.Hang)
	w.launch()
	name := w.status().Name
	r := w.runner()
	r.Status = v1alpha1.RunnerStatus{Phase: v1alpha1.RunnerPending, Name: name}
	w.Expect(w.cluster.Status().Update(t.Context(), r)).To(Succeed())
	w.storeJob(v1alpha1.JobCompleted, "success")
	w.delete()
	w.Modal.Faults().Add(modalsim.Fault{Method: "SandboxTerminate", Times: 1, Code: codes.NotFound})
	w.pass(time.Second)
	w.Expect(w.status().SandboxID).NotTo(BeEmpty())
	w.pass(time.Second)
	w.Expect(w.runner()).To(BeNil())
	w.Expect(w.outside()).To(Equal(nothing))
}

// staleView is a cache that does not know the latest of a Runner.
type staleView struct {
	client.Client
	old *v1alpha1.Runner
}

func (s staleView) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	if runner, ok := object.(*v1alpha1.Runner); ok {
		s.old.DeepCopyInto(runner)
		return nil
	}
	return s.Client.Get(ctx, key, object, options...)
}

// What another leader has launched and ended meanwhile is not launched again by one whose view is behind.
func TestI1_AStaleViewLaunchesNothing(t *testing.T) {
	w := newWorld(t, "")
	old := w.runner()
	w.launch()
	w.Modal.Finish(w.status().SandboxID, pb.GenericResult_GENERIC_STATUS_SUCCESS, 0, "")
	w.Eventually(func() int { return len(w.Modal.Alive(nil)) }).Should(BeZero())
	for _, registered := range w.GitHub.Runners() {
		w.GitHub.ForgetRunner(registered.ID)
	}
	w.reconciler.Client = staleView{w.cluster, old}
	w.reconcile()
	w.Expect(w.result.RequeueAfter).To(BeNumerically(">", 0))
	w.Expect(w.outside()).To(Equal(nothing))
}

// I4: a 404 is no proof where the credentials see nothing any more.
func TestI4_ABusyRunnerIsNotKilledWhenTheCredentialsLoseTheRepository(t *testing.T) {
	w := newWorld(t, "")
	w.online()
	w.Expect(w.GitHub.TakeJob(w.GitHub.AddQueuedJob(repository, "build", []string{"nobody"}, "sleep 60"), w.status().Name)).To(Succeed())
	w.GitHub.AddTokenWith(simulated.Token, githubsim.FineGrainedToken, []string{"octo/other"}, map[string]string{"administration": "write"})
	w.delete()
	for range 5 {
		w.pass(listInterval)
	}
	w.Expect(w.Modal.Alive(nil)).To(HaveLen(1))
}

// I8: what failed is tried again when its time has come, whatever wakes the Runner before.
func TestI8_AFailedLaunchIsNotTriedAgainBeforeItsTime(t *testing.T) {
	w := newWorld(t, "")
	w.GitHub.Inject(githubsim.Fault{Method: http.MethodPost, DropAnswer: true, Kind: "lost"})
	w.GitHub.Inject(githubsim.Fault{Path: listPath, Status: http.StatusBadGateway, Kind: "list"})
	for range 5 {
		w.reconcile()
	}
	w.Expect(w.GitHub.FaultHits()["lost"]).To(Equal(1))
	w.Expect(w.result.RequeueAfter).To(BeNumerically(">", 0))
	version := w.runner().ResourceVersion
	w.reconcile()
	w.Expect(w.runner().ResourceVersion).To(Equal(version), "the status is written again and again")
	w.Clock.Step(w.result.RequeueAfter + time.Millisecond)
	w.GitHub.ClearFaults()
	w.reconcile()
	w.Expect(w.GitHub.FaultHits()["lost"]).To(Equal(1))
	w.Expect(w.result.RequeueAfter).To(BeNumerically(">", 0))
}
