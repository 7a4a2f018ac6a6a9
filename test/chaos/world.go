package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
	"github.com/modalrunner/modal-runner-controller/simulators/runner"
	"github.com/modalrunner/modal-runner-controller/test/stack"
)

// pools of a run. Some serve each other's jobs: those of beta take alpha's. Delta has credentials of its own.
var pools = []struct {
	name, repository string
	labels           []v1alpha1.RunnerLabel
	limit, minIdle   int32
	own              bool
}{
	{name: "alpha", repository: "octo/widgets", labels: []v1alpha1.RunnerLabel{"modal"}, limit: 8},
	{name: "beta", repository: "octo/widgets", labels: []v1alpha1.RunnerLabel{"modal", "gpu"}, limit: 4},
	{name: "gamma", repository: "octo/gears", labels: []v1alpha1.RunnerLabel{"modal"}, limit: 6, minIdle: 1},
	{name: "delta", repository: "octo/gears", labels: []v1alpha1.RunnerLabel{"big"}, limit: 3, own: true},
}

// demands that jobs make, by how often.
var demands = []struct {
	repository string
	labels     []string
	weight     int
}{
	{"octo/widgets", []string{"modal"}, 9},
	{"octo/widgets", []string{"self-hosted", "GPU", "modal"}, 3},
	{"octo/gears", []string{"modal", "linux"}, 6},
	{"octo/gears", []string{"big"}, 3},
}

const webhookSecret = "chaos-webhook-secret-value"

// world of one run: a namespace, both simulators, two managers of which one leads.
type world struct {
	plane     *stack.ControlPlane
	seed      int64
	namespace string
	github    *githubsim.Server
	modal     *modalsim.Server
	managers  []*stack.Manager

	mu sync.Mutex
	// random decides what goes wrong. The lock is held.
	random *rand.Rand
	// secrets that were ever valid.
	secrets []string
	// current credentials, by Secret.
	current map[string]map[string]string
	// doomed are the outside names of runners that were made to fail, and how.
	doomed map[string]string
	// cancelled jobs, by ID.
	cancelled map[int64]bool
	faults    map[string]int
	kills     int
	foreign   foreign
}

// foreign things were made by somebody else, and are not to be touched.
type foreign struct {
	registrations []string
	sandboxes     []string
}

func newWorld(ctx context.Context, plane *stack.ControlPlane, binary string, seed int64) (*world, error) {
	w := &world{
		plane: plane, seed: seed, random: rand.New(rand.NewPCG(uint64(seed), 7)), //nolint:gosec // choices, not secrets
		current: map[string]map[string]string{}, doomed: map[string]string{}, cancelled: map[int64]bool{}, faults: map[string]int{},
		secrets: []string{webhookSecret},
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: fmt.Sprintf("chaos-%d-", seed)}}
	if err := plane.Client.Create(ctx, namespace); err != nil {
		return nil, err
	}
	w.namespace = namespace.Name
	if err := w.start(ctx, binary); err != nil {
		w.stop()
		return nil, err
	}
	return w, nil
}

func (w *world) start(ctx context.Context, binary string) error {
	w.github = githubsim.New(githubsim.Options{Seed: uint64(w.seed), LostAfter: 8 * time.Second, OfflineAfter: 4 * time.Second})
	if err := w.github.Start("127.0.0.1:0"); err != nil {
		return err
	}
	w.modal = modalsim.New(modalsim.Options{Seed: w.seed, Run: w.runSandbox})
	if err := w.modal.Start("127.0.0.1:0"); err != nil {
		return err
	}
	for _, repository := range []string{"octo/widgets", "octo/gears"} {
		w.github.AddRepository(repository, true)
		w.foreign.registrations = append(w.foreign.registrations, w.github.AddForeignRunner(repository, "somebody-elses-0-0123abcd-0123456789ab-1", "other"))
	}
	for _, name := range []string{"github", "modal", "github2", "modal2"} {
		if err := w.rotate(ctx, name, true); err != nil {
			return err
		}
	}
	for range 2 {
		manager, err := stack.NewManager(stack.ManagerOptions{
			Binary: binary, Kubeconfig: w.plane.ManagerKubeconfig, Namespace: w.namespace, ModalURL: w.modal.URL(), WebhookSecret: webhookSecret,
			HealInterval: "1s",
			Arguments: []string{
				"--github-points-per-minute=0",
				"--namespace=" + w.namespace, "--leader-elect", "--leader-elect-lease-duration=3s", "--leader-elect-renew-deadline=2s",
				"--leader-elect-retry-period=500ms", "--queue-poll-interval=1s", "--list-interval=500ms", "--secret-ttl=1s",
				"--sweep-interval=2s", "--orphan-grace=3s",
			},
		})
		if err != nil {
			return err
		}
		w.managers = append(w.managers, manager)
		if err := manager.Restart(ctx); err != nil {
			return err
		}
	}
	for _, repository := range []string{"octo/widgets", "octo/gears"} {
		w.github.AddWebhook(repository, w.managers[0].WebhookURL, webhookSecret)
	}
	if err := w.createPools(ctx); err != nil {
		return err
	}
	id, err := addForeignSandbox(ctx, w.modal.URL(), w.current["modal"])
	w.foreign.sandboxes = append(w.foreign.sandboxes, id)
	return err
}

