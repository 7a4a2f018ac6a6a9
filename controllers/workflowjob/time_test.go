package workflowjob

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/ingress"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
	"github.com/modalrunner/modal-runner-controller/test/simulated"
)

var noon = simulated.Noon

type world struct {
	*WithT
	*simulated.World
	t          *testing.T
	cluster    client.Client
	reconciler *Reconciler
	job        *v1alpha1.WorkflowJob
	result     ctrl.Result
}

// newWorld of one job of an organization's pool, of which nothing is heard.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{WithT: NewWithT(t), World: simulated.New(t, githubsim.Options{}, modalsim.Options{}), t: t}
	id := w.GitHub.AddQueuedJob(simulated.Repository, "build", []string{"modal"})
	w.job = &v1alpha1.WorkflowJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "job-1", CreationTimestamp: metav1.NewTime(noon)},
		Spec:       v1alpha1.WorkflowJobSpec{PoolName: "p", ID: id, Repository: simulated.Repository, Labels: []string{"modal"}},
		Status:     v1alpha1.WorkflowJobStatus{State: v1alpha1.JobQueued},
	}
	w.cluster = w.Cluster().WithObjects(w.job,
		&v1alpha1.RunnerPool{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "p"},
			Spec: v1alpha1.RunnerPoolSpec{Scope: v1alpha1.Scope{Organization: "octo"},
				RunnerTemplate: v1alpha1.RunnerTemplate{GitHub: v1alpha1.GitHub{URL: w.GitHub.URL(), SecretName: "github"}}},
		},
	).Build()
	w.reconciler = &Reconciler{
		Client: w.cluster, Clock: w.Clock, GitHub: w.Outside(w.cluster).GitHub,
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
	w.GitHub.CancelJob(w.job.Spec.ID)
	w.reconcile()
	w.Expect(w.result.RequeueAfter).To(And(BeNumerically(">=", confirmEvery), BeNumerically("<=", confirmEvery*13/10)))
	w.Clock.Step(confirmEvery - time.Second)
	w.reconcile()
	w.Expect(w.state()).To(Equal(v1alpha1.JobQueued))
	w.Clock.Step(time.Second)
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
	w.Clock.Step(time.Hour - time.Second)
	w.reconcile()
	w.Expect(w.state()).To(Equal(v1alpha1.JobCompleted))
	w.Clock.Step(time.Second)
	w.reconcile()
	err := w.cluster.Get(t.Context(), client.ObjectKeyFromObject(w.job), w.job)
	w.Expect(apierrors.IsNotFound(err)).To(BeTrue())
}
