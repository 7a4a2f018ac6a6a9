package runnerpool

import (
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/cost"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
	"github.com/modalrunner/modal-runner-controller/test/simulated"
)

// world of one pool, in which time passes only when the test says so.
type world struct {
	*WithT
	*simulated.World
	t          *testing.T
	cluster    client.Client
	reconciler *Reconciler
	key        types.NamespacedName
	result     ctrl.Result
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		WithT: NewWithT(t), World: simulated.New(t, githubsim.Options{}, modalsim.Options{}), t: t,
		key: types.NamespacedName{Namespace: simulated.Namespace, Name: "p"},
	}
	pool := &v1alpha1.RunnerPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "p", UID: "u", Generation: 1},
		Spec: v1alpha1.RunnerPoolSpec{
			Scope: v1alpha1.Scope{Repository: simulated.Repository}, Labels: []v1alpha1.RunnerLabel{"modal"}, MaxConcurrency: 3,
			RunnerTemplate: v1alpha1.RunnerTemplate{
				GitHub:  v1alpha1.GitHub{URL: w.GitHub.URL(), SecretName: "github"},
				Modal:   v1alpha1.Modal{App: "test", SecretName: "modal"},
				Image:   v1alpha1.Image{Base: "ubuntu:24.04", RunnerVersion: v1alpha1.RunnerVersionLatest},
				Sandbox: v1alpha1.Sandbox{CPU: resource.MustParse("1"), Memory: resource.MustParse("1Gi"), Timeout: metav1.Duration{Duration: 6 * time.Hour}},
			},
		},
	}
	byPool := func(o client.Object) []string {
		if r, ok := o.(*v1alpha1.Runner); ok {
			return []string{r.Spec.PoolName}
		}
		return []string{o.(*v1alpha1.WorkflowJob).Spec.PoolName}
	}
	w.cluster = w.Cluster().WithObjects(pool).
		WithIndex(&v1alpha1.Runner{}, poolIndex, byPool).WithIndex(&v1alpha1.WorkflowJob{}, poolIndex, byPool).Build()
	w.reconciler = &Reconciler{
		Client: w.cluster, Live: w.cluster, Outside: w.Outside(w.cluster), Clock: w.Clock, Events: events.NewFakeRecorder(1000), Installation: "0123abcd",
		Secrets: credentials.NewStore(w.cluster, w.Clock, time.Second), WebhookURL: "https://runners.example.com",
		Ledger: cost.NewLedger(cost.Published()),
	}
	w.reconciler.prepare()
	return w
}

// reconcile until what was begun in the background has ended.
func (w *world) reconcile() {
	w.t.Helper()
	for {
		var err error
		w.result, err = w.reconciler.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: w.key})
		w.Expect(err).NotTo(HaveOccurred())
		if w.result.RequeueAfter == time.Millisecond {
			// It goes on at once with what it has stored.
			continue
		}
		if !w.busy() {
			select {
			case <-w.reconciler.wake:
				continue
			default:
				return
			}
		}
		select {
		case <-w.reconciler.wake:
		case <-time.After(20 * time.Second):
			w.t.Fatal("what was begun in the background does not end")
		}
	}
}

// busy says whether a check, a build or a question is under way.
func (w *world) busy() bool {
	r := w.reconciler
	r.checks.mu.Lock()
	defer r.checks.mu.Unlock()
	for _, c := range r.checks.last[w.key] {
		if c.running {
			return true
		}
	}
	r.images.mu.Lock()
	defer r.images.mu.Unlock()
	for _, known := range r.images.releases {
		if known.asking {
			return true
		}
	}
	b := r.images.builds[r.images.of[w.key]]
	return b != nil && b.running
}

func (w *world) pass(d time.Duration) {
	w.t.Helper()
	w.Clock.Step(d)
	w.reconcile()
}

func (w *world) reason(kind string) string {
	w.t.Helper()
	var pool v1alpha1.RunnerPool
	w.Expect(w.cluster.Get(w.t.Context(), w.key, &pool)).To(Succeed())
	c := meta.FindStatusCondition(pool.Status.Conditions, kind)
	w.Expect(c).NotTo(BeNil(), kind)
	return c.Reason
}

// asked is how often GitHub was asked for what is at a path.
func (w *world) asked(path string) int {
	count := 0
	for request, n := range w.GitHub.Requests() {
		if strings.Contains(request, path+" ") {
			count += n
		}
	}
	return count
}

func TestAccessThatWorksIsCheckedAgainNowAndThen(t *testing.T) {
	w := newWorld(t)
	w.reconcile()
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonReady))
	w.Expect(w.asked("/actions/runners")).To(Equal(1))
	w.Expect(w.result.RequeueAfter).To(Equal(recheckGood))
	w.pass(recheckGood - time.Second)
	w.Expect(w.asked("/actions/runners")).To(Equal(1))
	w.pass(time.Second)
	w.Expect(w.asked("/actions/runners")).To(Equal(2))
}

