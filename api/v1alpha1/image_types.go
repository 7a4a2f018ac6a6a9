package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RunnerVersionLatest asks for the version that GitHub's downloads endpoint names.
const RunnerVersionLatest = "latest"

// Image is one of three: built here, from Base and the runner at RunnerVersion; pulled from a registry (Ref); or one that
// exists at Modal already (ID).
//
// +kubebuilder:validation:XValidation:rule="!has(self.ref) || !has(self.id)",message="image.ref and image.id are two different images: leave one out"
// +kubebuilder:validation:XValidation:rule="!has(self.id) || !has(self.dockerfileCommands) && !has(self.registry)",message="image.id is used as it is: leave out image.dockerfileCommands and image.registry"
// +kubebuilder:validation:XValidation:rule="!(has(self.ref) || has(self.id)) || !has(self.runnerSHA256)",message="image.ref and image.id are used as they are: leave out image.runnerSHA256, or have the image built"
// +kubebuilder:validation:XValidation:rule="has(self.ref) || has(self.id) || !has(self.runnerVersion) || self.runnerVersion == 'latest' || has(self.runnerSHA256)",message="a pinned image.runnerVersion needs image.runnerSHA256, the checksum of actions-runner-linux-x64 from the release's page"
// +kubebuilder:validation:XValidation:rule="has(self.ref) || has(self.id) || !has(self.command)",message="image.command goes with image.ref or image.id; the image built here starts its own runner"
type Image struct {
	// ID of an image at Modal, im-..., used as it is. It must have the runner, started by Command.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^im-[A-Za-z0-9]+$')",message="image.id must be the ID of an image at Modal, im-..."
	ID string `json:"id,omitempty"`

	// Ref of an image in a registry. It must have the runner, started by Command.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Ref string `json:"ref,omitempty"`

	// Command that starts the runner in the image of Ref or ID; default /home/runner/run.sh, as in GitHub's own
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

	// Registry says how Base or Ref is pulled when that takes credentials.
	// +optional
	Registry *Registry `json:"registry,omitempty"`

	// DockerfileCommands are added to the image of Base, before the runner is installed, or to that of Ref: RUN, ENV and
	// the like. Nothing can be copied into it from this cluster, and what they write is no secret.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	DockerfileCommands []DockerfileCommand `json:"dockerfileCommands,omitempty"`

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

// DockerfileCommand is an instruction of a Dockerfile.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=4096
// +kubebuilder:validation:XValidation:rule="!self.matches('(?i)^[[:space:]]*(from|add)[[:space:]]')",message="image.dockerfileCommands cannot have FROM or ADD: the image is image.base or image.ref, and RUN curl fetches files"
// +kubebuilder:validation:XValidation:rule="!self.matches('(?i)^[[:space:]]*copy[[:space:]]') || self.matches('(?i)^[[:space:]]*copy[[:space:]]+--from=')",message="image.dockerfileCommands can COPY from other images alone (COPY --from=...): there are no local files"
type DockerfileCommand string

// RegistryType is the kind of a registry's credentials.
//
// +kubebuilder:validation:Enum=Basic;ECR;ArtifactRegistry
type RegistryType string

// Kinds of a registry's credentials, with the keys that their Secret has. Source: modal.com/docs/guide/private-registries.
const (
	// RegistryBasic: a user and a password, REGISTRY_USERNAME and REGISTRY_PASSWORD.
	RegistryBasic RegistryType = "Basic"
	// RegistryECR: Amazon ECR, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION.
	RegistryECR RegistryType = "ECR"
	// RegistryArtifactRegistry: Google Artifact Registry, SERVICE_ACCOUNT_JSON.
	RegistryArtifactRegistry RegistryType = "ArtifactRegistry"
)

// Registry says with which credentials Modal pulls an image.
//
// +kubebuilder:validation:XValidation:rule="has(self.secretName) != has(self.modalSecret)",message="set either registry.secretName, a Secret in the pool's namespace, or registry.modalSecret, a Secret at Modal"
type Registry struct {
	// Type of the credentials.
	// +optional
	// +kubebuilder:default=Basic
	Type RegistryType `json:"type,omitempty"`

	// SecretName of a Secret in the pool's namespace, with the keys of the type: REGISTRY_USERNAME and REGISTRY_PASSWORD
	// for Basic, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION for ECR, SERVICE_ACCOUNT_JSON for
	// ArtifactRegistry. For Basic, a Secret of type kubernetes.io/dockerconfigjson does as well.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName,omitempty"`

	// ModalSecret by name, with the same keys.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9._-]{1,64}$')",message="a Modal Secret's name is 1 to 64 characters of A-Z a-z 0-9 . _ -"
	// +kubebuilder:validation:MaxLength=64
	ModalSecret string `json:"modalSecret,omitempty"`
}

// ImageStatus is the image that new sandboxes run. One that was built goes on serving while its successor is built.
type ImageStatus struct {
	// ID of the image at Modal.
	ID string `json:"id"`

	// Recipe is a digest of all that the image was made from.
	Recipe string `json:"recipe"`

	// Command that starts the runner in it.
	// +optional
	// +listType=atomic
	Command []string `json:"command,omitempty"`

	// Docker says that the image is made to run Docker.
	// +optional
	Docker bool `json:"docker,omitempty"`

	// Modal app and credentials that it was built with.
	// +optional
	Modal Modal `json:"modal,omitzero"`

	// RunnerVersion that is in the image; empty for an image of the operator's own.
	// +optional
	RunnerVersion string `json:"runnerVersion,omitempty"`

	// BuiltAt is when it was ready.
	BuiltAt metav1.Time `json:"builtAt"`

	// RefusedAt is when GitHub refused the runner version that is in it. No sandbox is made from it any more.
	// +optional
	RefusedAt *metav1.Time `json:"refusedAt,omitempty"`
}

// Serves says that sandboxes can be made from the image for a template.
func (i *ImageStatus) Serves(template *RunnerTemplate) bool {
	return i != nil && i.RefusedAt == nil && i.Modal == template.Modal && (i.Docker || !template.Sandbox.Docker)
}
