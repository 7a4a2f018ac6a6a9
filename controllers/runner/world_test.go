package runner

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/cost"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
	"github.com/modalrunner/modal-runner-controller/simulators/runner"
	"github.com/modalrunner/modal-runner-controller/test/simulated"
)

const (
	repository   = simulated.Repository
	listInterval = simulated.ListInterval
)

var noon = simulated.Noon

// world of one Runner, in which time passes only when the test says so.
type world struct {
	*WithT
	*simulated.World
	t          *testing.T
	cluster    client.Client
	reconciler *Reconciler
	events     *events.FakeRecorder
	key        types.NamespacedName
	// behaviour of the next runner program.
	behaviour runner.Behaviour
	// says is what it writes beside its own words.
	says      string
	explained int
	// silent says that GitHub does not tell of the pool's jobs.
	silent bool
	result ctrl.Result
}

func newWorld(t *testing.T, behaviour runner.Behaviour) *world {
	t.Helper()
	w := &world{
		WithT: NewWithT(t), t: t, behaviour: behaviour,
		key: types.NamespacedName{Namespace: simulated.Namespace, Name: "p-0"}, events: events.NewFakeRecorder(1000),
	}
	w.SetDefaultEventuallyTimeout(10 * time.Second)
	w.World = simulated.New(t, githubsim.Options{OfflineAfter: 10 * time.Second}, modalsim.Options{
		Run: func(ctx context.Context, c modalsim.Container) int {
			_, _ = fmt.Fprintln(c.Stdout, w.says)
			return runner.Run(ctx, runner.Config{Env: c.Env, Stdout: c.Stdout, Behaviour: w.behaviour})
		},
	})
	w.cluster = w.Cluster().
		WithIndex(&v1alpha1.Runner{}, namesIndex, func(o client.Object) []string { return names(o.(*v1alpha1.Runner)) }).
		WithIndex(&v1alpha1.WorkflowJob{}, runnerNameIndex, func(o client.Object) []string {
			return []string{o.(*v1alpha1.WorkflowJob).Status.RunnerName}
		}).
		Build()
	w.reconciler = &Reconciler{
		Client: w.cluster, Live: w.cluster, Outside: w.Outside(w.cluster), Clock: w.Clock, Events: w.events,
		Secrets: credentials.NewStore(w.cluster, w.Clock, time.Second), Ledger: cost.NewLedger(cost.Published()),
		Explain: func(types.NamespacedName) { w.explained++ },
		Told:    func(types.NamespacedName, time.Time) bool { return !w.silent },
	}
	w.reconciler.prepare(8)
	w.createPool(w.reconciler.Sandboxes)
	return w
}

// createPool with an image, and the one Runner that the tests are about.
func (w *world) createPool(providers sandbox.Providers) {
	template := v1alpha1.RunnerTemplate{
		GitHub: v1alpha1.GitHub{URL: w.GitHub.URL(), SecretName: "github"},
		Modal:  v1alpha1.Modal{App: "test", SecretName: "modal"},
		Image:  v1alpha1.Image{Base: "ubuntu:24.04", RunnerVersion: v1alpha1.RunnerVersionLatest},
		Sandbox: v1alpha1.Sandbox{CPU: resource.MustParse("1"), Memory: resource.MustParse("1Gi"),
			Timeout: metav1.Duration{Duration: 6 * time.Hour}},
		StartupTimeout: metav1.Duration{Duration: 5 * time.Minute}, IdleTimeout: metav1.Duration{Duration: time.Minute},
	}
	provider, err := providers.For(w.t.Context(), "ci", template.Modal)
	w.Expect(err).NotTo(HaveOccurred())
	image, err := provider.BuildImage(w.t.Context(), sandbox.RecipeFor(&template, github.PinnedRelease("2.330.0", strings.Repeat("a", 64))))
	w.Expect(err).NotTo(HaveOccurred())
	pool := &v1alpha1.RunnerPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "p"},
		Spec:       v1alpha1.RunnerPoolSpec{Scope: v1alpha1.Scope{Repository: repository}, Labels: []v1alpha1.RunnerLabel{"modal"}, MaxConcurrency: 1, RunnerTemplate: template},
	}
	w.create(pool)
	for _, kind := range []string{v1alpha1.ConditionGitHubReady, v1alpha1.ConditionModalReady, v1alpha1.ConditionTemplateReady, v1alpha1.ConditionImageReady} {
		pool.Status.Conditions = append(pool.Status.Conditions, metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady})
	}
	pool.Status.Image = &v1alpha1.ImageStatus{ID: image, Command: sandbox.RunnerCommand(template.Image), Modal: template.Modal}
	w.Expect(w.cluster.Status().Update(w.t.Context(), pool)).To(Succeed())
	w.create(&v1alpha1.Runner{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ci", Name: "p-0", UID: "0f2c8a52-1b2c-4d5e-8f90-a1b2c3d4e5f6", CreationTimestamp: metav1.NewTime(noon),
			Labels: map[string]string{v1alpha1.PoolLabel: "p"}, Finalizers: []string{v1alpha1.RunnerFinalizer},
		},
		Spec: v1alpha1.RunnerSpec{
			PoolName: "p", Installation: "0123abcd", Scope: pool.Spec.Scope, Labels: v1alpha1.RunnerLabels(pool.Spec.Labels), RunnerTemplate: template,
		},
	})
}

