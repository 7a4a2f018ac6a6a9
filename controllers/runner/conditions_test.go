package runner

import (
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"google.golang.org/grpc/codes"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
	"github.com/modalrunner/modal-runner-controller/simulators/runner"
)

// expectCondition of the Runner, which says what it says about the Runner as it is.
func (w *world) expectCondition(kind string, status metav1.ConditionStatus, reason, says string) {
	w.t.Helper()
	c := meta.FindStatusCondition(w.status().Conditions, kind)
	w.Expect(c).NotTo(BeNil(), kind)
	w.Expect(*c).To(And(HaveField("Status", status), HaveField("Reason", reason), HaveField("Message", ContainSubstring(says)),
		HaveField("ObservedGeneration", w.runner().Generation)))
}

// told is how many events of a reason there were since it was last asked.
func (w *world) told(reason string) int {
	count := 0
	for {
		select {
		case event := <-w.events.Events:
			if kind, of := eventReason(event); kind != "" && of == reason {
				count++
			}
		default:
			return count
		}
	}
}

func TestTheConditionsFollowARunnersLife(t *testing.T) {
	w := newWorld(t, "")
	var pool v1alpha1.RunnerPool
	w.Expect(w.cluster.Get(t.Context(), types.NamespacedName{Namespace: "ci", Name: "p"}, &pool)).To(Succeed())
	pool.Spec.Suspend = true
	w.Expect(w.cluster.Update(t.Context(), &pool)).To(Succeed())
	w.reconcile()
	w.expectCondition(v1alpha1.ConditionLaunched, metav1.ConditionFalse, v1alpha1.ReasonPoolNotReady, "suspended")
	pool.Spec.Suspend = false
	w.Expect(w.cluster.Update(t.Context(), &pool)).To(Succeed())
	w.launch()
	w.expectCondition(v1alpha1.ConditionLaunched, metav1.ConditionTrue, v1alpha1.ReasonLaunched, "sandbox")
	w.expectCondition(v1alpha1.ConditionOnline, metav1.ConditionFalse, v1alpha1.ReasonStarting, "not online yet")
	w.Eventually(func() bool { return w.GitHub.Runners()[0].Listening }).Should(BeTrue())
	w.pass(listInterval)
	w.expectCondition(v1alpha1.ConditionOnline, metav1.ConditionTrue, v1alpha1.ReasonOnline, "online")
}

func TestASandboxThatModalHasLostIsReplacedAfterAWait(t *testing.T) {
	w := newWorld(t, runner.Hang)
	w.launch()
	lost := w.status().SandboxID
	w.Modal.Faults().Add(modalsim.Fault{Method: "SandboxWait", Code: codes.NotFound, Message: "no such sandbox"})
	w.Modal.Faults().Add(modalsim.Fault{Method: "SandboxTerminate", Code: codes.NotFound})
	w.Modal.FinishOutOfMemory(lost)
	w.pass(2 * listInterval)
	w.Expect(w.failure()).To(Equal(v1alpha1.ReasonSandboxLost))
	w.expectCondition(v1alpha1.ConditionLaunched, metav1.ConditionFalse, v1alpha1.ReasonBackoff, "the next starts at")
	w.expectCondition(v1alpha1.ConditionOnline, metav1.ConditionFalse, v1alpha1.ReasonSandboxLost, "does not know")
	w.Expect(w.told(v1alpha1.ReasonSandboxLost)).To(Equal(1))
}

// What hangs is told once, however often its end has to be tried.
func TestARunnerThatHangsIsToldOnce(t *testing.T) {
	w := newWorld(t, "")
	w.online()
	w.storeJob(v1alpha1.JobCompleted, "success")
	w.reconcile()
	w.GitHub.Inject(githubsim.Fault{Kind: "down", Method: http.MethodDelete, Status: http.StatusBadGateway})
	for range 8 {
		w.pass(exitGrace)
	}
	w.Expect(w.GitHub.FaultHits()["down"]).To(BeNumerically(">", 2), "its end was not tried again")
	w.Expect(w.told(v1alpha1.ReasonOutlivedJob)).To(Equal(1))
	w.GitHub.ClearFaults()
	w.pass(10 * time.Minute)
	w.Expect(w.runner()).To(BeNil())
	w.Expect(w.told(v1alpha1.ReasonOutlivedJob)).To(BeZero())
}

// A Runner that waits for its pool, pass after pass, tells nothing.
func TestARunnerThatWaitsIsQuiet(t *testing.T) {
	w := newWorld(t, "")
	w.GitHub.RevokeToken("token")
	for range 20 {
		w.pass(time.Minute)
	}
	w.expectCondition(v1alpha1.ConditionLaunched, metav1.ConditionFalse, v1alpha1.ReasonUnauthorized, "Bad credentials")
	w.Expect(w.events.Events).NotTo(Receive())
}

// eventReason takes the type and the reason out of what the fake recorder writes, TYPE REASON NOTE.
func eventReason(event string) (kind, reason string) {
	words := strings.SplitN(event, " ", 3)
	if len(words) < 3 {
		return "", ""
	}
	return words[0], words[1]
}
