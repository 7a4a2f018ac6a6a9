package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
	"github.com/modalrunner/modal-runner-controller/simulators/runner"
	"github.com/modalrunner/modal-runner-controller/test/stack"
)

const (
	release    = "modal-runner-controller"
	namespace  = "modal-runner-system"
	account    = "system:serviceaccount:" + namespace + ":modal-runner-controller"
	repository = "octo/widgets"
	often      = 100 * time.Millisecond
	// patience bounds every wait: generous, since it is spent only when something is wrong.
	patience = 2 * time.Minute
)

// world is what one installation meets: both simulators, and the operator's tools.
type world struct {
	*WithT
	t      *testing.T
	ctx    context.Context
	github *githubsim.Server
	modal  *modalsim.Server
	// folder for files of the operator's.
	folder string
	// webhook is where GitHub reaches the release's Service.
	webhook string
	// before is what the cluster had, since where the audit log ended when the world began.
	before map[string]bool
	since  int64
	// logged is what the managers had logged when the latest right was taken away.
	logged map[string]string
	// left is how many registrations were left at GitHub that nobody owns.
	left int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, ctx: t.Context(), folder: t.TempDir()}
	w.WithT = w.patient(t)
	w.github = githubsim.New(githubsim.Options{Seed: 1})
	w.Expect(w.github.Start("127.0.0.1:0")).To(Succeed())
	t.Cleanup(w.github.Close)
	w.github.AddRepository(repository, true)
	w.github.AddToken(stack.GitHubToken, repository)
	w.modal = modalsim.New(modalsim.Options{Run: func(ctx context.Context, c modalsim.Container) int {
		config := runner.Config{Env: c.EnvHere(), Stdout: c.Stdout, Shell: true}
		config.Env["PATH"] = os.Getenv("PATH")
		return runner.Run(ctx, config)
	}})
	w.Expect(w.modal.Start("127.0.0.1:0")).To(Succeed())
	t.Cleanup(w.modal.Close)
	w.modal.AddToken(stack.ModalTokenID, stack.ModalSecret)
	address, err := worker.Expose(w.ctx, namespace, release+"-webhook", "http")
	w.Expect(err).NotTo(HaveOccurred())
	w.webhook = "http://" + address
	w.before = w.everything()
	w.since = auditSize()
	t.Cleanup(w.tidy)
	return w
}

// patient assertions of a test.
func (*world) patient(t *testing.T) *WithT {
	g := NewWithT(t)
	g.SetDefaultEventuallyTimeout(patience)
	g.SetDefaultEventuallyPollingInterval(often)
	return g
}

// tidy leaves the cluster as it was, and says what there was when the test failed.
func (w *world) tidy() {
	w.ctx = context.Background()
	if w.t.Failed() {
		objects, _ := w.kubectl("get", "rp,mr,wfj,deploy,pods,events.events.k8s.io", "-A", "-o", "wide")
		logs := ""
		for name, log := range worker.Logs(namespace) {
			logs += "--- " + name + "\n" + log
		}
		path := filepath.Join(os.TempDir(), strings.ReplaceAll(w.t.Name(), "/", "_")+".manager.log")
		_ = os.WriteFile(path, []byte(logs), 0o600)
		w.t.Logf("what there was:\n%s\nthe managers' logs are in %s", objects, path)
	}
	w.clear()
}

// clear the cluster. What a test that failed left is not waited for.
func (w *world) clear() {
	if w.t.Failed() {
		for _, kind := range []string{"rp", "mr"} {
			for _, in := range []string{"ci", "build", "elsewhere"} {
				names, _ := w.kubectl("-n", in, "get", kind, "-o", "name")
				for _, name := range strings.Fields(names) {
					_, _ = w.kubectl("-n", in, "delete", name, "--wait=false")
					_, _ = w.kubectl("-n", in, "patch", name, "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
				}
			}
		}
		_, _ = w.helm("uninstall", release, "-n", namespace, "--no-hooks", "--ignore-not-found")
	}
	var errs []error
	run := func(out string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%w: %s", err, out))
		}
	}
	if _, err := w.kubectl("get", "crd", "runnerpools.modalrunner.dev"); err == nil {
		run(w.kubectl("delete", "rp", "--all", "-A", "--wait", "--timeout=60s"))
	}
	run(w.helm("uninstall", release, "-n", namespace, "--wait", "--ignore-not-found", "--timeout=60s"))
	run(w.kubectl("delete", "namespace", namespace, "ci", "build", "elsewhere", "--ignore-not-found", "--timeout=60s"))
	run(w.kubectl("delete", "crd", "runnerpools.modalrunner.dev", "runners.modalrunner.dev", "workflowjobs.modalrunner.dev", "--ignore-not-found", "--timeout=60s"))
	if err := errors.Join(errs...); err != nil {
		w.t.Errorf("clearing the cluster: %v", err)
	}
}

// kubectl as the operator calls it.
func (w *world) kubectl(arguments ...string) (string, error) { return w.kubectlWith("", arguments...) }

func (w *world) kubectlWith(input string, arguments ...string) (string, error) {
	command := exec.CommandContext(w.ctx, plane.Kubectl, arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+plane.Kubeconfig)
	command.Stdin = strings.NewReader(input)
	out, err := command.CombinedOutput()
	return string(out), err
}

func (w *world) mustKubectl(arguments ...string) string {
	w.t.Helper()
	out, err := w.kubectl(arguments...)
	w.Expect(err).NotTo(HaveOccurred(), "kubectl %s: %s", strings.Join(arguments, " "), out)
	return out
}