func TestB51_AccessThatIsRefusedIsCheckedAgainSoon(t *testing.T) {
	w := newWorld(t)
	w.reconcile()
	w.GitHub.RevokeToken(simulated.Token)
	w.pass(recheckGood)
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonUnauthorized))
	w.Expect(w.result.RequeueAfter).To(Equal(recheckBad))
	w.GitHub.AddToken(simulated.Token, simulated.Organization)
	w.pass(recheckBad - time.Second)
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonUnauthorized))
	w.pass(time.Second)
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonReady))
}

func TestAnAnswerOrTwoThatAreLostAreNoOutage(t *testing.T) {
	w := newWorld(t)
	w.reconcile()
	w.GitHub.Inject(githubsim.Fault{Method: http.MethodGet, Status: http.StatusBadGateway})
	w.pass(recheckGood)
	for range toleratedFailures {
		w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonReady))
		w.pass(recheckBad)
	}
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonUnreachable))
	w.GitHub.ClearFaults()
	w.pass(recheckBad)
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonReady))
}

func TestB29_ABuildThatFailsIsTriedAgainAfterLongerAndLongerWaits(t *testing.T) {
	w := newWorld(t)
	w.Modal.FailBuilds("actions-runner", "E: Unable to locate package")
	w.reconcile()
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonBuildFailed))
	wait := firstRebuild
	for range 7 {
		tried := w.Modal.CallCount("ImageGetOrCreate")
		w.pass(wait - time.Second)
		w.Expect(w.Modal.CallCount("ImageGetOrCreate")).To(Equal(tried), "within %v", wait)
		w.pass(time.Second)
		w.Expect(w.Modal.CallCount("ImageGetOrCreate")).To(BeNumerically(">", tried), "after %v", wait)
		wait = min(2*wait, lastRebuild)
	}
	w.Modal.MendBuilds()
	w.pass(wait)
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonReady))
}

func TestTheLatestRunnerVersionIsAskedForEveryHour(t *testing.T) {
	w := newWorld(t)
	w.reconcile()
	w.Expect(w.asked("/downloads")).To(Equal(1))
	w.pass(refreshRelease - time.Second)
	w.Expect(w.asked("/downloads")).To(Equal(1))
	w.pass(time.Second)
	w.Expect(w.asked("/downloads")).To(Equal(2))
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonReady))
}

func TestAnIdleRunnerGoesAfterItsTimeoutAndAnOldOneIsReplaced(t *testing.T) {
	for name, test := range map[string]struct {
		minIdle int32
		after   time.Duration
	}{
		"idleTimeout":           {0, time.Minute},
		"half the sandbox life": {1, 3 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var pool v1alpha1.RunnerPool
			w.Expect(w.cluster.Get(t.Context(), w.key, &pool)).To(Succeed())
			pool.Spec.MinIdle, pool.Spec.IdleTimeout = test.minIdle, metav1.Duration{Duration: time.Minute}
			w.Expect(w.cluster.Update(t.Context(), &pool)).To(Succeed())
			begun := metav1.NewTime(noon)
			w.Expect(w.cluster.Create(t.Context(), &v1alpha1.Runner{
				ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "p-0", CreationTimestamp: begun},
				Spec: v1alpha1.RunnerSpec{PoolName: "p", Scope: pool.Spec.Scope, Labels: v1alpha1.RunnerLabels(pool.Spec.Labels),
					RunnerTemplate: pool.Spec.RunnerTemplate},
			})).To(Succeed())
			var idle v1alpha1.Runner
			key := types.NamespacedName{Namespace: "ci", Name: "p-0"}
			w.Expect(w.cluster.Get(t.Context(), key, &idle)).To(Succeed())
			idle.Status = v1alpha1.RunnerStatus{Phase: v1alpha1.RunnerIdle, SandboxID: "sb-1", LaunchedAt: &begun, OnlineAt: &begun}
			w.Expect(w.cluster.Status().Update(t.Context(), &idle)).To(Succeed())
			w.reconcile()
			w.pass(test.after - time.Second)
			w.Expect(w.cluster.Get(t.Context(), key, &idle)).To(Succeed())
			w.Expect(w.result.RequeueAfter).To(BeNumerically("<=", time.Second))
			w.pass(time.Second)
			w.Expect(client.IgnoreNotFound(w.cluster.Get(t.Context(), key, &idle))).To(Succeed())
			w.Expect(w.cluster.Get(t.Context(), key, &idle)).NotTo(Succeed())
		})
	}
}
