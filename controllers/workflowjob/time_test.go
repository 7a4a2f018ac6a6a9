package workflowjob

import (
	"net/http"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/ingress"
	"github.com/modalrunner/modal-runner-controller/internal/lanes"
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
	pool       *v1alpha1.RunnerPool
	result     ctrl.Result
}

// newWorld of one queued job of an organization's pool.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{WithT: NewWithT(t), World: simulated.New(t, githubsim.Options{}, modalsim.Options{}), t: t}
	id := w.GitHub.AddQueuedJob(simulated.Repository, "build", []string{"modal"})
	known, _ := w.GitHub.Job(id)
	w.job = &v1alpha1.WorkflowJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "job-1", CreationTimestamp: metav1.NewTime(noon)},
		Spec:       v1alpha1.WorkflowJobSpec{PoolName: "p", ID: id, RunID: known.RunID, Repository: simulated.Repository, Labels: []string{"modal"}},
		Status:     v1alpha1.WorkflowJobStatus{State: v1alpha1.JobQueued},
	}
	w.pool = &v1alpha1.RunnerPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "p"},
		Spec: v1alpha1.RunnerPoolSpec{
			Scope:          v1alpha1.Scope{Organization: "octo"},
			RunnerTemplate: v1alpha1.RunnerTemplate{GitHub: v1alpha1.GitHub{URL: w.GitHub.URL(), SecretName: "github"}},
		},
	}
	w.cluster = w.Cluster().WithObjects(w.job, w.pool).Build()
	w.reconciler = &Reconciler{
		Client: w.cluster, Live: w.cluster, Clock: w.Clock, GitHub: w.Outside(w.cluster).GitHub,
		Recorder: &ingress.Recorder{Client: w.cluster, Live: w.cluster}, TTL: time.Hour,
		Events: events.NewFakeRecorder(100), lanes: lanes.New(1),
	}
	return w
}

func (w *world) reconcile() {
	w.t.Helper()
	var err error
	w.result, err = w.reconciler.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(w.job)})
	w.Expect(err).NotTo(HaveOccurred())
}

func (w *world) change(change func(*v1alpha1.WorkflowJob)) {
	w.t.Helper()
	change(w.job)
	w.Expect(w.cluster.Update(w.t.Context(), w.job)).To(Succeed())
}

func (w *world) state() v1alpha1.JobState {
	w.t.Helper()
	w.Expect(w.cluster.Get(w.t.Context(), client.ObjectKeyFromObject(w.job), w.job)).To(Succeed())
	return w.job.Status.State
}

// B62: an old delivery starts nothing that GitHub does not confirm.
func TestB62_AJobThatOnlyAnOldDeliveryTellsOfIsAskedFor(t *testing.T) {
	w := newWorld(t)
	w.change(func(job *v1alpha1.WorkflowJob) { job.Status.Unconfirmed = true })
	w.Expect(w.pool.Wants(w.job)).To(BeFalse())
	w.GitHub.CancelJob(w.job.Spec.ID)
	w.reconcile()
	w.Expect(w.state()).To(Equal(v1alpha1.JobCompleted))
	w.Expect(w.job.Status.Conclusion).To(Equal("cancelled"))
}

func TestB62_AJobThatGitHubConfirmsIsServed(t *testing.T) {
	w := newWorld(t)
	w.change(func(job *v1alpha1.WorkflowJob) { job.Status.Unconfirmed = true })
	w.reconcile()
	w.Expect(w.state()).To(Equal(v1alpha1.JobQueued))
	w.Expect(w.job.Status.Unconfirmed).To(BeFalse())
	w.reconcile()
	w.state()
	w.Expect(w.job.Status.HeadRepository).To(Equal(simulated.Repository))
	w.Expect(w.pool.Wants(w.job)).To(BeTrue())
}

