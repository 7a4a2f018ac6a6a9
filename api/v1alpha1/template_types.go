package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
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

	// Sandbox sizes the sandbox of each runner.
	// +optional
	// +kubebuilder:default={}
	Sandbox Sandbox `json:"sandbox,omitzero"`

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

// RunnerVersionLatest asks for the version that GitHub's downloads endpoint names.
const RunnerVersionLatest = "latest"

// Image is either built here, from Base and the runner at RunnerVersion, or the operator's own (Ref).
//
// +kubebuilder:validation:XValidation:rule="!has(self.ref) || !has(self.runnerSHA256)",message="image.ref is used as it is: leave out image.runnerSHA256, or leave out image.ref to have the image built"
// +kubebuilder:validation:XValidation:rule="has(self.ref) || !has(self.runnerVersion) || self.runnerVersion == 'latest' || has(self.runnerSHA256)",message="a pinned image.runnerVersion needs image.runnerSHA256, the checksum of actions-runner-linux-x64 from the release's page"
// +kubebuilder:validation:XValidation:rule="has(self.ref) || !has(self.command)",message="image.command goes with image.ref; the image built here starts its own runner"
type Image struct {
	// Ref of an image in a registry, used as it is. It must have the runner, started by Command.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Ref string `json:"ref,omitempty"`

	// Command that starts the runner in the image of Ref; default /home/runner/run.sh, as in GitHub's own
	// ghcr.io/actions/actions-runner.
	// +optional
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=1024
	// +listType=atomic
	Command []string `json:"command,omitempty"`

	// Base image, from Debian or Ubuntu, that the runner is installed on.
	// +optional
	// +kubebuilder:default="ubuntu:24.04"
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9][A-Za-z0-9._/:@-]*$')",message="image.base must be an image reference, for example ubuntu:24.04"
	// +kubebuilder:validation:MaxLength=512
	Base string `json:"base,omitempty"`

	// RunnerVersion of github.com/actions/runner: latest, or a version such as 2.330.0. GitHub refuses versions about 30
	// days after a newer one was released.
	// +optional
	// +kubebuilder:default=latest
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self == 'latest' || self.matches('^[0-9]+[.][0-9]+[.][0-9]+$')",message="image.runnerVersion must be latest or a version such as 2.330.0"
	RunnerVersion string `json:"runnerVersion,omitempty"`

	// RunnerSHA256 of the linux-x64 archive of a pinned RunnerVersion, as 64 hexadecimal digits.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-f]{64}$')",message="image.runnerSHA256 must be 64 lower-case hexadecimal digits"
	// +kubebuilder:validation:MaxLength=64
	RunnerSHA256 string `json:"runnerSHA256,omitempty"`
}

// Sandbox is the size of a sandbox and how long it may live.
//
// +kubebuilder:validation:XValidation:rule="!has(self.cpu) || quantity(string(self.cpu)).compareTo(quantity('125m')) >= 0 && quantity(string(self.cpu)).compareTo(quantity('64')) <= 0",message="sandbox.cpu must be between 125m and 64 physical cores"
// +kubebuilder:validation:XValidation:rule="!has(self.memory) || quantity(string(self.memory)).compareTo(quantity('128Mi')) >= 0 && quantity(string(self.memory)).compareTo(quantity('336Gi')) <= 0",message="sandbox.memory must be between 128Mi and 336Gi"
type Sandbox struct {
	// CPU that is reserved, in physical cores (one is two vCPUs).
	// +optional
	// +kubebuilder:default="2"
	CPU resource.Quantity `json:"cpu,omitzero"`

	// Memory that is reserved.
	// +optional
	// +kubebuilder:default="4Gi"
	Memory resource.Quantity `json:"memory,omitzero"`

	// GPU by Modal's name, with a count after a colon when more than one: T4, L4, A10, L40S, A100-80GB, H100:2, ...
	// +optional
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9-]+!?(:[1-8])?$')",message="sandbox.gpu must be a GPU's name, with a count of 1 to 8 after a colon if more than one, for example A10 or H100:2"
	GPU string `json:"gpu,omitempty"`

	// Timeout of a sandbox's life, from its creation; whatever runs in it then is killed. Modal's limit is 24h.
	// +optional
	// +kubebuilder:default="6h"
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1m') && duration(self) <= duration('24h')",message="sandbox.timeout must be a duration between 1m and 24h, for example 90s"
	// +kubebuilder:validation:XValidation:rule="!self.matches('[0-9]ms|[.]')",message="sandbox.timeout must be whole seconds"
	Timeout metav1.Duration `json:"timeout,omitzero"`
}
