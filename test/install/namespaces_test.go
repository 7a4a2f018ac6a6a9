package install

import (
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/modalrunner/modal-runner-controller/test/stack"
)

// TestAnInstallationForSomeNamespaces has rights in those alone, serves the pools there, and never asks anywhere else.
func TestAnInstallationForSomeNamespaces(t *testing.T) {
	w := newWorld(t)
	w.prepareNamespaces()
	w.credentials("build")
	w.credentials("elsewhere")
	w.install(w.chart(), "--values", w.values("watchNamespaces: [ci, build]"))
	w.github.AddWebhook(repository, w.webhook+"/webhook", stack.WebhookSecret)
	w.apply(w.pool("elsewhere", "foreign", "foreign", 4))
	w.apply(w.pool("build", "gadgets", "gadgets", 4))
	w.servePool("ci")
	w.mustKubectl("-n", "build", "wait", "rp/gadgets", "--for=condition=Ready", "--timeout=2m")

	w.runDemo()
	foreign := w.queueFor("foreign", 1, "foreign", "true")[0]
	w.await(w.queueFor("gadgets", 3, "gadgets", "true"), "success")
	w.exerciseRights("ci")
	w.scrapeMetrics()
	w.Expect(w.state(foreign)()).To(Equal("queued"))
	w.Expect(w.mustKubectl("-n", "elsewhere", "get", "rp/foreign", "-o", "jsonpath={.status.conditions}{.status.servedBy}")).To(BeEmpty(), "nobody looks at this pool")
	w.github.CancelJob(foreign)

	w.Expect(w.denied(account, w.since)).To(BeEmpty(), "the manager asks what the chart does not allow it")
	w.Expect(w.unused(account, w.since)).To(ConsistOf(neverAsked(release)), "what the manager may and never asks")
	w.seesNoOtherNamespace()

	w.mustKubectl("-n", "elsewhere", "delete", "rp/foreign", "--timeout=30s")
	w.remove()
	w.Eventually(w.leftOver).Should(ConsistOf(slices.Concat(ofTheOperator("ci", "build", "elsewhere"), stays, definitions)))
}

// seesNoOtherNamespace: beside the check of who asks for metrics, no ClusterRole is the manager's.
func (w *world) seesNoOtherNamespace() {
	w.t.Helper()
	for _, g := range w.grants(account) {
		if g.namespace == "" {
			w.Expect(g.role).To(Equal(release + "-metrics-auth"))
		}
	}
	var roles rbacv1.RoleList
	w.Expect(plane.Client.List(w.ctx, &roles)).To(Succeed())
	var in []string
	for _, role := range roles.Items {
		if role.Name == release {
			in = append(in, role.Namespace)
		}
	}
	w.Expect(in).To(ConsistOf("ci", "build"))
	for _, r := range w.requests(account, w.since) {
		w.Expect(r.Namespace).To(BeElementOf("", "ci", "build", namespace), "%s", r)
	}
}
