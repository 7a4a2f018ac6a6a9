package ingress

import (
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/lanes"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
	"github.com/modalrunner/modal-runner-controller/test/simulated"
)

// pollerWorld of one repository pool, in which time passes only when the test says so.
type pollerWorld struct {
	*WithT
	*simulated.World
	t       *testing.T
	cluster client.Client
	poller  *Poller
	lanes   *lanes.Lanes
	doubted int
}

const pollInterval = 30 * time.Second

func newPollerWorld(t *testing.T) *pollerWorld {
	t.Helper()
	w := &pollerWorld{WithT: NewWithT(t), World: simulated.New(t, githubsim.Options{}, modalsim.Options{}), t: t, lanes: lanes.New(parallelPolls)}
	w.SetDefaultEventuallyTimeout(time.Minute)
	w.cluster = w.Cluster().
		WithObjects(&v1alpha1.RunnerPool{
			ObjectMeta: metav1.ObjectMeta{Namespace: simulated.Namespace, Name: "p", UID: "u"},
			Spec: v1alpha1.RunnerPoolSpec{
				Scope: v1alpha1.Scope{Repository: simulated.Repository}, Labels: []v1alpha1.RunnerLabel{"modal"}, MaxConcurrency: 1,
				RunnerTemplate: v1alpha1.RunnerTemplate{GitHub: v1alpha1.GitHub{URL: w.GitHub.URL(), SecretName: "github"}},
			},
		}).
		WithIndex(&v1alpha1.WorkflowJob{}, jobIndex, func(o client.Object) []string { return []string{o.GetName()} }).
		WithIndex(&v1alpha1.Runner{}, runnerIndex, func(client.Object) []string { return nil }).
		Build()
	w.poller = &Poller{
		Client: w.cluster, GitHub: w.Outside(w.cluster).GitHub, Recorder: &Recorder{Client: w.cluster, Live: w.cluster}, Clock: w.Clock,
		Interval: pollInterval, Doubt: func(types.NamespacedName) { w.doubted++ },
	}
	w.poller.prepare()
	return w
}

// poll what is due after a time, and say how many queues were.
func (w *pollerWorld) poll(after time.Duration) int {
	w.Clock.Step(after)
	due := w.poller.due(w.t.Context(), w.lanes)
	for q, pools := range due {
		w.poller.pollOne(w.t.Context(), q, pools)
		w.lanes.Leave(q.lane())
	}
	return len(due)
}

func (w *pollerWorld) jobs() []v1alpha1.WorkflowJob {
	w.t.Helper()
	var jobs v1alpha1.WorkflowJobList
	w.Expect(w.cluster.List(w.t.Context(), &jobs)).To(Succeed())
	return jobs.Items
}

func TestB05_TheQueueIsPolledEveryInterval(t *testing.T) {
	w := newPollerWorld(t)
	w.Expect(w.poll(0)).To(Equal(1))
	w.GitHub.AddQueuedJob(simulated.Repository, "build", []string{"modal"})
	w.Expect(w.poll(pollInterval - time.Second)).To(BeZero())
	w.Expect(w.jobs()).To(BeEmpty())
	w.Expect(w.poll(time.Second)).To(Equal(1))
	w.Expect(w.jobs()).To(HaveLen(1))
}

func TestAPollThatIsAskedForComesSoonButNotAtOnce(t *testing.T) {
	w := newPollerWorld(t)
	w.poll(0)
	for range 100 {
		w.poller.Kick(types.NamespacedName{Namespace: simulated.Namespace, Name: "p"})
	}
	w.Expect(w.poll(kickWait - time.Millisecond)).To(BeZero())
	w.Expect(w.poll(time.Millisecond)).To(Equal(1))
	w.Expect(w.poll(time.Second)).To(BeZero())
}

func TestB50_APollThatIsThrottledWaitsAsTold(t *testing.T) {
	w := newPollerWorld(t)
	w.GitHub.Inject(githubsim.Fault{Method: http.MethodGet, Times: 1, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"300"}}})
	w.Expect(w.poll(0)).To(Equal(1))
	w.Expect(w.poll(5*time.Minute - time.Second)).To(BeZero())
	w.Expect(w.poll(2 * time.Second)).To(Equal(1))
}

func TestOnlyAPollThatWentWellTells(t *testing.T) {
	w := newPollerWorld(t)
	pool := types.NamespacedName{Namespace: simulated.Namespace, Name: "p"}
	begun := w.Clock.Now()
	w.GitHub.Inject(githubsim.Fault{Method: http.MethodGet, Times: 1, Status: http.StatusBadGateway})
	w.poll(time.Second)
	w.Expect(w.poller.Told(pool, begun)).To(BeFalse())
	w.poll(pollInterval)
	w.Expect(w.poller.Told(pool, begun)).To(BeTrue())
	w.Expect(w.poller.Told(pool, w.Clock.Now())).To(BeFalse())
}

func TestB51_ARefusedPollHasThePoolsCredentialsChecked(t *testing.T) {
	w := newPollerWorld(t)
	w.GitHub.RevokeToken(simulated.Token)
	w.poll(0)
	w.Expect(w.doubted).To(Equal(1))
}

