package workflowjob

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/ingress"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

type world struct {
	*WithT
	t          *testing.T
	clock      *clocktesting.FakeClock
	github     *githubsim.Server
	cluster    client.Client
	reconciler *Reconciler
	job        *v1alpha1.WorkflowJob
	result     ctrl.Result
}

// newWorld of one job of an organization's pool, of which nothing is heard.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{WithT: NewWithT(t), t: t, clock: clocktesting.NewFakeClock(noon)}
	w.github = githubsim.New(githubsim.Options{Clock: w.clock})
	w.Expect(w.github.Start("127.0.0.1:0")).To(Succeed())
	t.Cleanup(w.github.Close)
	w.github.AddRepository("octo/widgets", true)
	w.github.AddToken("token", "octo")
	scheme := runtime.NewScheme()
	w.Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	w.Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	id := w.github.AddQueuedJob("octo/widgets", "build", []string{"modal"})
	w.job = &v1alpha1.WorkflowJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "job-1", CreationTimestamp: metav1.NewTime(noon)},
		Spec:       v1alpha1.WorkflowJobSpec{PoolName: "p", ID: id, Repository: "octo/widgets", Labels: []string{"modal"}},
		Status:     v1alpha1.WorkflowJobStatus{State: v1alpha1.JobQueued},
	}
	w.cluster = fake.NewClientBuilder().WithScheme(scheme).WithObjects(w.job,
		&v1alpha1.RunnerPool{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "p"},
			Spec: v1alpha1.RunnerPoolSpec{Scope: v1alpha1.Scope{Organization: "octo"},
				RunnerTemplate: v1alpha1.RunnerTemplate{GitHub: v1alpha1.GitHub{URL: w.github.URL(), SecretName: "github"}}},
		},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "github"}, Data: map[string][]byte{"github_token": []byte("token")}},
	).Build()
	secrets := credentials.NewStore(w.cluster, w.clock, time.Second)
	w.reconciler = &Reconciler{
		Client: w.cluster, Clock: w.clock, GitHub: github.NewClients(secrets, w.clock, github.NewTransport()),
		Recorder: &ingress.Recorder{Client: w.cluster, Live: w.cluster}, TTL: time.Hour,
	}
	return w
}

func (w *world) reconcile() {
	w.t.Helper()
	var err error
	w.result, err = w.reconciler.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(w.job)})
	w.Expect(err).NotTo(HaveOccurred())
}

func (w *world) state() v1alpha1.JobState {
	w.t.Helper()
	w.Expect(w.cluster.Get(w.t.Context(), client.ObjectKeyFromObject(w.job), w.job)).To(Succeed())
	return w.job.Status.State
}

func TestAJobOfWhichNothingIsHeardIsAskedForAfterAWhile(t *testing.T) {
	w := newWorld(t)
	w.github.CancelJob(w.job.Spec.ID)
	w.reconcile()
	w.Expect(w.result.RequeueAfter).To(And(BeNumerically(">=", confirmEvery), BeNumerically("<=", confirmEvery*13/10)))
	w.clock.Step(confirmEvery - time.Second)
	w.reconcile()
	w.Expect(w.state()).To(Equal(v1alpha1.JobQueued))
	w.clock.Step(time.Second)
	w.reconcile()
	w.Expect(w.state()).To(Equal(v1alpha1.JobCompleted))
	w.Expect(w.job.Status.Conclusion).To(Equal("cancelled"))
}

func TestAJobThatIsOverIsRemovedAfterTheTTL(t *testing.T) {
	w := newWorld(t)
	over := metav1.NewTime(noon)
	w.job.Status = v1alpha1.WorkflowJobStatus{State: v1alpha1.JobCompleted, CompletedAt: &over}
	w.Expect(w.cluster.Update(t.Context(), w.job)).To(Succeed())
	w.reconcile()
	w.Expect(w.result.RequeueAfter).To(Equal(time.Hour))
	w.clock.Step(time.Hour - time.Second)
	w.reconcile()
	w.Expect(w.state()).To(Equal(v1alpha1.JobCompleted))
	w.clock.Step(time.Second)
	w.reconcile()
	err := w.cluster.Get(t.Context(), client.ObjectKeyFromObject(w.job), w.job)
	w.Expect(apierrors.IsNotFound(err)).To(BeTrue())
}
