package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RunnerTemplate is all that one runner is made from. A Runner keeps a copy of it, so that what it started can be found
// and removed even after its pool was changed.
type RunnerTemplate struct {
	// GitHub server and credentials.
	// +optional
	// +kubebuilder:default={}
	GitHub GitHub `json:"github,omitzero"`

	// RunnerGroup that the runners join, by name; the default group when empty. It must exist, and decides at GitHub which
	// repositories may use the runners. Only for organizations and enterprises.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	RunnerGroup string `json:"runnerGroup,omitempty"`

	// Modal app and credentials.
	// +optional
	// +kubebuilder:default={}
	Modal Modal `json:"modal,omitzero"`

	// Image the sandboxes run.
	// +optional
	// +kubebuilder:default={}
	Image Image `json:"image,omitzero"`

	// Sandbox of each runner: its size, and what is in its reach.
	// +optional
	// +kubebuilder:default={}
	Sandbox Sandbox `json:"sandbox,omitzero"`

	// Hooks are scripts that the runner runs before and after its job.
	// +optional
	Hooks *Hooks `json:"hooks,omitempty"`

	// StartupTimeout is how long a sandbox may take, from its creation, until its runner is online at GitHub. A sandbox
	// that takes longer is terminated and tried again.
	// +optional
	// +kubebuilder:default="5m"
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('1h')",message="startupTimeout must be a duration between 1s and 1h, for example 90s"
	StartupTimeout metav1.Duration `json:"startupTimeout,omitzero"`

	// IdleTimeout is how long a runner that no queued job needs stays online, so that a job queued soon after finds it.
	// +optional
	// +kubebuilder:default="1m"
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('0s') && duration(self) <= duration('24h')",message="idleTimeout must be a duration between 0s and 24h, for example 90s"
	IdleTimeout metav1.Duration `json:"idleTimeout,omitzero"`
}

// Modal says in which app sandboxes are made and as whom.
type Modal struct {
	// App that the sandboxes belong to; it is created when missing.
	// +optional
	// +kubebuilder:default=modal-runner-controller
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9._-]{1,64}$')",message="modal.app must be 1 to 64 characters of A-Z a-z 0-9 . _ -"
	// +kubebuilder:validation:MaxLength=64
	App string `json:"app,omitempty"`

	// Environment of the Modal workspace; empty means the workspace's default.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Environment string `json:"environment,omitempty"`

	// SecretName of a Secret in the pool's namespace, with the keys token_id and token_secret.
	// +optional
	// +kubebuilder:default=modal
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName,omitempty"`
}

// Hooks are shell scripts that the runner runs around a job, as steps of it: one that fails has the job fail. They see the
// job's GITHUB_* variables. Source: docs.github.com, "Running scripts before or after a job".
type Hooks struct {
	// JobStarted runs before the job's first step.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=30000
	JobStarted string `json:"jobStarted,omitempty"`

	// JobCompleted runs after the job's last step, also when the job failed.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=30000
	JobCompleted string `json:"jobCompleted,omitempty"`
}
