package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
)

// With a small budget a minute, waiting jobs get what there is, and GitHub never has to refuse.
func TestB50_WhatServesWaitingJobsComesFirstWithinTheBudget(t *testing.T) {
	const (
		budget = 60
		jobs   = 16 // 5 points each: they do not fit into one minute
	)
	w := newWorld(t, polled, withArguments(fmt.Sprintf("--github-points-per-minute=%d", budget), "--queue-poll-interval=10s", "--list-interval=10s"))
	w.SetDefaultEventuallyTimeout(patience + 5*time.Minute)
	w.awaitReady(w.pool("p", jobs))
	var ids []int64
	for i := range jobs {
		ids = append(ids, w.queue(fmt.Sprint("job-", i)))
	}
	w.awaitAll(ids, "success")
	for credential, most := range w.github.MaxPointsInAMinute() {
		w.Expect(most).To(BeNumerically("<=", budget), credential)
	}
	w.Expect(w.manager.Log()).To(ContainSubstring("held back"), "the budget was never reached: the test shows nothing")
}

func TestARunnerGroupIsFoundByItsName(t *testing.T) {
	w := newWorld(t)
	w.github.AddToken("ghp_owner", organization)
	w.createSecret("owner", map[string]string{"github_token": "ghp_owner"})
	pool := w.pool("p", 1, func(s *v1alpha1.RunnerPoolSpec) {
		s.Scope, s.Repositories = v1alpha1.Scope{Organization: organization}, nil
		s.RunnerGroup, s.GitHub.SecretName = "Modal", "owner"
	})
	w.Eventually(w.reason(pool)).Should(Equal(v1alpha1.ReasonRunnerGroupNotFound))
	w.Expect(w.condition(pool, v1alpha1.ConditionGitHubReady).Message).To(ContainSubstring("create it there"))
	group := w.github.AddRunnerGroup(organization, "modal", repository)
	id := w.queue("build", "sleep 1")
	w.awaitAll([]int64{id}, "success")
	job, _ := w.github.Job(id)
	w.Expect(job.RunnerGroupID).To(Equal(group))
}

func TestJobsOfPublicRepositoriesAndForksAreServedOnlyWhereThatIsAllowed(t *testing.T) {
	w := newWorld(t)
	w.github.ChangeRepository(repository, func(r *githubsim.Repository) { r.Private, r.ForksCount = false, 1 })
	w.github.AllowPublicRepositories(organization, 1, true)
	w.github.AllowPublicRepositories("enterprise:"+enterprise, 1, true)
	pool := w.pool("p", 2)
	w.awaitReady(pool)
	own := w.queue("own")
	fork := w.github.AddForkJob(repository, "mallory/widgets", "fork", []string{"modal"})
	if the.scope == "repository" || the.news != "polled" {
		w.Eventually(func() []string { return w.problems() }).Should(ConsistOf(v1alpha1.ReasonPublicRepository, v1alpha1.ReasonPublicRepository))
	}
	w.Consistently(func() int { return len(w.modal.Sandboxes()) }, 2*time.Second, often).Should(BeZero())
	w.patch(pool, `{"spec":{"allowPublicRepositories":true}}`)
	w.awaitAll([]int64{own}, "success")
	w.Eventually(func() []string { return w.problems() }).Should(ConsistOf(v1alpha1.ReasonFork))
	w.awaitNothingLeft()
	w.patch(pool, `{"spec":{"allowForks":true}}`)
	w.awaitAll([]int64{fork}, "success")
	w.Eventually(func() []string { return w.problems() }).Should(BeEmpty())
	w.awaitNothingLeft()
}

// problems of the jobs that have one.
func (w *world) problems() []string {
	var all []string
	for _, job := range w.jobs() {
		if job.Status.Problem != nil {
			all = append(all, job.Status.Problem.Reason)
		}
	}
	return all
}

func TestAPoolsRepositoriesAreFiltered(t *testing.T) {
	w := newWorld(t)
	w.github.AddToken("ghp_owner", organization)
	w.createSecret("owner", map[string]string{"github_token": "ghp_owner"})
	w.github.AddRepository("octo/other", true)
	// Without a group of the same bounds GitHub would give the runner that is made for one job to the other.
	w.github.AddRunnerGroup(organization, "modal", repository)
	w.awaitReady(w.pool("p", 2, func(s *v1alpha1.RunnerPoolSpec) {
		s.Scope, s.GitHub.SecretName, s.RunnerGroup = v1alpha1.Scope{Organization: organization}, "owner", "modal"
		s.Repositories = &v1alpha1.RepositoryFilter{Include: []v1alpha1.RepositoryPattern{"octo/wid*"}}
	}))
	other := w.github.AddQueuedJob("octo/other", "other", []string{"modal"})
	served := w.queue("served")
	w.awaitAll([]int64{served}, "success")
	job, _ := w.github.Job(other)
	w.Expect(job.Status).To(Equal("queued"))
	w.Expect(w.jobs()).To(HaveLen(1))
}

