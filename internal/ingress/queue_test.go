package ingress

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	"github.com/modalrunner/modal-runner-controller/test/simulated"
)

// wide makes the world's pool one of the organization, of which these repositories were pushed to, the first one last.
func (w *pollerWorld) wide(repositories int, change ...func(*v1alpha1.RunnerPoolSpec)) {
	w.t.Helper()
	var pools v1alpha1.RunnerPoolList
	w.Expect(w.cluster.List(w.t.Context(), &pools)).To(Succeed())
	pool := &pools.Items[0]
	pool.Spec.Scope = v1alpha1.Scope{Organization: simulated.Organization}
	for _, c := range change {
		c(&pool.Spec)
	}
	w.Expect(w.cluster.Update(w.t.Context(), pool)).To(Succeed())
	w.GitHub.ChangeRepository(simulated.Repository, func(r *githubsim.Repository) { r.PushedAt = w.Clock.Now().Add(-365 * 24 * time.Hour) })
	for i := range repositories {
		name := fmt.Sprintf("octo/r%d", i)
		w.GitHub.AddRepository(name, true)
		w.GitHub.ChangeRepository(name, func(r *githubsim.Repository) { r.PushedAt = w.Clock.Now().Add(-time.Duration(i) * time.Hour) })
	}
}

// asked is how often runs were asked for.
func (w *pollerWorld) asked() int {
	count := 0
	for request, n := range w.GitHub.Requests() {
		if strings.Contains(request, "/actions/runs ") {
			count += n
		}
	}
	return count
}

func TestB05_AnOrganizationsJobsAreFoundWithoutAWebhook(t *testing.T) {
	w := newPollerWorld(t)
	w.wide(60)
	// One of the repositories that were pushed to last, and two whose turn comes.
	for _, repository := range []string{"octo/r3", "octo/r30", "octo/r59"} {
		w.GitHub.AddQueuedJob(repository, "build", []string{"modal"})
		w.GitHub.ChangeRepository(repository, func(r *githubsim.Repository) {
			var i int
			_, _ = fmt.Sscanf(repository, "octo/r%d", &i)
			r.PushedAt = w.Clock.Now().Add(-time.Duration(i) * time.Hour)
		})
	}
	w.poll(0)
	w.Expect(w.jobs()).To(HaveLen(1))
	for range 5 {
		w.poll(pollInterval)
	}
	w.Expect(w.jobs()).To(HaveLen(3))
}

func TestAPollOfAnOrganizationIsBounded(t *testing.T) {
	w := newPollerWorld(t)
	w.wide(200)
	w.poll(0)
	w.Expect(w.asked()).To(Equal(2 * repositoriesPerPoll))
}

func TestAnIdleOrganizationCostsNothingOfTheHourlyLimit(t *testing.T) {
	w := newPollerWorld(t)
	w.wide(10)
	w.poll(0)
	before := w.spent()
	for range 10 {
		w.poll(pollInterval)
	}
	w.Expect(w.spent()).To(Equal(before), "%v", w.GitHub.Requests())
}

// spent is how many answers counted towards the hourly limit.
func (w *pollerWorld) spent() int {
	count := 0
	for request, n := range w.GitHub.Requests() {
		if !strings.HasSuffix(request, " 304") {
			count += n
		}
	}
	return count
}

// A job that is known is looked after by the poll, whatever its repository was pushed to.
func TestAKnownJobOfAnOrganizationIsFollowedToItsEnd(t *testing.T) {
	w := newPollerWorld(t)
	w.wide(60)
	id := w.GitHub.AddQueuedJob(simulated.Repository, "build", []string{"modal"})
	w.GitHub.ChangeRepository(simulated.Repository, func(r *githubsim.Repository) { r.PushedAt = w.Clock.Now().Add(-365 * 24 * time.Hour) })
	w.Expect(w.cluster.Create(t.Context(), &v1alpha1.WorkflowJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: objectName(w.GitHub.URL(), id), Labels: map[string]string{v1alpha1.PoolLabel: "p"}},
		Spec:       v1alpha1.WorkflowJobSpec{PoolName: "p", ID: id, Repository: simulated.Repository, Labels: []string{"modal"}},
		Status:     v1alpha1.WorkflowJobStatus{State: v1alpha1.JobQueued},
	})).To(Succeed())
	w.GitHub.CancelJob(id)
	w.poll(0)
	w.Expect(w.jobs()).To(HaveLen(1))
	w.Expect(w.jobs()[0].Status.State).To(Equal(v1alpha1.JobCompleted))
}

// B12: what was read before GitHub was asked takes nothing back that was told meanwhile.
func TestB12_WhereAJobComesFromDoesNotEndItsWait(t *testing.T) {
	w := newPollerWorld(t)
	id := w.GitHub.AddQueuedJob(simulated.Repository, "build", []string{"modal"})
	w.pollAs("p")
	stale := w.jobs()[0]
	stale.Status.HeadRepository = ""
	w.Expect(w.cluster.Update(t.Context(), &stale)).To(Succeed())
	told := github.Job{ID: id, RunID: stale.Spec.RunID, Repository: simulated.Repository, Labels: []string{"modal"}, State: v1alpha1.JobWaiting}
	pool := w.thePool("p")
	_, _, err := w.poller.Recorder.Record(t.Context(), queueOf(pool).origin(simulated.Repository), told, queueOf(pool).trust)
	w.Expect(err).NotTo(HaveOccurred())
	gh, err := w.poller.GitHub.For(t.Context(), simulated.Namespace, pool.Spec.GitHub, queueOf(pool).scope)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(w.poller.Recorder.FindOrigin(t.Context(), gh, &stale, w.Clock.Now())).To(Succeed())
	now := w.jobs()[0].Status
	w.Expect(now.HeadRepository).To(Equal(simulated.Repository))
	w.Expect(now.State).To(Equal(v1alpha1.JobWaiting))
	w.Expect(now.Unconfirmed).To(BeTrue())
}

