package e2e

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/test/stack"
)

// unpolled has jobs found by webhooks alone, which the test sees to.
func unpolled(s *settings) { s.webhooks, s.poll, s.heal = false, "1h", "" }

// A receiver of its own stores what managers serve, with the rights that the chart gives it and no others.
func TestASeparateReceiverStoresWhatAnotherManagerServes(t *testing.T) {
	w := newWorld(t, unpolled, withArguments("--webhook-bind-address=0"))
	role := w.receiverRole()
	receiver := w.startReceiver(role)
	w.github.AddWebhook(the.place(), receiver.WebhookURL, webhookSecret)
	w.Expect(w.ping(receiver, webhookSecret)).To(ContainSubstring("200 OK: pong"))
	w.awaitReady(w.pool("p", 2))
	w.awaitAll([]int64{w.queue("one", "sleep 1"), w.queue("two", "sleep 1")}, "success")
	w.Eventually(func() []string {
		var states []string
		for _, job := range w.jobs() {
			states = append(states, string(job.Status.State))
			if job.Status.RunnerName != "" && job.Status.SandboxID == "" {
				states = append(states, "without its sandbox")
			}
		}
		return states
	}).Should(Equal([]string{string(v1alpha1.JobCompleted), string(v1alpha1.JobCompleted)}))
	w.awaitNothingLeft()
	w.Expect(w.manager.Log()).NotTo(ContainSubstring("listening for webhooks"))
	w.Expect(receiver.Log()).NotTo(ContainSubstring("Starting Controller"))
	for _, wrong := range []string{"forbidden", "Forbidden"} {
		w.Expect(receiver.Log()).NotTo(ContainSubstring(wrong), "it asks for more than it may")
	}
}

// Pools with a secret of their own are served by a separate receiver too: it reads that Secret.
func TestASeparateReceiverKnowsThePoolsOwnSecrets(t *testing.T) {
	w := newWorld(t, unpolled, withArguments("--webhook-bind-address=0"))
	w.createSecret("hook", map[string]string{"webhook_secret": "of-the-pool-alone"})
	receiver := w.startReceiver(w.receiverRole())
	w.awaitReady(w.pool("p", 1, func(s *v1alpha1.RunnerPoolSpec) { s.Webhook = &v1alpha1.Webhook{SecretName: "hook"} }))
	w.github.AddWebhook(the.place(), receiver.WebhookURL+"/"+w.namespace+"/p", "of-the-pool-alone")
	w.awaitAll([]int64{w.queue("build", "sleep 1")}, "success")
}

// Each right of the receiver is needed: without one, a delivery is not stored.
func TestASeparateReceiverWithoutTheRightToStoreSaysSo(t *testing.T) {
	w := newWorld(t, unpolled, withArguments("--webhook-bind-address=0"))
	role := w.receiverRole()
	for i := range role.Rules {
		role.Rules[i].Verbs = slices.DeleteFunc(role.Rules[i].Verbs, func(verb string) bool { return verb == "create" })
	}
	receiver := w.startReceiver(role)
	w.github.AddWebhook(the.place(), receiver.WebhookURL, webhookSecret)
	w.awaitReady(w.pool("p", 1))
	w.queue("build", "sleep 1")
	status, text := w.sendTo(receiver.WebhookURL, "workflow_job", w.deliveryOf("queued").Body, webhookSecret, nil)
	w.Expect(status).To(Equal(http.StatusServiceUnavailable), text)
	w.Expect(w.jobs()).To(BeEmpty())
}

// ping the receiver as the chart's test does.
func (w *world) ping(receiver *stack.Manager, secret string) (string, error) {
	folder := w.t.TempDir()
	w.Expect(os.WriteFile(filepath.Join(folder, "current"), []byte(secret), 0o600)).To(Succeed())
	address := strings.TrimSuffix(receiver.WebhookURL, "/webhook")
	out, err := exec.CommandContext(w.ctx, binary, "--ping="+address, "--webhook-secret-dir="+folder).CombinedOutput()
	return string(out), err
}

// receiverRole that the chart gives a separate receiver in the namespace.
func (w *world) receiverRole() *rbacv1.Role {
	helm, err := stack.Helm(w.ctx, "../..")
	w.Expect(err).NotTo(HaveOccurred())
	rendered, err := exec.CommandContext(w.ctx, helm, "template", "mrc", "../../charts/modal-runner-controller",
		"--kube-version", "v1.37.2", "-n", "system", "--set", "webhook.separate.enabled=true,watchNamespaces={"+w.namespace+"},metrics.enabled=false").Output()
	w.Expect(err).NotTo(HaveOccurred())
	const account = "mrc-modal-runner-controller-webhook"
	roles, bound := map[string]*rbacv1.Role{}, []string{}
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(rendered), 4096); ; {
		var object struct {
			rbacv1.Role `json:",inline"`
			RoleRef     rbacv1.RoleRef   `json:"roleRef"`
			Subjects    []rbacv1.Subject `json:"subjects"`
		}
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			break
		} else {
			w.Expect(err).NotTo(HaveOccurred())
		}
		if object.Kind == "Role" {
			roles[object.Namespace+"/"+object.Name] = &object.Role
		}
		if slices.ContainsFunc(object.Subjects, func(s rbacv1.Subject) bool { return s.Name == account }) {
			w.Expect(object.Kind).To(Equal("RoleBinding"))
			bound = append(bound, object.Namespace+"/"+object.RoleRef.Name)
		}
	}
	w.Expect(bound).To(Equal([]string{w.namespace + "/" + account}), "the receiver has one role, in the namespace that it serves")
	return roles[bound[0]]
}

// startReceiver as a user with this role and nothing else.
func (w *world) startReceiver(role *rbacv1.Role) *stack.Manager {
	user := "receiver-" + w.namespace
	w.Expect(plane.Client.Create(w.ctx, role)).To(Succeed())
	w.Expect(plane.Client.Create(w.ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	})).To(Succeed())
	for _, much := range []authorizationv1.ResourceAttributes{
		{Verb: "list", Resource: "secrets"}, {Verb: "create", Group: "modalrunner.dev", Resource: "runners"},
		{Verb: "patch", Group: "modalrunner.dev", Resource: "runnerpools"}, {Verb: "delete", Group: "modalrunner.dev", Resource: "workflowjobs"},
		{Verb: "create", Group: "coordination.k8s.io", Resource: "leases"}, {Verb: "create", Resource: "configmaps"},
	} {
		much.Namespace = w.namespace
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: &much}}
		w.Expect(plane.Client.Create(w.ctx, review)).To(Succeed())
		w.Expect(review.Status.Allowed).To(BeFalse(), "the receiver may %s %s", much.Verb, much.Resource)
	}
	kubeconfig, err := plane.AddUser(user)
	w.Expect(err).NotTo(HaveOccurred())
	receiver, err := stack.NewManager(stack.ManagerOptions{
		Binary: binary, Kubeconfig: kubeconfig, Namespace: w.namespace, WebhookSecret: webhookSecret,
		Arguments: []string{"--webhook-only", "--namespace=" + w.namespace, "--secret-ttl=1s"},
	})
	w.Expect(err).NotTo(HaveOccurred())
	w.t.Cleanup(func() {
		if receiver.Stop(); w.t.Failed() {
			w.t.Logf("the receiver's log:\n%s", receiver.Log())
		}
	})
	w.Expect(receiver.Restart(w.ctx)).To(Succeed())
	return receiver
}