func TestB52_AFullLaneLeavesThePollForLater(t *testing.T) {
	w := newPollerWorld(t)
	lane := simulated.Namespace + "/github"
	for range parallelPolls {
		w.lanes.Enter(lane)
	}
	w.Expect(w.poll(0)).To(BeZero())
	w.lanes.Leave(lane)
	w.Expect(w.poll(0)).To(Equal(1))
}

// I7: what a server tells one pool moves no other that asks another way: with another Secret a server may be another's.
func TestI7_APollMovesOnlyPoolsThatAskTheSameServerWithTheSameSecret(t *testing.T) {
	for name, test := range map[string]struct {
		namespace string
		change    func(*v1alpha1.GitHub)
		stored    int
	}{
		"the same":          {simulated.Namespace, func(*v1alpha1.GitHub) {}, 1},
		"another namespace": {"victim", func(*v1alpha1.GitHub) {}, 0},
		"another Secret":    {simulated.Namespace, func(g *v1alpha1.GitHub) { g.SecretName = "absent" }, 0},
		"another server": {simulated.Namespace, func(g *v1alpha1.GitHub) {
			g.URL = strings.Replace(g.URL, "http://", "https://", 1)
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newPollerWorld(t)
			w.addPool(test.namespace, "q", "gpu", test.change)
			w.GitHub.AddQueuedJob(simulated.Repository, "build", []string{"gpu"})
			w.pollAs("p")
			w.Expect(w.jobs()).To(HaveLen(test.stored))
		})
	}
}

func TestI7_APollDoesNotEndTheJobsOfAnotherNamespace(t *testing.T) {
	w := newPollerWorld(t)
	w.addPool("victim", "v", "gpu", func(*v1alpha1.GitHub) {})
	id := w.GitHub.AddQueuedJob(simulated.Repository, "build", []string{"gpu"})
	w.store("victim", "v", id, "gpu")
	w.Expect(w.GitHub.TakeJob(id, w.GitHub.AddForeignRunner(simulated.Repository, "elsewhere", "gpu"))).To(Succeed())
	w.pollAs("p")
	w.Expect(w.jobs()).To(HaveLen(1))
	w.Expect(w.jobs()[0].Status.State).To(Equal(v1alpha1.JobQueued))
}

// A job that another namespace's pool was told of, by whatever server, does not hide the one of the same ID.
func TestI7_WhatAnotherNamespaceHasStoredHidesNoJob(t *testing.T) {
	for name, pool := range map[string]string{"of a pool": "t", "of a pool that is gone": "gone"} {
		t.Run(name, func(t *testing.T) {
			w := newPollerWorld(t)
			w.addPool("a-tenant", "t", "gpu", func(*v1alpha1.GitHub) {})
			id := w.GitHub.AddQueuedJob(simulated.Repository, "build", []string{"modal"})
			w.store("a-tenant", pool, id, "gpu")
			w.pollAs("p")
			w.Expect(w.jobs()).To(ContainElement(HaveField("ObjectMeta.Namespace", simulated.Namespace)))
		})
	}
}

func (w *pollerWorld) addPool(namespace, name string, label v1alpha1.RunnerLabel, change func(*v1alpha1.GitHub)) {
	w.t.Helper()
	pool := &v1alpha1.RunnerPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(name)},
		Spec: v1alpha1.RunnerPoolSpec{
			Scope: v1alpha1.Scope{Repository: simulated.Repository}, Labels: []v1alpha1.RunnerLabel{label}, MaxConcurrency: 1,
			RunnerTemplate: v1alpha1.RunnerTemplate{GitHub: v1alpha1.GitHub{URL: w.GitHub.URL(), SecretName: "github"}},
		},
	}
	change(&pool.Spec.GitHub)
	w.Expect(w.cluster.Create(w.t.Context(), pool)).To(Succeed())
}

// store a queued job of a pool.
func (w *pollerWorld) store(namespace, pool string, id int64, label string) {
	w.t.Helper()
	w.Expect(w.cluster.Create(w.t.Context(), &v1alpha1.WorkflowJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: objectName(w.GitHub.URL(), id), Labels: map[string]string{v1alpha1.PoolLabel: pool}},
		Spec:       v1alpha1.WorkflowJobSpec{PoolName: pool, ID: id, Repository: simulated.Repository, Labels: []string{label}},
		Status:     v1alpha1.WorkflowJobStatus{State: v1alpha1.JobQueued},
	})).To(Succeed())
}

// pollAs one pool alone.
func (w *pollerWorld) pollAs(name string) {
	w.t.Helper()
	pool := w.thePool(name)
	w.Expect(w.poller.poll(w.t.Context(), queueOf(pool), []v1alpha1.RunnerPool{*pool})).To(Succeed())
}

func (w *pollerWorld) thePool(name string) *v1alpha1.RunnerPool {
	w.t.Helper()
	var pool v1alpha1.RunnerPool
	w.Expect(w.cluster.Get(w.t.Context(), types.NamespacedName{Namespace: simulated.Namespace, Name: name}, &pool)).To(Succeed())
	return &pool
}
