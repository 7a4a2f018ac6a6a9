package e2e

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
	"github.com/modalrunner/modal-runner-controller/simulators/runner"
	"github.com/modalrunner/modal-runner-controller/test/stack"
)

const (
	repository    = "octo/widgets"
	token         = "ghp_" + "e2eTokenOfTheSimulatorOnly0123456789"
	modalID       = "ak-e2e"
	modalSecret   = "as-e2e-secret-value"
	webhookSecret = "webhook-secret-value"

	often = 50 * time.Millisecond
)

// patience bounds every wait: generous, since it is spent only when something is wrong. E2E_PATIENCE is for runs in which
// something is known to be.
var patience = func() time.Duration {
	if given, err := time.ParseDuration(os.Getenv("E2E_PATIENCE")); err == nil {
		return given
	}
	return 90 * time.Second
}()

// world is what one test has to itself: a namespace, both simulators, credentials, and a manager that serves that
// namespace alone.
type world struct {
	*WithT
	t         *testing.T
	ctx       context.Context
	namespace string
	github    *githubsim.Server
	modal     *modalsim.Server
	manager   *stack.Manager
	settings  settings
	// others are managers beside it.
	others []*stack.Manager
	// behave decides how the runner in a sandbox behaves; nil is well.
	behave func(modalsim.Container) runner.Behaviour
}

type option func(*settings)

type settings struct {
	secrets     bool
	webhooks    bool
	poll        string
	heal        string
	faults      githubsim.WebhookFaults
	arguments   []string
	environment []string
	lostAfter   time.Duration
	shell       bool
	// kubeconfig of the manager, when it is not the usual one.
	kubeconfig string
	behave     func(modalsim.Container) runner.Behaviour
}

// withoutSecrets leaves the credentials to the test.
func withoutSecrets(s *settings) { s.secrets = false }

// withWebhooks has GitHub deliver to the manager, and makes polling so slow that it does not help.
func withWebhooks(s *settings) {
	s.webhooks, s.poll, s.heal, s.faults = true, "1h", "", githubsim.WebhookFaults{}
}

// polled has GitHub deliver nothing.
func polled(s *settings) { s.webhooks, s.poll, s.heal = false, "1s", "" }

// withArguments of the manager.
func withArguments(arguments ...string) option {
	return func(s *settings) { s.arguments = append(s.arguments, arguments...) }
}

// givingUpAfter is how long GitHub waits for a runner that is dead before it gives up its job.
func givingUpAfter(d time.Duration) option {
	return func(s *settings) { s.lostAfter = d }
}

// withShell has the steps of jobs run in a real shell.
func withShell(s *settings) { s.shell = true }

func withBehaviour(behave func(modalsim.Container) runner.Behaviour) option {
	return func(s *settings) { s.behave = behave }
}

func newWorld(t *testing.T, options ...option) *world {
	t.Helper()
	t.Parallel()
	s := the.settings()
	for _, o := range options {
		o(&s)
	}
	w := &world{WithT: NewWithT(t), t: t, ctx: t.Context(), namespace: newNamespace(t), behave: s.behave, settings: s}
	w.SetDefaultEventuallyTimeout(patience)
	w.SetDefaultEventuallyPollingInterval(often)
	w.startSimulators(s)
	if s.secrets {
		w.createSecrets()
	}
	t.Cleanup(w.checkSecrets)
	w.configureManager(s)
	return w
}

func (w *world) startSimulators(s settings) {
	w.github = githubsim.New(githubsim.Options{Seed: 1, LostAfter: s.lostAfter, Wrap: described.Middleware})
	w.Expect(w.github.Start("127.0.0.1:0")).To(Succeed())
	w.t.Cleanup(w.github.Close)
	w.github.AddRepository(repository, true)
	w.github.AddToEnterprise(enterprise, organization)
	w.github.AddToken(token, the.grants()...)
	w.modal = modalsim.New(modalsim.Options{Run: func(ctx context.Context, c modalsim.Container) int {
		config := runner.Config{Env: c.EnvHere(), Stdout: c.Stdout, Shell: s.shell}
		if config.Shell {
			config.Env["PATH"] = os.Getenv("PATH")
		}
		if w.behave != nil {
			config.Behaviour = w.behave(c)
		}
		return runner.Run(ctx, config)
	}, Exec: stack.Exec})
	w.Expect(w.modal.Start("127.0.0.1:0")).To(Succeed())
	w.t.Cleanup(w.modal.Close)
	w.modal.AddToken(modalID, modalSecret)
}

func (w *world) createSecrets() {
	w.createSecret("github", map[string]string{"github_token": token})
	w.createSecret("modal", map[string]string{"token_id": modalID, "token_secret": modalSecret})
}

