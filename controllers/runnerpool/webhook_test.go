package runnerpool

import (
	"net/http"
	"regexp"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	"github.com/modalrunner/modal-runner-controller/test/simulated"
)

const hookURL = "https://runners.example.com/webhook/ci/p"

// newHookWorld of one pool that manages its webhook.
func newHookWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.Expect(w.cluster.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "hook"}, Data: map[string][]byte{"webhook_secret": []byte("first")},
	})).To(Succeed())
	w.change(func(s *v1alpha1.RunnerPoolSpec) { s.Webhook = &v1alpha1.Webhook{SecretName: "hook", Manage: true} })
	return w
}

func (w *world) pool() *v1alpha1.RunnerPool {
	w.t.Helper()
	var pool v1alpha1.RunnerPool
	w.Expect(w.cluster.Get(w.t.Context(), w.key, &pool)).To(Succeed())
	return &pool
}

func (w *world) hookSecret(value string) {
	w.t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "hook"}, Data: map[string][]byte{"webhook_secret": []byte(value)}}
	w.Expect(w.cluster.Update(w.t.Context(), secret)).To(Succeed())
}

// expectHook sees that there is exactly one webhook, as it should be.
func (w *world) expectHook(secret string) githubsim.Hook {
	w.t.Helper()
	hooks := w.GitHub.Hooks()
	w.Expect(hooks).To(HaveLen(1))
	h := hooks[0]
	w.Expect(h.URL).To(Equal(hookURL))
	w.Expect(h.Secret).To(Equal(secret))
	w.Expect(h.Events).To(Equal([]string{"workflow_job"}))
	w.Expect(h.ContentType).To(Equal("json"))
	w.Expect(h.Active).To(BeTrue())
	w.Expect(w.reason(v1alpha1.ConditionWebhookReady)).To(Equal(v1alpha1.ReasonReady), w.message(v1alpha1.ConditionWebhookReady))
	w.Expect(w.pool().Status.Webhook).To(Equal(&v1alpha1.WebhookStatus{ID: h.ID, URL: hookURL, Server: w.GitHub.URL()}))
	return h
}

func TestAPoolCreatesItsWebhookOnce(t *testing.T) {
	for name, scope := range map[string]func(*v1alpha1.RunnerPoolSpec){"repository": func(*v1alpha1.RunnerPoolSpec) {}, "organization": ofOrganization} {
		t.Run(name, func(t *testing.T) {
			w := newHookWorld(t)
			w.change(scope)
			w.reconcile()
			w.expectHook("first")
			w.pass(recheckGood)
			w.pass(recheckGood)
			w.expectHook("first")
			w.Expect(w.written("hooks")).To(Equal(1), "%v", w.GitHub.Requests())
		})
	}
}

// A Secret that is made from a file ends with a line break. GitHub signs with all that it is given.
func TestGitHubGetsTheSecretThatDeliveriesAreCheckedWith(t *testing.T) {
	w := newHookWorld(t)
	w.hookSecret("first\n")
	w.reconcile()
	w.expectHook("first")
}

// written is how often something was written below a path that ends so or has one more segment.
func (w *world) written(path string) int {
	count := 0
	wrote := regexp.MustCompile(`^(POST|PATCH|DELETE) \S*/` + path + `(/\S*)? `)
	for request, n := range w.GitHub.Requests() {
		if wrote.MatchString(request) {
			count += n
		}
	}
	return count
}

func TestAPoolRepairsItsWebhook(t *testing.T) {
	for name, damage := range map[string]func(*world, githubsim.Hook){
		"removed": func(w *world, h githubsim.Hook) { w.GitHub.DeleteHook(h.ID) },
		"switched off": func(w *world, h githubsim.Hook) {
			w.GitHub.ChangeHook(h.ID, func(h *githubsim.Hook) { h.Active = false })
		},
		"other events": func(w *world, h githubsim.Hook) {
			w.GitHub.ChangeHook(h.ID, func(h *githubsim.Hook) { h.Events = []string{"push"} })
		},
		"as a form": func(w *world, h githubsim.Hook) {
			w.GitHub.ChangeHook(h.ID, func(h *githubsim.Hook) { h.ContentType = "form" })
		},
		"led elsewhere": func(w *world, h githubsim.Hook) {
			w.GitHub.ChangeHook(h.ID, func(h *githubsim.Hook) { h.URL = "https://elsewhere.example.com" })
		},
		"another secret":  func(w *world, _ githubsim.Hook) { w.hookSecret("second") },
		"a lost creation": func(w *world, _ githubsim.Hook) { w.forgetHook() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newHookWorld(t)
			w.reconcile()
			damage(w, w.expectHook("first"))
			w.pass(recheckGood)
			secret := "first"
			if name == "another secret" {
				secret = "second"
			}
			w.expectHook(secret)
		})
	}
}

// forgetHook makes as if the controller had died after the creation, before it could store the webhook's ID.
func (w *world) forgetHook() {
	w.t.Helper()
	pool := w.pool()
	pool.Status.Webhook.ID = 0
	w.Expect(w.cluster.Status().Update(w.t.Context(), pool)).To(Succeed())
	w.reconciler.checks.forget(w.key)
}