func TestB53_AJobThatCannotBeAskedForWaitsAndIsAskedForAgain(t *testing.T) {
	w := newWorld(t)
	w.change(func(job *v1alpha1.WorkflowJob) { job.Status.Unconfirmed = true })
	w.GitHub.Inject(githubsim.Fault{Status: http.StatusBadGateway, Times: 1})
	w.reconcile()
	w.Expect(w.result.RequeueAfter).To(And(BeNumerically(">=", askAgain), BeNumerically("<=", askAgain*13/10)))
	w.state()
	w.Expect(w.job.Status.Unconfirmed).To(BeTrue())
	w.Expect(w.job.Status.Problem.Reason).To(Equal(v1alpha1.ReasonUndecided))
	w.Expect(w.job.Status.Problem.Message).To(ContainSubstring("whether the job is still queued: asking for a job: GitHub answered 502"))
	w.Clock.Step(w.result.RequeueAfter)
	w.reconcile()
	w.state()
	w.Expect(w.job.Status.Unconfirmed).To(BeFalse())
	w.reconcile()
	w.reconcile()
	w.state()
	w.Expect(w.job.Status.Problem).To(BeNil())
}

// I2, I4: of a repository that is hidden from the credentials everything is not found, which says nothing about the job.
func TestI2_AJobOfAHiddenRepositoryIsNotOver(t *testing.T) {
	for name, status := range map[string]v1alpha1.WorkflowJobStatus{
		"queued":                   {State: v1alpha1.JobQueued},
		"queued, by an old tale":   {State: v1alpha1.JobQueued, Unconfirmed: true},
		"being run, by an old one": {State: v1alpha1.JobInProgress, Unconfirmed: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.GitHub.AddTokenWith(simulated.Token, githubsim.FineGrainedToken, []string{"octo/other"},
				map[string]string{"organization_self_hosted_runners": "write", "actions": "read"})
			w.change(func(job *v1alpha1.WorkflowJob) { job.Status = status })
			w.reconcile()
			w.Expect(w.state()).To(Equal(status.State))
			w.Expect(w.job.Status.Conclusion).To(BeEmpty())
			w.Expect(w.job.Status.Problem.Reason).To(Equal(v1alpha1.ReasonUndecided))
			w.Expect(w.job.Status.Problem.Message).To(ContainSubstring("have to see octo/widgets, with the repository permission Actions (read)"))
			w.Expect(w.result.RequeueAfter).To(BeNumerically(">=", askRefused))
		})
	}
}

func TestAJobThatGitHubDoesNotKnowAnyMoreIsOver(t *testing.T) {
	for name, unconfirmed := range map[string]bool{"its run": false, "itself": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.change(func(job *v1alpha1.WorkflowJob) {
				job.Spec.ID, job.Spec.RunID, job.Status.Unconfirmed = 1, 1, unconfirmed
			})
			w.reconcile()
			w.Expect(w.state()).To(Equal(v1alpha1.JobCompleted))
			w.Expect(w.job.Status.Conclusion).To(Equal("deleted"))
		})
	}
}

// I8: the patch that says why a job waits wakes it, and so does whoever else changes it.
func TestI8_GitHubIsNotAskedAboutAJobBeforeItsTimeWhateverWakesIt(t *testing.T) {
	w := newWorld(t)
	w.GitHub.Inject(githubsim.Fault{Status: http.StatusBadGateway, Kind: "asked"})
	asked := func() int { return w.GitHub.FaultHits()["asked"] }
	w.reconcile()
	for range 10 {
		w.reconcile()
		w.Expect(w.result.RequeueAfter).To(And(BeNumerically(">=", askAgain), BeNumerically("<=", askAgain*13/10)))
	}
	w.Expect(asked()).To(Equal(1))
	w.Clock.Step(w.result.RequeueAfter)
	w.reconcile()
	w.Expect(asked()).To(Equal(2))
	w.pool.Generation++
	w.Expect(w.cluster.Update(t.Context(), w.pool)).To(Succeed())
	w.reconcile()
	w.Expect(asked()).To(Equal(3), "a pool that was changed may be mended")
}