func (w *world) createSecret(name string, data map[string]string) {
	w.Expect(plane.Client.Create(w.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, StringData: data,
	})).To(Succeed())
}

func (w *world) configureManager(s settings) {
	w.manager = w.newManager(cmp.Or(s.kubeconfig, plane.ManagerKubeconfig), s.arguments...)
	w.startManager()
	if s.webhooks {
		w.github.AddWebhook(the.place(), w.manager.WebhookURL, webhookSecret)
		w.github.SetWebhookFaults(s.faults)
	}
	w.t.Cleanup(func() {
		if w.t.Failed() {
			objects, _ := kubectlInBackground(w.namespace, "get", "rp,mr,wfj", "-o", "wide")
			w.t.Logf("what there was:\n%s", objects)
		}
	})
}

// newManager of the world's namespace, not started yet.
func (w *world) newManager(kubeconfig string, arguments ...string) *stack.Manager {
	w.t.Helper()
	manager, err := stack.NewManager(stack.ManagerOptions{
		Binary: binary, Kubeconfig: kubeconfig, Namespace: w.namespace, ModalURL: w.modal.URL(), WebhookSecret: webhookSecret,
		HealInterval: w.settings.heal, Environment: w.settings.environment,
		Arguments: append([]string{
			"--namespace=" + w.namespace, "--queue-poll-interval=" + w.settings.poll, "--list-interval=500ms", "--secret-ttl=1s",
		}, arguments...),
	})
	w.Expect(err).NotTo(HaveOccurred())
	number := len(w.others)
	w.t.Cleanup(func() {
		manager.Stop()
		if w.t.Failed() {
			path := filepath.Join(os.TempDir(), fmt.Sprintf("%s.%d.manager.log", strings.ReplaceAll(w.t.Name(), "/", "_"), number))
			_ = os.WriteFile(path, []byte(manager.Log()), 0o600)
			w.t.Logf("the manager's log is in %s", path)
		}
	})
	return manager
}

// another manager of the world, beside the first.
func (w *world) another(kubeconfig string, arguments ...string) *stack.Manager {
	w.t.Helper()
	w.others = append(w.others, nil)
	manager := w.newManager(kubeconfig, arguments...)
	w.others[len(w.others)-1] = manager
	w.Expect(manager.Restart(w.ctx)).To(Succeed())
	return manager
}

func (w *world) startManager() {
	w.t.Helper()
	w.Expect(w.manager.Restart(w.ctx)).To(Succeed())
}

// checkSecrets sees that no secret shows in any log or object (I6).
func (w *world) checkSecrets() {
	secrets := []string{token, modalSecret, webhookSecret, npmToken}
	for _, sandbox := range w.modal.Sandboxes() {
		if jit := sandbox.Env["ACTIONS_RUNNER_INPUT_JITCONFIG"]; jit != "" {
			secrets = append(secrets, jit)
		}
		command := strings.Join(sandbox.Request.GetDefinition().GetEntrypointArgs(), " ")
		for _, secret := range append(secrets, "JITCONFIG") {
			if strings.Contains(command, secret) {
				w.t.Errorf("the sandbox's command shows a secret: %q", command)
			}
		}
	}
	seen := map[string]string{"the manager's log": w.manager.Log()}
	for i, other := range w.others {
		seen[fmt.Sprintf("the log of manager %d", i+1)] = other.Log()
	}
	for _, kind := range []string{"rp,mr,wfj", "events.events.k8s.io"} {
		seen[kind], _ = kubectlInBackground(w.namespace, "get", kind, "-o", "yaml")
	}
	for where, text := range seen {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				w.t.Errorf("%s shows a secret", where)
			}
		}
	}
}

// pool with the label modal, of the scope that the suite is run for, that is quick about everything.
func (w *world) pool(name string, limit int32, change ...func(*v1alpha1.RunnerPoolSpec)) *v1alpha1.RunnerPool {
	w.t.Helper()
	pool := &v1alpha1.RunnerPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec: v1alpha1.RunnerPoolSpec{
			Labels: []v1alpha1.RunnerLabel{"modal"}, MaxConcurrency: limit,
			RunnerTemplate: v1alpha1.RunnerTemplate{
				GitHub:  v1alpha1.GitHub{URL: w.github.URL()},
				Sandbox: v1alpha1.Sandbox{CPU: resource.MustParse("1"), Memory: resource.MustParse("1Gi")},
			},
		},
	}
	the.pool(&pool.Spec)
	for _, c := range change {
		c(&pool.Spec)
	}
	w.Expect(plane.Client.Create(w.ctx, pool)).To(Succeed())
	return pool
}

