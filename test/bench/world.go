package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
	"github.com/modalrunner/modal-runner-controller/test/stack"
)

const (
	// repository of all jobs, private and without forks.
	repository = "octo/widgets"
	// patience with anything that is waited for.
	patience = 30 * time.Minute
	// look is how often that is looked at.
	look = 50 * time.Millisecond
	// hookWorkers is how many deliveries the simulated GitHub has under way at once.
	hookWorkers = 16
)

// bench is what all scenarios share: the control plane and the manager's binary.
type bench struct {
	*options
	plane  *stack.ControlPlane
	binary string
	folder string
	audit  *audit
}

func newBench(ctx context.Context, o *options) (*bench, error) {
	root, err := stack.Root()
	if err != nil {
		return nil, err
	}
	b := &bench{options: o}
	if b.folder, err = os.MkdirTemp("", "modal-runner-bench-"); err != nil {
		return nil, err
	}
	b.audit = &audit{path: filepath.Join(b.folder, "audit.log")}
	fmt.Println("building the manager, starting etcd, kube-apiserver and kube-controller-manager")
	if b.binary, err = stack.BuildManager(ctx, root, b.folder); err == nil {
		b.plane, err = stack.StartControlPlane(ctx, root, stack.Audited(b.audit.path))
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(b.folder))
	}
	return b, nil
}

func (b *bench) stop() error { return errors.Join(b.plane.Stop(), os.RemoveAll(b.folder)) }

// world of one scenario: a namespace, both simulators, the managers and the pools.
type world struct {
	*bench
	namespace string
	github    *githubsim.Server
	modal     *modalsim.Server
	managers  []*stack.Manager
	pprof     []string
	players   *players
}

// settings of a world beside those that all have.
type settings struct {
	managers  int
	arguments []string
	// githubLimits leaves the manager's own limits as they are by default. Without it they are off: GitHub's secondary limit
	// is about 170 new runners a minute and credential, far below what is measured here.
	githubLimits bool
}

// newWorld with its managers started. Whoever makes one stops it.
func (b *bench) newWorld(ctx context.Context, s settings) (*world, error) {
	w := &world{bench: b}
	if err := w.start(ctx, s); err != nil {
		return nil, errors.Join(err, w.stop(ctx))
	}
	return w, nil
}

func (w *world) start(ctx context.Context, s settings) error {
	w.github = githubsim.New(githubsim.Options{Seed: 1, RateLimit: 1 << 30, HookWorkers: hookWorkers})
	if err := w.github.Start("127.0.0.1:0"); err != nil {
		return err
	}
	w.github.AddRepository(repository, true)
	w.github.AddToken(stack.GitHubToken, "octo")
	if w.githubLatency > 0 {
		w.github.Inject(githubsim.Fault{Delay: w.githubLatency})
	}
	w.players = newPlayers(w.github)
	w.modal = modalsim.New(modalsim.Options{Run: w.players.run, PageSize: 500})
	if err := w.modal.Start("127.0.0.1:0"); err != nil {
		return err
	}
	w.modal.AddToken(stack.ModalTokenID, stack.ModalSecret)
	if w.modalLatency > 0 {
		w.modal.Faults().Add(modalsim.Fault{Delay: w.modalLatency})
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-"}}
	if err := w.plane.Client.Create(ctx, namespace); err != nil {
		return err
	}
	w.namespace = namespace.Name
	for name, data := range map[string]map[string]string{
		"github": {"github_token": stack.GitHubToken}, "modal": {"token_id": stack.ModalTokenID, "token_secret": stack.ModalSecret},
	} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, StringData: data}
		if err := w.plane.Client.Create(ctx, secret); err != nil {
			return err
		}
	}
	for range max(1, s.managers) {
		if err := w.startManager(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) startManager(ctx context.Context, s settings) error {
	pprof, err := stack.FreeAddress()
	if err != nil {
		return err
	}
	arguments := []string{"--zap-log-level=info"}
	if w.profile {
		arguments = append(arguments, "--pprof-bind-address="+pprof)
	}
	if !s.githubLimits {
		arguments = append(arguments, "--github-points-per-minute=0")
	}
	if s.managers > 1 {
		arguments = append(arguments, "--leader-elect")
	}
	manager, err := stack.NewManager(stack.ManagerOptions{
		Binary: w.binary, Kubeconfig: w.plane.ManagerKubeconfig, Namespace: w.namespace, ModalURL: w.modal.URL(),
		WebhookSecret: stack.WebhookSecret, Arguments: append(arguments, s.arguments...),
	})
	if err != nil {
		return err
	}
	w.managers, w.pprof = append(w.managers, manager), append(w.pprof, pprof)
	return manager.Restart(ctx)
}

// pool by its number, which serves the jobs with its name as their label.
func (w *world) pool(number int, limit int, change ...func(*v1alpha1.RunnerPoolSpec)) *v1alpha1.RunnerPool {
	pool := &v1alpha1.RunnerPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: poolName(number)},
		Spec: v1alpha1.RunnerPoolSpec{
			Scope: v1alpha1.Scope{Repository: repository}, Labels: []v1alpha1.RunnerLabel{v1alpha1.RunnerLabel(poolName(number))},
			MaxConcurrency: int32(limit),
			RunnerTemplate: v1alpha1.RunnerTemplate{GitHub: v1alpha1.GitHub{URL: w.github.URL()}},
		},
	}
	for _, c := range change {
		c(&pool.Spec)
	}
	return pool
}

