package install

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/test/stack"
)

// missing right of the manager, and what shows that it is missing.
type missing struct {
	right grant
	// with it goes what would stand in for it.
	with []grant
	// shows is called while it is missing. What it leaves undone is done once the right is back.
	shows func(w *world)
	// notAsked is for what the API server's own check asks for, so that no request of the manager's is for it.
	notAsked bool
}

// missingRights, a cause of each kind of trouble; own are those in the release's namespace.
var missingRights = []missing{
	{
		right: grant{group: "", resource: "secrets", verb: "get"},
		shows: func(w *world) {
			w.credentials("build") // Secrets that nobody has read before
			w.apply(w.pool("build", "newcomer", "modal", 1))
			w.Eventually(func() string {
				return w.mustKubectl("-n", "build", "get", "rp/newcomer", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].message}`)
			}).Should(ContainSubstring(`secrets "github" is forbidden`))
			w.mustKubectl("-n", "build", "delete", "rp/newcomer", "--wait=false")
		},
	},
	{
		right: grant{group: "modalrunner.dev", resource: "workflowjobs", verb: "create"},
		shows: func(w *world) {
			before := len(w.github.Deliveries())
			id := w.queue(1, "untold", "true")[0]
			w.Eventually(func() []int { return w.answers(before) }).Should(ContainElement(http.StatusServiceUnavailable), "GitHub's delivery log shows it")
			w.Expect(w.state(id)()).To(Equal("queued"))
		},
	},
	{
		right: grant{group: "modalrunner.dev", resource: "runners", verb: "create"},
		shows: func(w *world) {
			id := w.queue(1, "unserved", "true")[0]
			w.awaitLog(`runners.modalrunner.dev is forbidden`)
			w.Expect(w.state(id)()).To(Equal("queued"))
		},
	},
	{
		right: grant{group: "modalrunner.dev", resource: "runnerpools/finalizers", verb: "update"}, notAsked: true,
		shows: func(w *world) {
			id := w.queue(1, "unowned", "true")[0]
			w.awaitLog(`cannot set blockOwnerDeletion`)
			w.Expect(w.state(id)()).To(Equal("queued"))
		},
	},
	{
		right: grant{group: "modalrunner.dev", resource: "runners/status", verb: "patch"},
		shows: func(w *world) {
			// The name of a first attempt follows from the Runner alone: what cannot be noted is found again, and not made twice.
			before := len(w.modal.Sandboxes())
			w.await(w.queue(1, "unnoted", "sleep 2"), "success")
			w.awaitLog(`cannot patch resource \"runners/status\"`)
			w.Expect(w.modal.Sandboxes()).To(HaveLen(before + 1))
		},
	},
	{
		right: grant{group: "modalrunner.dev", resource: "runners", verb: "patch"},
		shows: func(w *world) {
			w.await(w.queue(1, "unfinished", "true"), "success")
			w.awaitLog(`cannot patch resource \"runners\"`)
			w.Expect(w.mustKubectl("-n", "ci", "get", "mr", "-o", "name")).NotTo(BeEmpty())
		},
	},
	{
		right: grant{group: "authentication.k8s.io", resource: "tokenreviews", verb: "create"},
		shows: func(w *world) {
			code, _ := w.metrics("no-token-of-this-cluster")
			w.Expect(code).To(Equal(http.StatusInternalServerError))
		},
	},
	{
		right: grant{namespace: namespace, group: "", resource: "configmaps", verb: "get"},
		shows: func(w *world) { w.restartInVain("keeping the installation's mark") },
	},
	{
		right: grant{group: "modalrunner.dev", resource: "runnerpools", verb: "watch"},
		with:  []grant{{group: "modalrunner.dev", resource: "runnerpools", verb: "list"}},
		shows: func(w *world) { w.restartInVain("runnerpools.modalrunner.dev is forbidden") },
	},
}

// TestAMissingRightIsSeen takes away one right of the installed manager after the other. Each time it shows what is wrong and
// where, the API server notes the very right that was denied, and all goes on by itself when it is back.
func TestAMissingRightIsSeen(t *testing.T) {
	w := newWorld(t)
	w.prepareNamespaces()
	w.install(w.chart(), "--values", w.values())
	w.github.AddWebhook(repository, w.webhook+"/webhook", stack.WebhookSecret)
	w.servePool("ci")
	for _, m := range missingRights {
		if !t.Run(fmt.Sprintf("%s %s %s", m.right.verb, m.right.resource, m.right.group), func(t *testing.T) {
			outer := w.t
			w.t, w.WithT = t, w.patient(t)
			defer func() { w.t, w.WithT = outer, w.patient(outer) }()
			since := auditSize()
			w.logged = worker.Logs(namespace)
			restore := w.takeAway(append(m.with, m.right)...)
			t.Cleanup(func() {
				if t.Failed() {
					restore()
				}
			})
			m.shows(w)
			if !m.notAsked {
				denied := func(r request) bool {
					allowed := m.right
					r.Denied = !r.Denied
					return allowed.allows(r)
				}
				w.Eventually(func() bool { return slices.ContainsFunc(w.requests(account, since), denied) }).Should(BeTrue(),
					"the API server noted no denial of it, but %v", w.denied(account, since))
			}
			restore()
			w.Eventually(w.unfinished).Should(BeEmpty(), "jobs that are not done although the right is back")
			w.awaitNothingOutside()
			w.Eventually(func() string { return w.mustKubectl("-n", "ci", "get", "mr", "-o", "name") }).Should(BeEmpty())
			w.Eventually(func() string { return w.mustKubectl("-n", "build", "get", "rp", "-o", "name") }).Should(BeEmpty())
			w.mustKubectl("-n", "ci", "wait", "rp/widgets", "--for=condition=Ready", "--timeout=1m")
		}) {
			return // what it left would have the others fail
		}
	}
}

// takeAway rights from the roles that grant them, and give what grants them again.
func (w *world) takeAway(rights ...grant) (restore func()) {
	w.t.Helper()
	var restores []func()
	for _, right := range rights {
		role := w.roleOf(right)
		name, rules := role.GetName(), rulesOf(role)
		kept := slices.Clone(*rules)
		*rules = without(kept, right)
		w.Expect(plane.Client.Update(w.ctx, role)).To(Succeed())
		w.Eventually(func() bool { return w.allowed(right) }).Should(BeFalse(), "another role grants %s too", right)
		restores = append(restores, func() {
			again := w.roleOf(grant{role: name, namespace: right.namespace})
			*rulesOf(again) = kept
			w.Expect(plane.Client.Update(w.ctx, again)).To(Succeed())
			w.Eventually(func() bool { return w.allowed(right) }).Should(BeTrue())
		})
	}
	return func() {
		w.t.Helper()
		for _, restore := range slices.Backward(restores) {
			restore()
		}
	}
}

// allowed says whether the API server lets the manager do something, by what it knows of roles at the moment.
func (w *world) allowed(right grant) bool {
	resource, subresource, _ := strings.Cut(right.resource, "/")
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: account, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: cmp.Or(right.namespace, "ci"), Verb: right.verb, Group: right.group, Resource: resource, Subresource: subresource,
		},
	}}
	w.Expect(plane.Client.Create(w.ctx, review)).To(Succeed())
	return review.Status.Allowed
}