func idleTimeout(d time.Duration) func(*v1alpha1.RunnerPoolSpec) {
	return func(s *v1alpha1.RunnerPoolSpec) { s.IdleTimeout = metav1.Duration{Duration: d} }
}

func minIdle(n int32) func(*v1alpha1.RunnerPoolSpec) {
	return func(s *v1alpha1.RunnerPoolSpec) { s.MinIdle = n }
}

func startupTimeout(d time.Duration) func(*v1alpha1.RunnerPoolSpec) {
	return func(s *v1alpha1.RunnerPoolSpec) { s.StartupTimeout = metav1.Duration{Duration: d} }
}

func labels(l ...v1alpha1.RunnerLabel) func(*v1alpha1.RunnerPoolSpec) {
	return func(s *v1alpha1.RunnerPoolSpec) { s.Labels = l }
}

// queue a job of one sleeping step for the label modal.
func (w *world) queue(name string, steps ...string) int64 {
	return w.github.AddQueuedJob(repository, name, []string{"modal"}, steps...)
}

func (w *world) runners() []v1alpha1.Runner {
	var list v1alpha1.RunnerList
	w.Expect(plane.Client.List(w.ctx, &list, client.InNamespace(w.namespace))).To(Succeed())
	return list.Items
}

func (w *world) jobs() []v1alpha1.WorkflowJob {
	var list v1alpha1.WorkflowJobList
	w.Expect(plane.Client.List(w.ctx, &list, client.InNamespace(w.namespace))).To(Succeed())
	return list.Items
}

// conclusion of a job at GitHub, empty while it is not over.
func (w *world) conclusion(id int64) func() string {
	return func() string {
		job, _ := w.github.Job(id)
		return job.Conclusion
	}
}

func (w *world) awaitAll(ids []int64, conclusion string) {
	w.t.Helper()
	for _, id := range ids {
		w.Eventually(w.conclusion(id)).Should(Equal(conclusion), "job %d", id)
	}
}

// awaitNothingLeft waits until no Runner, sandbox or registration is left.
func (w *world) awaitNothingLeft() {
	w.t.Helper()
	w.Eventually(func() string {
		return fmt.Sprintf("%d Runners, %d sandboxes, %d registrations", len(w.runners()), len(w.modal.Alive(nil)), len(w.github.Runners()))
	}).Should(Equal("0 Runners, 0 sandboxes, 0 registrations"))
}

func (w *world) awaitReady(pool *v1alpha1.RunnerPool) {
	w.t.Helper()
	w.Eventually(w.reason(pool)).Should(Equal(v1alpha1.ReasonReady))
}

// reason of the pool's Ready condition.
func (w *world) reason(pool *v1alpha1.RunnerPool) func() string {
	return func() string {
		condition := w.condition(pool, v1alpha1.ConditionReady)
		return condition.Reason
	}
}

func (w *world) condition(pool *v1alpha1.RunnerPool, kind string) metav1.Condition {
	var now v1alpha1.RunnerPool
	w.Expect(plane.Client.Get(w.ctx, client.ObjectKeyFromObject(pool), &now)).To(Succeed())
	for _, c := range now.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return metav1.Condition{}
}

// events of the namespace, by reason.
func (w *world) events() []string {
	out, err := kubectl(w.t, "", "-n", w.namespace, "get", "events.events.k8s.io", "-o", `jsonpath={range .items[*]}{.reason}{"\n"}{end}`)
	w.Expect(err).NotTo(HaveOccurred(), out)
	reasons := strings.Fields(out)
	slices.Sort(reasons)
	return reasons
}

func secretObject() client.Object { return &corev1.Secret{} }

func inNamespace(name string) client.DeleteAllOfOption { return client.InNamespace(name) }

// patch a pool as `kubectl patch` does.
func (w *world) patch(pool *v1alpha1.RunnerPool, merge string) {
	w.t.Helper()
	out, err := kubectl(w.t, "", "-n", w.namespace, "patch", "rp/"+pool.Name, "--type=merge", "-p", merge)
	w.Expect(err).NotTo(HaveOccurred(), out)
}

// awaitPhases waits until the Runners are in these phases.
func (w *world) awaitPhases(phases ...v1alpha1.RunnerPhase) {
	w.t.Helper()
	w.Eventually(func() []v1alpha1.RunnerPhase {
		var now []v1alpha1.RunnerPhase
		for _, r := range w.runners() {
			now = append(now, r.Status.Phase)
		}
		return now
	}).Should(ConsistOf(phases))
}

// awaitRunning waits until a job is in progress.
func (w *world) awaitRunning(id int64) {
	w.t.Helper()
	w.Eventually(func() string { job, _ := w.github.Job(id); return job.Status }).Should(Equal("in_progress"))
}