func (w *world) apply(yaml string, arguments ...string) {
	w.t.Helper()
	out, err := w.kubectlWith(yaml, append([]string{"apply", "-f", "-"}, arguments...)...)
	w.Expect(err).NotTo(HaveOccurred(), out)
}

// helm as the operator calls it.
func (w *world) helm(arguments ...string) (string, error) {
	command := exec.CommandContext(w.ctx, helmPath, arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+plane.Kubeconfig, "HELM_CACHE_HOME="+w.folder+"/cache",
		"HELM_CONFIG_HOME="+w.folder+"/config", "HELM_DATA_HOME="+w.folder+"/data")
	out, err := command.CombinedOutput()
	return string(out), err
}

func (w *world) mustHelm(arguments ...string) string {
	w.t.Helper()
	out, err := w.helm(arguments...)
	w.Expect(err).NotTo(HaveOccurred(), "helm %s: %s", strings.Join(arguments, " "), out)
	return out
}

// prepareNamespaces makes the release's namespace, where Pods must be restricted, and ci for pools with its Secrets.
func (w *world) prepareNamespaces() {
	w.t.Helper()
	w.mustKubectl("create", "namespace", namespace)
	w.mustKubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
	w.mustKubectl("-n", namespace, "create", "secret", "generic", "github-webhook", "--from-literal=current="+stack.WebhookSecret)
	w.credentials("ci")
}

func (w *world) credentials(in string) {
	w.t.Helper()
	w.mustKubectl("create", "namespace", in)
	w.mustKubectl("-n", in, "create", "secret", "generic", "github", "--from-literal=github_token="+stack.GitHubToken)
	w.mustKubectl("-n", in, "create", "secret", "generic", "modal",
		"--from-literal=token_id="+stack.ModalTokenID, "--from-literal=token_secret="+stack.ModalSecret)
}

// values of the operator's: a webhook, the simulated Modal instead of the real one, and everything quicker than it need be.
// Queues are polled so rarely that it does not help.
func (w *world) values(more ...string) string {
	w.t.Helper()
	text := fmt.Sprintf(`
webhook: {secretName: github-webhook, url: %q, healInterval: 1s}
queuePollInterval: 1h
listInterval: 500ms
sweepInterval: 1s
orphanGrace: 2s
jobTTL: 5s
secretTTL: 1s
log: {level: debug}
extraEnv:
- {name: MODAL_SERVER_URL, value: %q}
`, w.webhook, w.modal.URL())
	path := filepath.Join(w.folder, fmt.Sprintf("values-%d.yaml", time.Now().UnixNano()))
	w.Expect(os.WriteFile(path, []byte(text+strings.Join(more, "\n")), 0o600)).To(Succeed())
	return path
}

// install the chart as docs/deployment.md says, and wait until Helm finds it ready.
func (w *world) install(chart string, arguments ...string) string {
	w.t.Helper()
	return w.mustHelm(append([]string{"install", release, chart, "--namespace", namespace, "--create-namespace", "--wait", "--timeout=3m"}, arguments...)...)
}

func (w *world) chart() string { return filepath.Join(root, "charts", "modal-runner-controller") }

// pool is a manifest of a RunnerPool for the simulated GitHub.
func (w *world) pool(in, name, label string, limit int) string {
	return fmt.Sprintf(`
apiVersion: modalrunner.dev/v1alpha1
kind: RunnerPool
metadata: {name: %s, namespace: %s}
spec: %s
`, name, in, w.poolSpec(label, limit))
}

func (w *world) poolSpec(label string, limit int, more ...string) string {
	fields := append([]string{
		"repository: " + repository, "labels: [" + label + "]", fmt.Sprint("maxConcurrency: ", limit),
		fmt.Sprintf("github: {url: %q}", w.github.URL()), "sandbox: {cpu: 1, memory: 1Gi}", "idleTimeout: 1s",
	}, more...)
	return "{" + strings.Join(fields, ", ") + "}"
}

// state of a job at GitHub: its conclusion once it has one.
func (w *world) state(id int64) func() string {
	return func() string {
		job, _ := w.github.Job(id)
		if job.Conclusion != "" {
			return job.Conclusion
		}
		return job.Status
	}
}

func (w *world) await(ids []int64, state string) {
	w.t.Helper()
	for _, id := range ids {
		w.Eventually(w.state(id)).Should(Equal(state), "job %d", id)
	}
}

// awaitNothingOutside waits until GitHub and Modal have nothing of this installation's any more.
func (w *world) awaitNothingOutside() {
	w.t.Helper()
	w.Eventually(w.outside).Should(Equal("0 sandboxes, 0 registrations"))
}

func (w *world) outside() string {
	return fmt.Sprintf("%d sandboxes, %d registrations", len(w.modal.Alive(nil)), len(w.github.Runners()))
}

// gate is what jobs wait for in the middle of their work.
type gate struct{ path string }

func (w *world) gate(name string) gate { return gate{filepath.Join(w.folder, name)} }

// step of a job that ends when the gate is open.
func (g gate) step() string { return "until test -e " + g.path + "; do sleep 0.1; done" }

func (g gate) open(w *world) { w.Expect(os.WriteFile(g.path, nil, 0o600)).To(Succeed()) }

// queue jobs with these steps for the label modal.
func (w *world) queue(count int, name string, steps ...string) []int64 {
	return w.queueFor("modal", count, name, steps...)
}

func (w *world) queueFor(label string, count int, name string, steps ...string) []int64 {
	var ids []int64
	for i := range count {
		ids = append(ids, w.github.AddQueuedJob(repository, fmt.Sprintf("%s-%d", name, i+1), []string{label}, steps...))
	}
	return ids
}
