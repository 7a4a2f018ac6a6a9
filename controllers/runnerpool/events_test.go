package runnerpool

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	"github.com/modalrunner/modal-runner-controller/test/simulated"
)

// told are the events since it was last asked, as TYPE REASON.
func (w *world) told() []string {
	var all []string
	for {
		select {
		case event := <-w.reconciler.Events.(*events.FakeRecorder).Events:
			all = append(all, strings.Join(strings.SplitN(event, " ", 3)[:2], " "))
		default:
			return all
		}
	}
}

func TestAPoolThatStaysBrokenSaysSoOnce(t *testing.T) {
	for name, test := range map[string]struct {
		breaks, mends func(*world)
		kind, reason  string
	}{
		"a refused token": {
			func(w *world) { w.GitHub.RevokeToken(simulated.Token) },
			func(w *world) { w.GitHub.AddToken(simulated.Token, simulated.Organization) },
			v1alpha1.ConditionGitHubReady, v1alpha1.ReasonUnauthorized,
		},
		"an outage": {
			func(w *world) { w.GitHub.Inject(githubsim.Fault{Status: http.StatusBadGateway}) },
			func(w *world) { w.GitHub.ClearFaults() },
			v1alpha1.ConditionGitHubReady, v1alpha1.ReasonUnreachable,
		},
		"a build that fails": {
			func(w *world) {
				w.Modal.FailBuilds("apt-get", "E: Unable to locate package")
				w.change(func(s *v1alpha1.RunnerPoolSpec) {
					s.Image.DockerfileCommands = []v1alpha1.DockerfileCommand{"RUN apt-get install none"}
				})
			},
			func(w *world) { w.Modal.MendBuilds() },
			v1alpha1.ConditionImageReady, v1alpha1.ReasonBuildFailed,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.reconcile()
			w.Expect(w.told()).To(ContainElement("Normal " + v1alpha1.ReasonReady))
			test.breaks(w)
			for range 30 {
				w.pass(recheckGood / 2)
			}
			w.Expect(w.reason(test.kind)).To(Equal(test.reason))
			w.Expect(slices.DeleteFunc(w.told(), func(e string) bool { return e == "Normal "+v1alpha1.ReasonBuilding })).To(Equal([]string{"Warning " + test.reason}))
			test.mends(w)
			for range 10 {
				w.pass(recheckGood)
			}
			w.Expect(w.told()).To(Equal([]string{"Normal " + v1alpha1.ReasonReady}))
		})
	}
}

// B11: a pool at its limit says nothing about the jobs that wait, however many there are and however often it looks.
func TestB11_APoolAtItsLimitIsQuiet(t *testing.T) {
	w := newWorld(t)
	w.reconcile()
	w.told()
	for i := range 20 {
		w.waitingJob(fmt.Sprint("job-", i))
		w.pass(time.Second)
	}
	for range 50 {
		w.pass(time.Second)
	}
	w.Expect(w.current().Status.Queued).To(BeEquivalentTo(20))
	w.Expect(w.current().Status.Starting).To(BeEquivalentTo(3))
	w.Expect(w.told()).To(BeEmpty())
}

// waitingJob of the pool.
func (w *world) waitingJob(name string) {
	w.t.Helper()
	now := metav1.NewTime(w.Clock.Now())
	w.Expect(w.cluster.Create(w.t.Context(), &v1alpha1.WorkflowJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: name, CreationTimestamp: now},
		Spec:       v1alpha1.WorkflowJobSpec{PoolName: w.key.Name, ID: 1, Repository: simulated.Repository, Labels: []string{"modal"}},
		Status:     v1alpha1.WorkflowJobStatus{State: v1alpha1.JobQueued, HeadRepository: simulated.Repository, QueuedAt: &now},
	})).To(Succeed())
}

func TestARunnerThatTakesNoJobIsReplacedAndToldOnce(t *testing.T) {
	w := newWorld(t)
	w.reconcile()
	w.told()
	w.waitingJob("job-1")
	w.reconcile()
	key, now := types.NamespacedName{Namespace: w.key.Namespace, Name: "p-0"}, metav1.NewTime(w.Clock.Now())
	var idle v1alpha1.Runner
	w.Expect(w.cluster.Get(t.Context(), key, &idle)).To(Succeed())
	idle.Status = v1alpha1.RunnerStatus{Phase: v1alpha1.RunnerIdle, SandboxID: "sb-1", LaunchedAt: &now, OnlineAt: &now}
	w.Expect(w.cluster.Status().Update(t.Context(), &idle)).To(Succeed())
	w.pass(deafTimeout)
	for range 5 {
		w.pass(time.Second)
	}
	w.Expect(client.IgnoreNotFound(w.cluster.Get(t.Context(), key, &idle))).To(Succeed())
	w.Expect(idle.DeletionTimestamp).NotTo(BeNil())
	w.Expect(w.told()).To(Equal([]string{"Warning " + v1alpha1.ReasonRunnerDeaf}))
}

func TestWhatWaitsForAnotherConditionSaysSo(t *testing.T) {
	w := newWorld(t)
	w.GitHub.RevokeToken(simulated.Token)
	w.reconcile()
	w.Expect(w.reason(v1alpha1.ConditionImageReady)).To(Equal(v1alpha1.ReasonWaiting))
	w.Expect(w.message(v1alpha1.ConditionImageReady)).To(ContainSubstring(v1alpha1.ConditionGitHubReady))
	w.Expect(w.reason(v1alpha1.ConditionDegraded)).To(Equal(v1alpha1.ReasonAttemptsSucceed))
}

func TestAWebhookThatIsLeftIsToldOnce(t *testing.T) {
	w := newHookWorld(t)
	w.reconcile()
	w.GitHub.Inject(githubsim.Fault{Method: http.MethodDelete, Path: regexp.MustCompile("/hooks/"), Status: http.StatusBadGateway})
	w.Expect(w.cluster.Delete(t.Context(), w.pool())).To(Succeed())
	w.told()
	for range 5 {
		w.pass(time.Second)
	}
	w.Clock.SetTime(w.pool().DeletionTimestamp.Add(leaveHookAfter + time.Second))
	w.reconcile()
	w.Expect(w.told()).To(Equal([]string{"Normal " + v1alpha1.ReasonDeleting, "Warning " + v1alpha1.EventWebhookLeft}))
}

// When runners fail to start, the event Degraded says so, and no other beside it.
func TestADegradedPoolIsToldOnceAndItsRecoveryToo(t *testing.T) {
	w := newWorld(t)
	w.reconcile()
	w.told()
	before := w.current()
	after := before.DeepCopy()
	after.Status.Circuit = circuit(5, &v1alpha1.AttemptFailure{Reason: v1alpha1.ReasonSandboxEnded, Time: metav1.NewTime(w.Clock.Now())}, firstProbe)
	setDegraded(after)
	summarize(after)
	w.reconciler.announce(before, after)
	w.reconciler.announce(after, after)
	w.Expect(w.told()).To(Equal([]string{"Warning " + v1alpha1.EventDegraded}))
	w.reconciler.announce(after, before)
	w.Expect(w.told()).To(ConsistOf("Normal "+v1alpha1.ReasonReady, "Normal "+v1alpha1.EventRecovered))
}