func TestAPoolRemovesItsWebhookWhenItIsDeletedOrManagesItNoMore(t *testing.T) {
	w := newHookWorld(t)
	w.GitHub.AddWebhook(simulated.Repository, "https://foreign.example.com", "x")
	w.reconcile()
	w.Expect(w.GitHub.Hooks()).To(HaveLen(2))
	w.change(func(s *v1alpha1.RunnerPoolSpec) { s.Webhook.Manage = false })
	w.reconcile()
	w.Expect(w.GitHub.Hooks()).To(HaveLen(1))
	w.Expect(w.pool().Status.Webhook).To(BeNil())
	w.Expect(meta.FindStatusCondition(w.pool().Status.Conditions, v1alpha1.ConditionWebhookReady)).To(BeNil())
	w.change(func(s *v1alpha1.RunnerPoolSpec) { s.Webhook.Manage = true })
	w.reconcile()
	w.Expect(w.GitHub.Hooks()).To(HaveLen(2))
	w.Expect(w.cluster.Delete(t.Context(), w.pool())).To(Succeed())
	w.reconcile()
	w.Expect(w.GitHub.Hooks()).To(HaveLen(1))
	w.Expect(w.GitHub.Hooks()[0].URL).To(Equal("https://foreign.example.com"))
	w.Expect(apierrors.IsNotFound(w.cluster.Get(t.Context(), w.key, &v1alpha1.RunnerPool{}))).To(BeTrue())
}

// I3: a webhook that is being made when its pool is deleted does not outlive it.
func TestAWebhookThatIsJustBeingMadeIsRemovedWithItsPool(t *testing.T) {
	w := newHookWorld(t)
	w.reconcile()
	id := w.GitHub.Hooks()[0].ID
	pool := w.pool()
	pool.Status.Webhook.ID = 0
	w.Expect(w.cluster.Status().Update(t.Context(), pool)).To(Succeed())
	made := w.reconciler.checks.get(w.key, v1alpha1.ConditionWebhookReady)
	w.reconciler.checks.set(w.key, v1alpha1.ConditionWebhookReady, check{of: made.of, running: true})
	w.Expect(w.cluster.Delete(t.Context(), pool)).To(Succeed())
	_, err := w.reconciler.Reconcile(t.Context(), ctrl.Request{NamespacedName: w.key})
	w.Expect(err).NotTo(HaveOccurred())
	w.pool()
	w.reconciler.checks.set(w.key, v1alpha1.ConditionWebhookReady, check{of: made.of, found: github.EnsuredHook{ID: id}, at: w.Clock.Now()})
	w.reconcile()
	w.Expect(w.GitHub.Hooks()).To(BeEmpty())
	w.Expect(apierrors.IsNotFound(w.cluster.Get(t.Context(), w.key, &v1alpha1.RunnerPool{}))).To(BeTrue())
}

// A doubt about the credentials asks about them alone.
func TestADoubtDoesNotWriteTheWebhookAgain(t *testing.T) {
	w := newHookWorld(t)
	w.reconcile()
	for range 5 {
		w.reconciler.Doubt(w.key)
		w.reconcile()
	}
	w.Expect(w.written("hooks")).To(Equal(1), "%v", w.GitHub.Requests())
	w.Expect(w.asked("/actions/runners")).To(BeNumerically(">=", 5))
}

// B41 for a webhook: its removal is tried again, and not for ever.
func TestAPoolThatCannotRemoveItsWebhookWaitsAWhile(t *testing.T) {
	w := newHookWorld(t)
	w.reconcile()
	w.GitHub.Inject(githubsim.Fault{Method: http.MethodDelete, Path: regexp.MustCompile("/hooks/"), Status: http.StatusBadGateway})
	pool := w.pool()
	w.Expect(w.cluster.Delete(t.Context(), pool)).To(Succeed())
	w.reconcile()
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonDeleting))
	w.Expect(w.message(v1alpha1.ConditionReady)).To(ContainSubstring("webhook to be removed"))
	w.Clock.SetTime(w.pool().DeletionTimestamp.Add(leaveHookAfter + time.Second))
	w.reconcile()
	w.Expect(apierrors.IsNotFound(w.cluster.Get(t.Context(), w.key, &v1alpha1.RunnerPool{}))).To(BeTrue())
	w.Expect(w.GitHub.Hooks()).To(HaveLen(1))
}

func TestWhatAWebhookLacksIsTold(t *testing.T) {
	for name, test := range map[string]struct {
		wrong  func(*world)
		reason string
		says   string
	}{
		"an address": {func(w *world) { w.reconciler.WebhookURL = "" }, v1alpha1.ReasonURLUnknown, "--webhook-url"},
		"its Secret": {func(w *world) {
			w.change(func(s *v1alpha1.RunnerPoolSpec) { s.Webhook.SecretName = "none" })
		}, v1alpha1.ReasonSecretNotFound, "ci/none"},
		"a key in its Secret":  {func(w *world) { w.hookSecret("") }, v1alpha1.ReasonSecretInvalid, "webhook_secret"},
		"a value for that key": {func(w *world) { w.hookSecret(" \n") }, v1alpha1.ReasonSecretInvalid, "webhook_secret"},
		"the permission": {func(w *world) {
			w.fine(map[string]string{"administration": "write", "actions": "read"}, simulated.Repository)
		}, v1alpha1.ReasonForbidden, "repository_hooks (read)"},
		"the permission to write": {func(w *world) {
			w.fine(map[string]string{"administration": "write", "actions": "read", "repository_hooks": "read"}, simulated.Repository)
		}, v1alpha1.ReasonForbidden, "repository_hooks (write)"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newHookWorld(t)
			test.wrong(w)
			w.reconcile()
			w.Expect(w.reason(v1alpha1.ConditionWebhookReady)).To(Equal(test.reason), w.message(v1alpha1.ConditionWebhookReady))
			w.Expect(w.message(v1alpha1.ConditionWebhookReady)).To(ContainSubstring(test.says))
			w.Expect(w.reason(v1alpha1.ConditionGitHubReady)).To(Equal(v1alpha1.ReasonReady), "jobs are found without a webhook")
		})
	}
}