func TestRepositoriesThatThePoolDoesNotServeAreNotAsked(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*v1alpha1.RunnerPoolSpec)
		set    func(*githubsim.Repository)
	}{
		"excluded": {func(s *v1alpha1.RunnerPoolSpec) {
			s.Repositories = &v1alpha1.RepositoryFilter{Exclude: []v1alpha1.RepositoryPattern{"r*"}}
		}, func(*githubsim.Repository) {}},
		"not included": {func(s *v1alpha1.RunnerPoolSpec) {
			s.Repositories = &v1alpha1.RepositoryFilter{Include: []v1alpha1.RepositoryPattern{"octo/x*"}}
		}, func(*githubsim.Repository) {}},
		"archived":  {func(*v1alpha1.RunnerPoolSpec) {}, func(r *githubsim.Repository) { r.Archived = true }},
		"public":    {func(*v1alpha1.RunnerPoolSpec) {}, func(r *githubsim.Repository) { r.Private = false }},
		"long idle": {func(*v1alpha1.RunnerPoolSpec) {}, func(r *githubsim.Repository) { r.PushedAt = r.PushedAt.Add(-31 * 24 * time.Hour) }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newPollerWorld(t)
			w.wide(1, test.change)
			w.GitHub.ChangeRepository("octo/r0", test.set)
			w.poll(0)
			w.Expect(w.asked()).To(BeZero())
		})
	}
}

// B53: one repository that cannot be asked does not stop the others.
func TestB53_ARepositoryThatCannotBeAskedDoesNotStopTheOthers(t *testing.T) {
	w := newPollerWorld(t)
	w.wide(3)
	for i := range 3 {
		w.GitHub.AddQueuedJob(fmt.Sprintf("octo/r%d", i), "build", []string{"modal"})
	}
	w.GitHub.Inject(githubsim.Fault{Path: regexp.MustCompile("^/repos/octo/r1/"), Status: http.StatusBadGateway})
	w.poll(0)
	w.Expect(w.jobs()).To(HaveLen(2))
}

func TestB53_KnownJobsAreFollowedAlsoWhenTheRepositoriesCannotBeListed(t *testing.T) {
	w := newPollerWorld(t)
	w.wide(1)
	id := w.GitHub.AddQueuedJob("octo/r0", "build", []string{"modal"})
	w.poll(0)
	w.GitHub.Inject(githubsim.Fault{Path: regexp.MustCompile("^/orgs/octo/repos$"), Status: http.StatusForbidden})
	w.GitHub.CancelJob(id)
	w.poll(pollInterval)
	w.Expect(w.jobs()[0].Status.State).To(Equal(v1alpha1.JobCompleted))
}

func TestB53_ARunThatCannotBeAskedDoesNotHideTheOthers(t *testing.T) {
	w := newPollerWorld(t)
	for range 3 {
		w.GitHub.AddQueuedJob(simulated.Repository, "build", []string{"modal"})
	}
	bad := w.GitHub.Jobs()[1]
	w.GitHub.Inject(githubsim.Fault{Path: regexp.MustCompile(fmt.Sprintf("/runs/%d/jobs$", bad.RunID)), Status: http.StatusBadGateway})
	w.poll(0)
	w.Expect(w.jobs()).To(HaveLen(2))
	w.GitHub.ClearFaults()
	w.poll(pollInterval)
	w.Expect(w.jobs()).To(HaveLen(3))
}

// Pools that share a scope and a credential are polled at once.
func TestPoolsOfOneQueueArePolledOnce(t *testing.T) {
	w := newPollerWorld(t)
	for i := range 5 {
		w.Expect(w.cluster.Create(t.Context(), &v1alpha1.RunnerPool{
			ObjectMeta: metav1.ObjectMeta{Namespace: simulated.Namespace, Name: fmt.Sprintf("q%d", i)},
			Spec: v1alpha1.RunnerPoolSpec{
				Scope: v1alpha1.Scope{Repository: simulated.Repository}, Labels: []v1alpha1.RunnerLabel{v1alpha1.RunnerLabel(fmt.Sprintf("l%d", i))},
				RunnerTemplate: v1alpha1.RunnerTemplate{GitHub: v1alpha1.GitHub{URL: w.GitHub.URL() + "/", SecretName: "github"}},
			},
		})).To(Succeed())
	}
	for i := range 5 {
		w.GitHub.AddQueuedJob(simulated.Repository, "build", []string{fmt.Sprintf("l%d", i)})
	}
	w.Expect(w.poll(0)).To(Equal(1))
	w.Expect(w.asked()).To(Equal(2))
	w.Expect(w.jobs()).To(HaveLen(5))
}
