package observe

import (
	"context"
	"fmt"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
)

// Outside is GitHub and Modal: the clients to act with, and the shared lists to look at.
type Outside struct {
	GitHub        *github.Clients
	Sandboxes     sandbox.Providers
	Registrations *Lists[github.Runner]
	SandboxLists  *Lists[sandbox.Listed]
}

// Place is where runners are: a scope at GitHub and an app at Modal, with the credentials for them.
type Place struct {
	Namespace string
	Scope     github.Scope
	GitHub    v1alpha1.GitHub
	Modal     v1alpha1.Modal
}

// PlaceOf a template in a namespace.
func PlaceOf(namespace string, scope v1alpha1.Scope, template *v1alpha1.RunnerTemplate) Place {
	return Place{
		Namespace: namespace, Scope: github.ScopeOf(template.GitHub.URL, scope), GitHub: template.GitHub, Modal: template.Modal,
	}
}

// Registrations names the shared list of the place's registrations, by runner name.
func (p Place) Registrations() string {
	return fmt.Sprintf("%s with %s/%s", p.Scope, p.Namespace, p.GitHub.SecretName)
}

// Sandboxes names the shared list of the place's sandboxes, by ID.
func (p Place) Sandboxes() string {
	return fmt.Sprintf("%s/%s with %s/%s", p.Modal.Environment, p.Modal.App, p.Namespace, p.Modal.SecretName)
}

// GitHubAt is the client for the place.
func (o *Outside) GitHubAt(ctx context.Context, p Place) (*github.Client, error) {
	return o.GitHub.For(ctx, p.Namespace, p.GitHub, p.Scope)
}

// ModalAt is the provider for the place.
func (o *Outside) ModalAt(ctx context.Context, p Place) (sandbox.Provider, error) {
	return o.Sandboxes.For(ctx, p.Namespace, p.Modal)
}

// ListRegistrations of a place.
func (o *Outside) ListRegistrations(p Place) ListFunc[github.Runner] {
	return func(ctx context.Context) (map[string]github.Runner, error) {
		gh, err := o.GitHubAt(ctx, p)
		if err != nil {
			return nil, err
		}
		runners, err := gh.ListRunners(ctx, p.Scope)
		all := make(map[string]github.Runner, len(runners))
		for _, r := range runners {
			all[r.Name] = r
		}
		return all, err
	}
}

// ListSandboxes of a place.
func (o *Outside) ListSandboxes(p Place) ListFunc[sandbox.Listed] {
	return func(ctx context.Context) (map[string]sandbox.Listed, error) {
		modal, err := o.ModalAt(ctx, p)
		if err != nil {
			return nil, err
		}
		return modal.List(ctx)
	}
}