// A job is served by the pool's own webhook, which the pool makes, repairs and removes.
func TestAPoolManagesItsWebhook(t *testing.T) {
	if the.scope == "enterprise" {
		t.Skip("GitHub lets nobody create an enterprise's webhook by API; the API server refuses it (TestWhatAPoolCannotBe)")
	}
	w := newWorld(t, withWebhooks, healing)
	w.deleteHooks()
	w.createSecret("hook", map[string]string{"webhook_secret": "of-the-pool-alone"})
	pool := w.pool("p", 1, func(s *v1alpha1.RunnerPoolSpec) { s.Webhook = &v1alpha1.Webhook{SecretName: "hook", Manage: true} })
	w.awaitReady(pool)
	w.Eventually(w.github.Hooks).Should(HaveLen(1))
	hook := w.github.Hooks()[0]
	w.Expect(hook.URL).To(Equal(fmt.Sprintf("%s/%s/p", w.manager.WebhookURL, w.namespace)))
	id := w.queue("build")
	w.awaitAll([]int64{id}, "success")
	body := w.deliveryOf("queued").Body
	status, text := w.send("workflow_job", body, webhookSecret, nil)
	w.Expect(status).To(Equal(http.StatusAccepted))
	w.Expect(text).To(ContainSubstring("does not trust"))
	w.Expect(plane.Client.Delete(w.ctx, pool)).To(Succeed())
	w.Eventually(w.github.Hooks).Should(BeEmpty())
	w.Eventually(func() error { return plane.Client.Get(w.ctx, client.ObjectKeyFromObject(pool), &v1alpha1.RunnerPool{}) }).ShouldNot(Succeed())
}

// healing tells the manager its own address.
func healing(s *settings) { s.heal = "1s" }

// deleteHooks that the world began with.
func (w *world) deleteHooks() {
	for _, hook := range w.github.Hooks() {
		w.github.DeleteHook(hook.ID)
	}
}

// B04 with webhooks alone: what was delivered while nobody listened is asked for again.
func TestB04_DeliveriesThatFailedWhileTheManagerWasDownAreMadeAgain(t *testing.T) {
	if the.scope == "enterprise" {
		t.Skip("GitHub gives no access to the deliveries of an enterprise's webhook; the poll finds those jobs (TestB04_AJobQueued...)")
	}
	w := newWorld(t, withWebhooks, healing)
	w.awaitReady(w.pool("p", 2))
	w.manager.Kill()
	ids := []int64{w.queue("one"), w.queue("two")}
	w.Eventually(func() int {
		failed := 0
		for _, d := range w.github.Deliveries() {
			if d.Event == "workflow_job" && d.ID != 0 && d.Status == 0 {
				failed++
			}
		}
		return failed
	}).Should(Equal(2))
	w.startManager()
	w.awaitAll(ids, "success")
	w.awaitNothingLeft()
}

// B62: a delivery of long ago starts nothing that GitHub does not confirm.
func TestB62_AnOldDeliveryPlayedAgainStartsNothing(t *testing.T) {
	w := newWorld(t, withWebhooks, withArguments("--job-ttl=1s"))
	w.awaitReady(w.pool("p", 1))
	id := w.queue("build")
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
	w.Eventually(w.jobs).Should(BeEmpty())
	made := len(w.modal.Sandboxes())
	status, text := w.send("workflow_job", w.deliveryOf("queued").Body, webhookSecret, nil)
	w.Expect(status).To(Equal(http.StatusAccepted), text)
	w.Eventually(w.jobs).Should(BeEmpty(), "GitHub says that the job is over, and it expires")
	w.Expect(w.modal.Sandboxes()).To(HaveLen(made))
	w.Expect(w.github.Runners()).To(BeEmpty())
}

func TestB63_TheWebhookSecretIsReplacedWithoutLosingADelivery(t *testing.T) {
	w := newWorld(t, withWebhooks)
	w.createSecret("hook", map[string]string{"webhook_secret": "new", "webhook_secret_previous": "old"})
	w.awaitReady(w.pool("p", 0, func(s *v1alpha1.RunnerPoolSpec) { s.Webhook = &v1alpha1.Webhook{SecretName: "hook"} }))
	w.queue("build")
	body := w.deliveryOf("queued").Body
	for secret, want := range map[string]int{"new": http.StatusAccepted, "old": http.StatusAccepted, "older": http.StatusUnauthorized} {
		status, text := w.sendTo(fmt.Sprintf("%s/%s/p", w.manager.WebhookURL, w.namespace), "workflow_job", body, secret, nil)
		w.Expect(status).To(Equal(want), "%s: %s", secret, text)
	}
	w.Expect(w.jobs()).To(HaveLen(1))
}

