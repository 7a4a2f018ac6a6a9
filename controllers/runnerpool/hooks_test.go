package runnerpool

import (
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	"github.com/modalrunner/modal-runner-controller/test/simulated"
)

func manages(manage bool) func(*v1alpha1.RunnerPoolSpec) {
	return func(s *v1alpha1.RunnerPoolSpec) { s.Webhook.Manage = manage }
}

// deletePool and see that it goes.
func (w *world) deletePool() {
	w.t.Helper()
	w.Expect(w.cluster.Delete(w.t.Context(), w.pool())).To(Succeed())
	w.reconcile()
	w.Expect(apierrors.IsNotFound(w.cluster.Get(w.t.Context(), w.key, &v1alpha1.RunnerPool{}))).To(BeTrue())
}

// I3, I5: whatever became of the answer, what was created is found by what was stored before.
func TestAWebhookWhoseCreationWasNotAnsweredIsRemovedWithItsPool(t *testing.T) {
	for name, leave := range map[string]func(*world){
		"the manager died": func(w *world) { w.reconcile(); w.forgetHook() },
		"the answer was lost": func(w *world) {
			w.GitHub.Inject(githubsim.Fault{Method: http.MethodPost, Path: regexp.MustCompile("/hooks$"), Times: 1, DropAnswer: true})
			w.reconcile()
		},
		"and its address changed": func(w *world) {
			w.reconcile()
			w.forgetHook()
			w.change(func(s *v1alpha1.RunnerPoolSpec) { s.Webhook.URL = "https://other.example.com/webhook/ci/p" })
			w.reconcile()
			w.Expect(w.GitHub.Hooks()).To(HaveLen(1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newHookWorld(t)
			leave(w)
			w.Expect(w.GitHub.Hooks()).To(HaveLen(1))
			w.deletePool()
			w.Expect(w.GitHub.Hooks()).To(BeEmpty())
		})
	}
}

func TestThatAWebhookIsAboutToBeCreatedIsStoredBefore(t *testing.T) {
	w := newHookWorld(t)
	w.GitHub.Inject(githubsim.Fault{Method: http.MethodPost, Path: regexp.MustCompile("/hooks$"), Status: http.StatusBadGateway})
	w.reconcile()
	w.Expect(w.GitHub.Hooks()).To(BeEmpty())
	w.Expect(w.pool().Status.Webhook).To(Equal(&v1alpha1.WebhookStatus{URL: hookURL, Server: w.GitHub.URL()}))
	w.Expect(w.reason(v1alpha1.ConditionWebhookReady)).NotTo(Equal(v1alpha1.ReasonReady))
}

// I3: what was made by hand is used, and never removed.
func TestAWebhookThatWasThereBeforeIsLeft(t *testing.T) {
	w := newHookWorld(t)
	w.GitHub.AddWebhook(simulated.Repository, hookURL, "by hand")
	for range 2 {
		w.change(manages(true))
		w.reconcile()
		w.Expect(w.GitHub.Hooks()).To(HaveLen(1))
		w.Expect(w.GitHub.Hooks()[0].Secret).To(Equal("first"))
		w.Expect(w.pool().Status.Webhook.Adopted).To(BeTrue())
		w.change(manages(false))
		w.reconcile()
		w.Expect(w.GitHub.Hooks()).To(HaveLen(1))
		w.Expect(w.pool().Status.Webhook).To(BeNil())
	}
	w.change(manages(true))
	w.reconcile()
	w.deletePool()
	w.Expect(w.GitHub.Hooks()).To(HaveLen(1))
}

// I3: an ID is one server's; at another it may be anybody's.
func TestAWebhookOfAnotherServerIsNotLookedForHere(t *testing.T) {
	w := newHookWorld(t)
	w.GitHub.AddWebhook(simulated.Repository, "https://foreign.example.com", "x")
	foreign := w.GitHub.Hooks()[0]
	at := func() {
		pool := w.pool()
		pool.Status.Webhook = &v1alpha1.WebhookStatus{ID: foreign.ID, URL: hookURL, Server: "https://ghe.example.com"}
		w.Expect(w.cluster.Status().Update(t.Context(), pool)).To(Succeed())
		w.reconciler.checks.forget(w.key)
	}
	at()
	w.reconcile()
	w.Expect(w.GitHub.Hooks()).To(HaveLen(2))
	w.Expect(w.GitHub.Hooks()).To(ContainElement(foreign))
	at()
	w.deletePool()
	w.Expect(w.GitHub.Hooks()).To(ContainElement(foreign))
}

// Two pools of one address have one webhook, which is there until both are gone.
func TestAWebhookOfTwoPoolsIsThereForBoth(t *testing.T) {
	for name, first := range map[string]string{"who made it goes first": "p", "who found it goes first": "q"} {
		t.Run(name, func(t *testing.T) {
			w := newHookWorld(t)
			w.reconcile()
			other := w.pool()
			other.Name, other.UID, other.ResourceVersion, other.Status = "q", "v", "", v1alpha1.RunnerPoolStatus{}
			other.Spec.Webhook.URL = hookURL
			w.Expect(w.cluster.Create(t.Context(), other)).To(Succeed())
			w.key.Name = "q"
			w.reconcile()
			w.Expect(w.GitHub.Hooks()).To(HaveLen(1))
			w.Expect(w.pool().Status.Webhook.Adopted).To(BeTrue())
			second := map[string]string{"p": "q", "q": "p"}[first]
			w.key = types.NamespacedName{Namespace: w.key.Namespace, Name: first}
			w.deletePool()
			w.Expect(w.GitHub.Hooks()).To(HaveLen(1))
			w.key.Name = second
			w.reconcile()
			w.deletePool()
			w.Expect(w.GitHub.Hooks()).To(BeEmpty())
		})
	}
}

func TestThatAWebhookCannotBeRemovedShows(t *testing.T) {
	w := newHookWorld(t)
	w.reconcile()
	w.GitHub.Inject(githubsim.Fault{Method: http.MethodDelete, Path: regexp.MustCompile("/hooks/"), Times: 1, Status: http.StatusForbidden})
	w.change(manages(false))
	w.reconcile()
	w.Expect(w.reason(v1alpha1.ConditionWebhookReady)).To(Equal(v1alpha1.ReasonForbidden))
	w.Expect(w.message(v1alpha1.ConditionWebhookReady)).To(ContainSubstring("not removed yet: removing the webhook: GitHub answered 403"))
	w.pass(recheckBad)
	w.Expect(meta.FindStatusCondition(w.pool().Status.Conditions, v1alpha1.ConditionWebhookReady)).To(BeNil())
	w.Expect(w.GitHub.Hooks()).To(BeEmpty())
}

// B63: a new secret is at GitHub within seconds, at no cost while there is none.
func TestB63_ANewSecretIsSoonAtGitHub(t *testing.T) {
	w := newHookWorld(t)
	w.reconcile()
	w.hookSecret("second")
	w.Expect(w.result.RequeueAfter).To(And(BeNumerically(">", 0), BeNumerically("<=", rereadSecret)))
	w.pass(w.result.RequeueAfter)
	w.expectHook("second")
	before := w.asked("hooks")
	for range 10 {
		w.pass(rereadSecret)
	}
	w.Expect(w.asked("hooks")).To(Equal(before))
}

// B50: a condition shows that GitHub limits the credentials, and goes when it does not any more.
func TestB50_LimitsShowInACondition(t *testing.T) {
	w := newWorld(t)
	w.reconcile()
	w.Expect(w.reason(v1alpha1.ConditionRateLimited)).To(Equal(v1alpha1.ReasonBudgetSufficient))
	w.GitHub.Inject(githubsim.Fault{Times: 1, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"120"}}})
	w.pass(recheckGood)
	w.Expect(w.reason(v1alpha1.ConditionRateLimited)).To(Equal(v1alpha1.ReasonThrottled))
	w.Expect(w.result.RequeueAfter).To(BeNumerically("<=", 2*time.Minute))
	w.pass(2*time.Minute + time.Second)
	w.Expect(w.reason(v1alpha1.ConditionRateLimited)).To(Equal(v1alpha1.ReasonBudgetSufficient))
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonReady))
}