func (w *world) create(object client.Object) {
	w.t.Helper()
	w.Expect(w.cluster.Create(w.t.Context(), object)).To(Succeed())
}

// reconcile the Runner once.
func (w *world) reconcile() {
	w.t.Helper()
	var err error
	w.result, err = w.reconciler.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: w.key})
	w.Expect(err).NotTo(HaveOccurred())
}

// pass lets time pass, has the lists made that are due, and reconciles.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	w.Clock.Step(d)
	w.reconciler.Registrations.Refresh(w.t.Context())
	w.reconciler.SandboxLists.Refresh(w.t.Context())
	w.reconcile()
}

// runner as it is stored, nil when it is gone or nothing but the object is left.
func (w *world) runner() *v1alpha1.Runner {
	w.t.Helper()
	var r v1alpha1.Runner
	if err := w.cluster.Get(w.t.Context(), w.key, &r); apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		w.t.Fatal(err)
	}
	if r.Done() {
		// Its pool removes it.
		return nil
	}
	return &r
}

func (w *world) status() v1alpha1.RunnerStatus {
	w.t.Helper()
	r := w.runner()
	w.Expect(r).NotTo(BeNil(), "the Runner is gone")
	return r.Status
}

// failure is the reason of the latest failed attempt.
func (w *world) failure() string {
	if failed := w.status().LastFailure; failed != nil {
		return failed.Reason
	}
	return ""
}

// launch the Runner, and wait until its program is as far as it comes by itself.
func (w *world) launch() {
	w.t.Helper()
	w.reconcile()
	w.Expect(w.status().Phase).To(Equal(v1alpha1.RunnerStarting))
}

// online brings the runner online, as the next list tells.
func (w *world) online() {
	w.t.Helper()
	w.launch()
	w.Eventually(func() bool { return w.GitHub.Runners()[0].Listening }).Should(BeTrue())
	w.pass(listInterval)
	w.Expect(w.status().Phase).To(Equal(v1alpha1.RunnerIdle))
}

// storeJob as ingress would after a sighting.
func (w *world) storeJob(state v1alpha1.JobState, conclusion string) {
	w.t.Helper()
	now := metav1.NewTime(w.Clock.Now())
	job := &v1alpha1.WorkflowJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "job-1"},
		Spec:       v1alpha1.WorkflowJobSpec{PoolName: "p", ID: 1, Repository: repository, Name: "build", Labels: []string{"modal"}},
	}
	err := w.cluster.Get(w.t.Context(), client.ObjectKeyFromObject(job), job)
	job.Status.State, job.Status.Conclusion, job.Status.RunnerName = state, conclusion, w.status().Name
	if state == v1alpha1.JobCompleted {
		job.Status.CompletedAt = &now
	}
	if err != nil {
		w.create(job)
		return
	}
	w.Expect(w.cluster.Update(w.t.Context(), job)).To(Succeed())
}

func (w *world) job() v1alpha1.WorkflowJob {
	w.t.Helper()
	var job v1alpha1.WorkflowJob
	w.Expect(w.cluster.Get(w.t.Context(), types.NamespacedName{Namespace: "ci", Name: "job-1"}, &job)).To(Succeed())
	return job
}

func (w *world) delete() {
	w.t.Helper()
	w.Expect(w.cluster.Delete(w.t.Context(), w.runner())).To(Succeed())
}

// outside says how many sandboxes and registrations there are.
func (w *world) outside() string {
	return fmt.Sprintf("%d sandboxes, %d registrations", len(w.Modal.Alive(nil)), len(w.GitHub.Runners()))
}

const nothing = "0 sandboxes, 0 registrations"
