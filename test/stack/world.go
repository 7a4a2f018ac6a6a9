package stack

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

// Credentials of the simulated world. They are worth nothing anywhere else.
const (
	GitHubToken   = "simulated-github-token"
	ModalTokenID  = "ak-simulated"
	ModalSecret   = "as-simulated-secret"
	WebhookSecret = "simulated-webhook-secret"
)

// World is the local stack: a control plane, both simulators with real processes as sandboxes, and the manager.
type World struct {
	*ControlPlane
	GitHub  *githubsim.Server
	Modal   *modalsim.Server
	Manager *Manager
}

// StartWorld for one repository, whose webhooks go to the manager, with everything built from the sources at root.
// Programs are built into folder; say is told what is being done.
func StartWorld(ctx context.Context, root, folder, namespace, repository string, say func(string), arguments ...string) (*World, error) {
	say("building the manager and the simulated runner program")
	binary, err := BuildManager(ctx, root, folder)
	if err != nil {
		return nil, err
	}
	program := filepath.Join(folder, "runner")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, "./simulators/runner/cmd/runner")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the runner: %w\n%s", err, out)
	}
	say("starting etcd, kube-apiserver and kube-controller-manager")
	plane, err := StartControlPlane(ctx, root)
	if err != nil {
		return nil, err
	}
	w := &World{ControlPlane: plane}
	say("starting the simulated GitHub and Modal, and the manager")
	if err := w.start(ctx, binary, program, namespace, repository, arguments); err != nil {
		return nil, errors.Join(err, w.Stop())
	}
	return w, nil
}

func (w *World) start(ctx context.Context, binary, program, namespace, repository string, arguments []string) error {
	w.GitHub = githubsim.New(githubsim.Options{})
	if err := w.GitHub.Start("127.0.0.1:0"); err != nil {
		return err
	}
	w.GitHub.AddRepository(repository, true)
	w.GitHub.AddToken(GitHubToken, repository)
	w.Modal = modalsim.New(modalsim.Options{
		Run: modalsim.Process(func(modalsim.Container) (string, []string) { return program, nil }), Exec: Exec,
	})
	if err := w.Modal.Start("127.0.0.1:0"); err != nil {
		return err
	}
	w.Modal.AddToken(ModalTokenID, ModalSecret)
	for name, data := range map[string]map[string]string{
		"github": {"github_token": GitHubToken}, "modal": {"token_id": ModalTokenID, "token_secret": ModalSecret},
	} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: data}
		if err := w.Client.Create(ctx, secret); err != nil {
			return fmt.Errorf("creating Secret %s: %w", name, err)
		}
	}
	var err error
	w.Manager, err = NewManager(ManagerOptions{
		Binary: binary, Kubeconfig: w.ManagerKubeconfig, Namespace: namespace, ModalURL: w.Modal.URL(), WebhookSecret: WebhookSecret, Arguments: arguments,
	})
	if err != nil {
		return err
	}
	if err := w.Manager.Restart(ctx); err != nil {
		return err
	}
	w.GitHub.AddWebhook(repository, w.Manager.WebhookURL, WebhookSecret)
	return nil
}

// Exec runs what is executed in a sandbox by this machine's program of that name.
var Exec = modalsim.Process(func(c modalsim.Container) (string, []string) {
	path, err := exec.LookPath(c.Command[0])
	if err != nil {
		return "", nil
	}
	return path, c.Command[1:]
})

// Stop everything.
func (w *World) Stop() error {
	if w.Manager != nil {
		w.Manager.Stop()
	}
	if w.Modal != nil {
		w.Modal.Close()
	}
	if w.GitHub != nil {
		w.GitHub.Close()
	}
	return w.ControlPlane.Stop()
}