// roleOf a right of the manager's: by its name, or the one that grants it.
func (w *world) roleOf(right grant) client.Object {
	w.t.Helper()
	for _, g := range w.grants(account) {
		match := g.role == right.role || right.role == "" && g == (grant{g.role, right.namespace, right.group, right.resource, right.verb})
		if !match || g.namespace != right.namespace {
			continue
		}
		role := client.Object(&rbacv1.ClusterRole{})
		if g.namespace != "" {
			role = &rbacv1.Role{}
		}
		w.Expect(plane.Client.Get(w.ctx, client.ObjectKey{Namespace: g.namespace, Name: g.role}, role)).To(Succeed())
		return role
	}
	w.t.Fatalf("no role of the chart grants %s", right)
	return nil
}

func rulesOf(role client.Object) *[]rbacv1.PolicyRule {
	if r, ok := role.(*rbacv1.Role); ok {
		return &r.Rules
	}
	return &role.(*rbacv1.ClusterRole).Rules
}

// without a right: every rule as one for each right, but that one.
func without(rules []rbacv1.PolicyRule, right grant) []rbacv1.PolicyRule {
	var kept []rbacv1.PolicyRule
	for _, g := range expand(right.role, right.namespace, rules) {
		if g != right {
			kept = append(kept, rbacv1.PolicyRule{APIGroups: []string{g.group}, Resources: []string{g.resource}, Verbs: []string{g.verb}})
		}
	}
	return kept
}

// answers of the receiver to deliveries from the one of that number on.
func (w *world) answers(from int) []int {
	var codes []int
	for _, d := range w.github.Deliveries()[from:] {
		codes = append(codes, d.Status)
	}
	return codes
}

// awaitLog waits until a manager has logged something since the right was taken away.
func (w *world) awaitLog(text string) {
	w.t.Helper()
	w.Eventually(func() string {
		fresh := ""
		for name, log := range worker.Logs(namespace) {
			fresh += log[len(w.logged[name]):]
		}
		return fresh
	}).Should(ContainSubstring(text))
}

// restartInVain rolls the Deployment out anew: the new Pod does not become ready, which the rollout shows, and the old one goes
// on serving.
func (w *world) restartInVain(says string) {
	w.t.Helper()
	w.mustKubectl("-n", namespace, "rollout", "restart", "deployment/"+release)
	w.awaitLog(says)
	out, err := w.kubectl("-n", namespace, "rollout", "status", "deployment/"+release, "--timeout=2s")
	w.Expect(err).To(HaveOccurred(), out)
	w.Expect(w.deployed().Status.ReadyReplicas).To(BeEquivalentTo(1))
	w.await(w.queue(1, "meanwhile", "true"), "success")
	w.mustKubectl("-n", namespace, "rollout", "undo", "deployment/"+release)
	w.mustKubectl("-n", namespace, "rollout", "status", "deployment/"+release, "--timeout=1m")
}

// unfinished jobs.
func (w *world) unfinished() []string {
	var names []string
	for _, job := range w.github.Jobs() {
		if job.Status != "completed" {
			names = append(names, job.Name)
		}
	}
	return names
}