func poolName(number int) string { return fmt.Sprintf("p%d", number) }

// createPools and wait until all are ready.
func (w *world) createPools(ctx context.Context, pools []*v1alpha1.RunnerPool) error {
	failures := make([]error, len(pools))
	workqueue.ParallelizeUntil(ctx, 16, len(pools), func(i int) { failures[i] = w.plane.Client.Create(ctx, pools[i]) })
	if err := errors.Join(failures...); err != nil {
		return err
	}
	return w.until(ctx, "the pools to be ready", func() bool {
		var list v1alpha1.RunnerPoolList
		err := w.plane.Client.List(ctx, &list, client.InNamespace(w.namespace))
		ready := 0
		for i := range list.Items {
			if meta.IsStatusConditionTrue(list.Items[i].Status.Conditions, v1alpha1.ConditionReady) {
				ready++
			}
		}
		return err == nil && ready == len(pools)
	})
}

// hook has GitHub deliver to a manager.
func (w *world) hook(manager *stack.Manager) {
	w.github.AddWebhook(repository, manager.WebhookURL, stack.WebhookSecret)
}

func (w *world) until(ctx context.Context, what string, done func() bool) error {
	err := wait.PollUntilContextTimeout(ctx, look, patience, true, func(context.Context) (bool, error) {
		for _, manager := range w.managers {
			if manager.Ended() {
				return false, fmt.Errorf("a manager has ended:\n%s", tail(manager.Log()))
			}
		}
		return done(), nil
	})
	if err != nil {
		return fmt.Errorf("waiting for %s: %w", what, err)
	}
	return nil
}

func tail(text string) string { return text[max(0, len(text)-4096):] }

// gone waits until no Runner is left.
func (w *world) gone(ctx context.Context) error {
	return w.until(ctx, "the last Runner to go", func() bool {
		n, err := w.count(ctx, &v1alpha1.RunnerList{})
		return err == nil && n == 0
	})
}

// count objects of a kind, by one page and what it says is left.
func (w *world) count(ctx context.Context, list client.ObjectList) (int, error) {
	if err := w.plane.Client.List(ctx, list, client.InNamespace(w.namespace), client.Limit(1)); err != nil {
		return 0, err
	}
	n := meta.LenList(list)
	if left := list.GetRemainingItemCount(); left != nil {
		n += int(*left)
	}
	return n, nil
}

// stop the world. Its objects go with their finalizers, since no manager is there to end them.
func (w *world) stop(ctx context.Context) error {
	for _, manager := range w.managers {
		manager.Stop()
	}
	if w.modal != nil {
		w.modal.Close()
	}
	if w.github != nil {
		w.github.Close()
	}
	if w.namespace == "" {
		return nil
	}
	return w.clear(ctx)
}

// clear the namespace, so that the next scenario, whose manager serves all namespaces as one is installed to by default, finds
// the API server as this one did.
func (w *world) clear(ctx context.Context) error {
	in := client.InNamespace(w.namespace)
	var runners v1alpha1.RunnerList
	var pools v1alpha1.RunnerPoolList
	if err := errors.Join(w.plane.Client.List(ctx, &runners, in), w.plane.Client.List(ctx, &pools, in)); err != nil {
		return err
	}
	var all []client.Object
	for i := range runners.Items {
		all = append(all, &runners.Items[i])
	}
	for i := range pools.Items {
		all = append(all, &pools.Items[i])
	}
	failures := make([]error, len(all))
	workqueue.ParallelizeUntil(ctx, 16, len(all), func(i int) {
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
		failures[i] = client.IgnoreNotFound(w.plane.Client.Patch(ctx, all[i], patch))
	})
	return errors.Join(errors.Join(failures...),
		w.plane.Client.DeleteAllOf(ctx, &v1alpha1.RunnerPool{}, in),
		w.plane.Client.DeleteAllOf(ctx, &v1alpha1.Runner{}, in),
		w.plane.Client.DeleteAllOf(ctx, &v1alpha1.WorkflowJob{}, in))
}