// A condition shows that the hour is nearly used up, and that housekeeping waits for the next.
func TestB50_ABudgetThatIsNearlyUsedUpShowsInACondition(t *testing.T) {
	w := newWorld(t)
	// Later than the simulator's own, so that its answers are taken for overtaken ones.
	const left = 2 * time.Hour
	reset := w.Clock.Now().Add(left)
	w.GitHub.Inject(githubsim.Fault{
		Method: http.MethodGet, Path: regexp.MustCompile("/actions/runners$"), Times: 1, Status: http.StatusOK, Body: `{"total_count":0,"runners":[]}`,
		Header: http.Header{
			"X-Ratelimit-Limit": {"5000"}, "X-Ratelimit-Remaining": {"900"}, "X-Ratelimit-Reset": {strconv.FormatInt(reset.Unix(), 10)},
		},
	})
	w.reconcile()
	w.Expect(w.reason(v1alpha1.ConditionRateLimited)).To(Equal(v1alpha1.ReasonBudgetLow))
	w.Expect(w.message(v1alpha1.ConditionRateLimited)).To(ContainSubstring("of the 5000 requests"))
	w.Expect(w.result.RequeueAfter).To(BeNumerically("<=", left))
	w.pass(left)
	w.Expect(w.reason(v1alpha1.ConditionRateLimited)).To(Equal(v1alpha1.ReasonBudgetSufficient))
}