func (w *world) createPools(ctx context.Context) error {
	for _, p := range pools {
		pool := &v1alpha1.RunnerPool{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: p.name},
			Spec: v1alpha1.RunnerPoolSpec{
				Scope: v1alpha1.Scope{Repository: p.repository}, Labels: p.labels, MaxConcurrency: p.limit, MinIdle: p.minIdle,
				RunnerTemplate: v1alpha1.RunnerTemplate{
					GitHub:         v1alpha1.GitHub{URL: w.github.URL()},
					Sandbox:        v1alpha1.Sandbox{CPU: resource.MustParse("1"), Memory: resource.MustParse("1Gi")},
					StartupTimeout: metav1.Duration{Duration: 4 * time.Second},
					IdleTimeout:    metav1.Duration{Duration: 2 * time.Second},
				},
			},
		}
		if p.own {
			pool.Spec.GitHub.SecretName, pool.Spec.Modal.SecretName = "github2", "modal2"
		}
		if err := w.plane.Client.Create(ctx, pool); err != nil {
			return err
		}
	}
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		var list v1alpha1.RunnerPoolList
		err := w.plane.Client.List(ctx, &list, client.InNamespace(w.namespace))
		ready := 0
		for i := range list.Items {
			if _, ok := list.Items[i].CanLaunch(); ok {
				ready++
			}
		}
		return ready == len(pools), err
	})
}

// rotate the credential of a Secret: the old one ends, and a moment later the Secret has the new one.
func (w *world) rotate(ctx context.Context, name string, first bool) error {
	w.mu.Lock()
	number := w.random.Uint32()
	old := w.current[name]
	var data map[string]string
	if name == "github" || name == "github2" {
		data = map[string]string{"github_token": fmt.Sprintf("ghp_chaos%08xTokenOfTheSimulatorOnly", number)}
		w.secrets = append(w.secrets, data["github_token"])
	} else {
		data = map[string]string{"token_id": fmt.Sprintf("ak-chaos%08x", number), "token_secret": fmt.Sprintf("as-chaos-%08x-secret", number)}
		w.secrets = append(w.secrets, data["token_secret"])
	}
	w.current[name] = data
	w.mu.Unlock()
	if token := data["github_token"]; token != "" {
		w.github.AddToken(token, "octo/widgets", "octo/gears")
		w.github.RevokeToken(old["github_token"])
	} else {
		w.modal.AddToken(data["token_id"], data["token_secret"])
		if !first {
			w.modal.RevokeToken(old["token_id"])
		}
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, StringData: data}
	if first {
		return w.plane.Client.Create(ctx, secret)
	}
	pause(ctx, time.Second)
	return w.plane.Client.Update(ctx, secret)
}

// runSandbox plays the runner in a sandbox, some of them badly.
func (w *world) runSandbox(ctx context.Context, c modalsim.Container) int {
	config := runner.Config{Env: c.Env, Stdout: c.Stdout, Behaviour: w.behaviourOf(c.Name)}
	return runner.Run(ctx, config)
}

func (w *world) log() string {
	text := ""
	for i, manager := range w.managers {
		text += fmt.Sprintf("==== manager %d\n%s\n", i, manager.Log())
	}
	return text
}

func (w *world) stop() {
	for _, manager := range w.managers {
		manager.Stop()
	}
	if w.modal != nil {
		w.modal.Close()
	}
	if w.github != nil {
		w.github.Close()
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

var errNotSettled = errors.New("not everything came to its end")