func TestWhatIsRememberedOfAJobGoesWithIt(t *testing.T) {
	for name, end := range map[string]func(*world){
		"gone": func(w *world) { w.Expect(w.cluster.Delete(t.Context(), w.job)).To(Succeed()) },
		"over": func(w *world) { w.change(func(job *v1alpha1.WorkflowJob) { job.Status.State = v1alpha1.JobCompleted }) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.GitHub.Inject(githubsim.Fault{Status: http.StatusBadGateway})
			w.reconcile()
			w.state()
			end(w)
			w.reconcile()
			w.reconciler.notBefore.Range(func(key, _ any) bool { t.Errorf("%s is remembered", key); return true })
		})
	}
}

// I8: however many jobs meet a full lane, they come back at one pace.
func TestI8_JobsThatMeetAFullLaneComeBackOneAfterTheOther(t *testing.T) {
	w := newWorld(t)
	w.reconciler.lanes.Enter("ci/github")
	const jobs = 1000
	var last time.Duration
	for range jobs {
		w.reconcile()
		w.Expect(w.result.RequeueAfter).To(BeNumerically(">", last))
		last = w.result.RequeueAfter
	}
	w.Expect(last).To(Equal(jobs * laneWait))
	w.Clock.Step(last + time.Second)
	w.reconcile()
	w.Expect(w.result.RequeueAfter).To(Equal(laneWait))
}

func TestAJobThatAnotherRunnerTakesIsNoProblemAnyMore(t *testing.T) {
	w := newWorld(t)
	w.change(func(job *v1alpha1.WorkflowJob) { job.Spec.Public = true })
	w.reconcile()
	w.state()
	w.Expect(w.job.Status.Problem).NotTo(BeNil())
	w.change(func(job *v1alpha1.WorkflowJob) {
		job.Status.State, job.Status.RunnerName = v1alpha1.JobInProgress, "elsewhere"
	})
	w.reconcile()
	w.state()
	w.Expect(w.job.Status.Problem).To(BeNil())
	w.change(func(job *v1alpha1.WorkflowJob) {
		job.Status.Problem = &v1alpha1.JobProblem{Reason: "OutOfMemory", Message: "x"}
	})
	w.reconcile()
	w.state()
	w.Expect(w.job.Status.Problem).NotTo(BeNil(), "what went wrong with its sandbox")
}

func TestAJobOfAPublicRepositoryIsRefusedUnlessThePoolAllowsIt(t *testing.T) {
	w := newWorld(t)
	w.change(func(job *v1alpha1.WorkflowJob) { job.Spec.Public = true })
	w.reconcile()
	w.state()
	w.Expect(w.job.Status.Problem.Reason).To(Equal(v1alpha1.ReasonPublicRepository))
	w.Expect(w.job.Status.Problem.Message).To(ContainSubstring("spec.allowPublicRepositories"))
	w.Expect(w.pool.Wants(w.job)).To(BeFalse())
	w.pool.Spec.AllowPublicRepositories = true
	w.Expect(w.cluster.Update(t.Context(), w.pool)).To(Succeed())
	w.reconcile() // asks where its code comes from
	w.reconcile()
	w.state()
	w.Expect(w.job.Status.Problem).To(BeNil())
	w.Expect(w.pool.Wants(w.job)).To(BeTrue())
}

func TestAJobFromAForkIsRefusedUnlessThePoolAllowsIt(t *testing.T) {
	w := newWorld(t)
	id := w.GitHub.AddForkJob(simulated.Repository, "mallory/widgets", "build", []string{"modal"})
	w.change(func(job *v1alpha1.WorkflowJob) {
		known, _ := w.GitHub.Job(id)
		job.Spec.ID, job.Spec.RunID = id, known.RunID
	})
	w.Expect(w.pool.Wants(w.job)).To(BeFalse(), "served before it was known where it comes from")
	w.reconcile()
	w.Expect(w.state()).To(Equal(v1alpha1.JobQueued))
	w.reconcile()
	w.state()
	w.Expect(w.job.Status.HeadRepository).To(Equal("mallory/widgets"))
	w.Expect(w.job.Status.Problem.Reason).To(Equal(v1alpha1.ReasonFork))
	w.Expect(w.pool.Wants(w.job)).To(BeFalse())
	w.pool.Spec.AllowForks = true
	w.Expect(w.pool.Wants(w.job)).To(BeTrue())
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