// B61: a signature made with one pool's secret moves only pools that trust that secret.
func TestB61_ADeliveryMovesOnlyPoolsThatTrustItsSecret(t *testing.T) {
	w := newWorld(t, withWebhooks)
	w.createSecret("one", map[string]string{"webhook_secret": "of-one"})
	w.createSecret("two", map[string]string{"webhook_secret": "of-two"})
	with := func(secret string, l v1alpha1.RunnerLabel) func(*v1alpha1.RunnerPoolSpec) {
		return func(s *v1alpha1.RunnerPoolSpec) {
			s.Labels, s.Webhook = []v1alpha1.RunnerLabel{l}, &v1alpha1.Webhook{SecretName: secret}
		}
	}
	// A job that is over already is not found by the poll.
	id := w.queue("build")
	body := w.deliveryOf("queued").Body
	w.github.CancelJob(id)
	w.awaitReady(w.pool("p", 0, with("one", "modal")))
	w.awaitReady(w.pool("q", 0, with("two", "gpu")))
	gpu := []byte(strings.ReplaceAll(string(body), `"modal"`, `"gpu"`))
	path := fmt.Sprintf("%s/%s/", w.manager.WebhookURL, w.namespace)
	for name, test := range map[string]struct {
		url    string
		body   []byte
		secret string
		status int
		says   string
	}{
		"the controller's":       {w.manager.WebhookURL, body, webhookSecret, http.StatusAccepted, "does not trust"},
		"the other pool's":       {path + "q", body, "of-two", http.StatusAccepted, "does not trust"},
		"the other's at its":     {path + "p", body, "of-two", http.StatusUnauthorized, "matches no webhook secret"},
		"its own for another":    {path + "p", gpu, "of-one", http.StatusAccepted, "does not trust"},
		"of a pool that is none": {path + "none", body, "of-one", http.StatusUnauthorized, "matches no webhook secret"},
	} {
		status, text := w.sendTo(test.url, "workflow_job", test.body, test.secret, nil)
		if status != test.status || !strings.Contains(text, test.says) {
			t.Errorf("%s: answered %d %s", name, status, text)
		}
	}
	w.Expect(w.jobs()).To(BeEmpty())
	status, text := w.sendTo(path+"p", "workflow_job", body, "of-one", nil)
	w.Expect(status).To(Equal(http.StatusAccepted), text)
	w.Expect(w.jobs()).To(HaveLen(1))
}

// B53: a run whose jobs GitHub does not tell keeps nobody else waiting.
func TestB53_OneBadRunDoesNotKeepTheOthersWaiting(t *testing.T) {
	w := newWorld(t, polled)
	w.awaitReady(w.pool("p", 3))
	bad := w.queue("bad")
	job, _ := w.github.Job(bad)
	w.github.Inject(githubsim.Fault{Path: regexp.MustCompile(fmt.Sprintf("/runs/%d/jobs$", job.RunID)), Status: http.StatusBadGateway})
	good := []int64{w.github.AddQueuedJob(repository, "one", []string{"modal", "linux"}), w.github.AddQueuedJob(repository, "two", []string{"modal"})}
	w.awaitAll(good, "success")
	w.github.ClearFaults()
	w.awaitAll([]int64{bad}, "success")
	w.awaitNothingLeft()
}

// The API server refuses what cannot work, and says what to do.
func TestWhatAPoolOfAScopeCannotHave(t *testing.T) {
	w := newWorld(t)
	for name, test := range map[string]struct {
		change func(*v1alpha1.RunnerPoolSpec)
		says   string
	}{
		"a runner group of a repository": {func(s *v1alpha1.RunnerPoolSpec) { s.Repository, s.RunnerGroup = repository, "x" }, "a repository has no runner groups"},
		"repositories of a repository": {func(s *v1alpha1.RunnerPoolSpec) {
			s.Repository, s.Repositories = repository, &v1alpha1.RepositoryFilter{Include: []v1alpha1.RepositoryPattern{"x"}}
		}, "leave it out where repository is set"},
		"a managed webhook of an enterprise": {func(s *v1alpha1.RunnerPoolSpec) {
			s.Enterprise, s.Webhook = enterprise, &v1alpha1.Webhook{SecretName: "x", Manage: true}
		}, "create it by hand"},
		"a webhook's address without managing it": {func(s *v1alpha1.RunnerPoolSpec) {
			s.Repository, s.Webhook = repository, &v1alpha1.Webhook{SecretName: "x", URL: "https://x.example.com/webhook"}
		}, "set webhook.manage"},
		"a webhook's address that is not encrypted": {func(s *v1alpha1.RunnerPoolSpec) {
			s.Repository, s.Webhook = repository, &v1alpha1.Webhook{SecretName: "x", Manage: true, URL: "http://x.example.com/webhook"}
		}, "must be an https address"},
		"a pattern with a bracket": {func(s *v1alpha1.RunnerPoolSpec) {
			s.Organization, s.Repositories = organization, &v1alpha1.RepositoryFilter{Include: []v1alpha1.RepositoryPattern{"[a]"}}
		}, "write a pattern as name or owner/name"},
	} {
		pool := &v1alpha1.RunnerPool{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "p"},
			Spec:       v1alpha1.RunnerPoolSpec{Labels: []v1alpha1.RunnerLabel{"modal"}},
		}
		test.change(&pool.Spec)
		if err := plane.Client.Create(w.ctx, pool); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
