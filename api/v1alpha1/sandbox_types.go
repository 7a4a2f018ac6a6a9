package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Sandbox is the size of a sandbox, how long it may live, where it runs and what is in its reach.
//
// +kubebuilder:validation:XValidation:rule="!has(self.cpu) || quantity(string(self.cpu)).compareTo(quantity('125m')) >= 0 && quantity(string(self.cpu)).compareTo(quantity('64')) <= 0",message="sandbox.cpu must be between 125m and 64 physical cores"
// +kubebuilder:validation:XValidation:rule="!has(self.memory) || quantity(string(self.memory)).compareTo(quantity('128Mi')) >= 0 && quantity(string(self.memory)).compareTo(quantity('336Gi')) <= 0",message="sandbox.memory must be between 128Mi and 336Gi"
// +kubebuilder:validation:XValidation:rule="!has(self.cpuLimit) || has(self.cpu) && quantity(string(self.cpuLimit)).compareTo(quantity(string(self.cpu))) >= 0 && quantity(string(self.cpuLimit)).compareTo(quantity('64')) <= 0",message="sandbox.cpuLimit must be at least sandbox.cpu and at most 64 physical cores"
// +kubebuilder:validation:XValidation:rule="!has(self.memoryLimit) || has(self.memory) && quantity(string(self.memoryLimit)).compareTo(quantity(string(self.memory))) >= 0 && quantity(string(self.memoryLimit)).compareTo(quantity('336Gi')) <= 0",message="sandbox.memoryLimit must be at least sandbox.memory and at most 336Gi"
// +kubebuilder:validation:XValidation:rule="((has(self.volumes) ? self.volumes.map(v, v.mountPath) : []) + (has(self.cloudBuckets) ? self.cloudBuckets.map(b, b.mountPath) : []) + (has(self.cache) ? [self.cache.mountPath] : [])).all(p, ((has(self.volumes) ? self.volumes.map(v, v.mountPath) : []) + (has(self.cloudBuckets) ? self.cloudBuckets.map(b, b.mountPath) : []) + (has(self.cache) ? [self.cache.mountPath] : [])).exists_one(q, q == p))",message="sandbox.volumes, sandbox.cloudBuckets and sandbox.cache cannot share a mountPath: give each its own"
// +kubebuilder:validation:XValidation:rule="((has(self.volumes) ? self.volumes.map(v, v.name) : []) + (has(self.cache) ? [self.cache.volume] : [])).all(n, ((has(self.volumes) ? self.volumes.map(v, v.name) : []) + (has(self.cache) ? [self.cache.volume] : [])).exists_one(m, m == n))",message="a Volume can be mounted once alone: take another for sandbox.cache, or leave one of sandbox.volumes out"
type Sandbox struct {
	// CPU that is reserved, in physical cores (one is two vCPUs).
	// +optional
	// +kubebuilder:default="2"
	CPU resource.Quantity `json:"cpu,omitzero"`

	// CPULimit is the most CPU that it can use, in physical cores; when left out, what Modal allows (16 cores above cpu).
	// Source: modal.com/docs/guide/resources.
	// +optional
	CPULimit *resource.Quantity `json:"cpuLimit,omitempty"`

	// Memory that is reserved.
	// +optional
	// +kubebuilder:default="4Gi"
	Memory resource.Quantity `json:"memory,omitzero"`

	// MemoryLimit is the memory beyond which it is killed; when left out, it may use what its host has to spare.
	// +optional
	MemoryLimit *resource.Quantity `json:"memoryLimit,omitempty"`

	// GPU by Modal's name, with a count after a colon when more than one: A10, H100:2, ...
	// +optional
	GPU GPU `json:"gpu,omitempty"`

	// Timeout of a sandbox's life, from its creation; whatever runs in it then is killed. Modal's limit is 24h.
	// +optional
	// +kubebuilder:default="6h"
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1m') && duration(self) <= duration('24h')",message="sandbox.timeout must be a duration between 1m and 24h, for example 90s"
	// +kubebuilder:validation:XValidation:rule="!self.matches('[0-9]ms|[.]')",message="sandbox.timeout must be whole seconds"
	Timeout metav1.Duration `json:"timeout,omitzero"`

	// Cloud that it runs on: aws, gcp, oci, or auto.
	// +optional
	// +kubebuilder:validation:Enum=aws;gcp;oci;auto
	Cloud string `json:"cloud,omitempty"`

	// Regions that it may run in, by Modal's names: us, eu-west, us-east-1, ... Choosing some costs more. Source:
	// modal.com/docs/guide/region-selection.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Regions []Region `json:"regions,omitempty"`

	// Network that it reaches; everything when left out.
	// +optional
	Network *Network `json:"network,omitempty"`

	// Proxy at Modal, by name, through which it reaches the internet from a fixed address.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Proxy string `json:"proxy,omitempty"`

	// Docker runs a Docker daemon in it, as container jobs, service containers and docker actions need. An image that is
	// built here gets Docker installed; an image of your own must have dockerd.
	// +optional
	Docker bool `json:"docker,omitempty"`

	// Workdir is the absolute path of the directory that the runner is started in; the image's own when left out.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.startsWith('/')",message="sandbox.workdir must be an absolute path"
	Workdir string `json:"workdir,omitempty"`

	// Env are variables that the runner and every step of its job see.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=100
	Env []EnvVar `json:"env,omitempty"`

	// ModalSecrets, by name, whose keys the runner and every step of its job see as variables. Env comes after them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	ModalSecrets []ModalName `json:"modalSecrets,omitempty"`

	// Volumes at Modal that are mounted.
	// +optional
	// +listType=map
	// +listMapKey=mountPath
	// +kubebuilder:validation:MaxItems=16
	Volumes []VolumeMount `json:"volumes,omitempty"`

	// CloudBuckets that are mounted.
	// +optional
	// +listType=map
	// +listMapKey=mountPath
	// +kubebuilder:validation:MaxItems=16
	CloudBuckets []CloudBucketMount `json:"cloudBuckets,omitempty"`

	// Cache keeps tools and packages from one job to the next.
	// +optional
	Cache *Cache `json:"cache,omitempty"`

	// Verbose has Modal write more into the sandbox's log.
	// +optional
	Verbose bool `json:"verbose,omitempty"`

	// ExperimentalOptions of Modal, passed on as they are.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	ExperimentalOptions map[string]bool `json:"experimentalOptions,omitempty"`
}

// GPU is Modal's name of a GPU, in any case, with a count after a colon when more than one. Source:
// modal.com/docs/guide/gpu.
//
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:XValidation:rule="self.matches('(?i)^(T4|L4|A10|L40S|A100|A100-40GB|A100-80GB|RTX-PRO-6000|H100!?|H200|B200[+]?)(:[1-8])?$') && !self.matches('(?i)^A10:[5-8]$')",message="a GPU is T4, L4, A10, L40S, A100, A100-40GB, A100-80GB, RTX-PRO-6000, H100, H100!, H200, B200 or B200+, with a count of 1 to 8 (A10: 1 to 4) after a colon if more than one, for example A10 or H100:2"
type GPU string

// Region is Modal's name of a region.
//
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]+(-[a-z]+)?(-?[a-z]*[0-9])?$')",message="a region is named as in modal.com/docs/guide/region-selection, for example us, eu-west or us-east-1"
type Region string

// ModalName is a name that something has at Modal.
//
// +kubebuilder:validation:MaxLength=64
// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9._-]{1,64}$')",message="a name at Modal is 1 to 64 characters of A-Z a-z 0-9 . _ -"
type ModalName string

// NetworkAccess says what a sandbox reaches.
//
// +kubebuilder:validation:Enum=Open;Allowlist;Blocked
type NetworkAccess string

// What a sandbox reaches.
const (
	// NetworkOpen: everything.
	NetworkOpen NetworkAccess = "Open"
	// NetworkAllowlist: the CIDRs of the allowlist alone.
	NetworkAllowlist NetworkAccess = "Allowlist"
	// NetworkBlocked: nothing, so that the runner cannot reach GitHub: for trying out an image alone.
	NetworkBlocked NetworkAccess = "Blocked"
)

// Network that a sandbox reaches.
//
// +kubebuilder:validation:XValidation:rule="(has(self.access) && self.access == 'Allowlist') == (has(self.allowedCIDRs) && self.allowedCIDRs.size() > 0)",message="network.allowedCIDRs and network.access Allowlist go together: set both or neither"
type Network struct {
	// Access: Open, Allowlist, or Blocked. The runner must reach GitHub's addresses (api.github.com/meta) to come online:
	// an Allowlist needs them, and with Blocked no runner ever does.
	// +optional
	// +kubebuilder:default=Open
	Access NetworkAccess `json:"access,omitempty"`

	// AllowedCIDRs are the only addresses that the sandbox reaches.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	AllowedCIDRs []CIDR `json:"allowedCIDRs,omitempty"`
}

// CIDR is a range of addresses.
//
// +kubebuilder:validation:MaxLength=43
// +kubebuilder:validation:XValidation:rule="isCIDR(self)",message="write a range of addresses as address/bits, for example 140.82.112.0/20"
type CIDR string

// EnvVar is a variable in a sandbox, with a value or one out of a Secret.
//
// +kubebuilder:validation:XValidation:rule="!has(self.value) || !has(self.secretKeyRef)",message="a variable has either value or secretKeyRef"
type EnvVar struct {
	// Name of the variable.
	// +required
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z_][A-Za-z0-9_]*$')",message="a variable's name has letters, digits and underscores, and does not begin with a digit"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('ACTIONS_RUNNER_INPUT_') && !self.startsWith('MODALRUNNER_')",message="variables that begin with ACTIONS_RUNNER_INPUT_ or MODALRUNNER_ are the controller's own"
	Name string `json:"name"`

	// Value of the variable. It is no secret: whoever may read the pool reads it.
	// +optional
	// +kubebuilder:validation:MaxLength=32768
	Value string `json:"value,omitempty"`

	// SecretKeyRef takes the value from a Secret in the pool's namespace.
	// +optional
	SecretKeyRef *SecretKeyRef `json:"secretKeyRef,omitempty"`
}

// SecretKeyRef names a key of a Secret in the pool's namespace.
type SecretKeyRef struct {
	// Name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// Key in the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key"`
}

// MountPath is where something is mounted in a sandbox.
//
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:XValidation:rule="!self.matches('^/(tmp|root|opt|etc|usr|bin|sbin|lib|lib64|var|home)$') && !self.matches('^/(proc|sys|dev|opt/actions-runner)(/|$)')",message="a mountPath cannot hide what the system or the runner needs: take a directory of its own, for example /data"
// +kubebuilder:validation:XValidation:rule="self.matches('^(/[A-Za-z0-9._@+-]+)+$') && !self.matches('/[.][.]?(/|$)')",message="a mountPath is an absolute path below the root, without . and .. and a slash at its end, for example /data"
type MountPath string

// VolumeMount mounts a Modal Volume.
type VolumeMount struct {
	// Name of the Volume at Modal.
	// +required
	Name ModalName `json:"name"`

	// MountPath in the sandbox.
	// +required
	MountPath MountPath `json:"mountPath"`

	// ReadOnly mounts it so that nothing can be changed in it.
	// +optional
	ReadOnly bool `json:"readOnly,omitempty"`

	// CreateIfMissing makes the Volume when there is none of its name. It is never removed.
	// +optional
	CreateIfMissing bool `json:"createIfMissing,omitempty"`
}

// CloudBucketMount mounts a bucket of AWS S3, Cloudflare R2 or Google Cloud Storage.
//
// +kubebuilder:validation:XValidation:rule="!has(self.requesterPays) || !self.requesterPays || has(self.modalSecret)",message="requesterPays needs modalSecret, the credentials of who pays"
type CloudBucketMount struct {
	// Bucket by name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	Bucket string `json:"bucket"`

	// MountPath in the sandbox.
	// +required
	MountPath MountPath `json:"mountPath"`

	// ModalSecret by name, with the bucket's credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, or those of R2 or GCS
	// HMAC keys).
	// +optional
	ModalSecret ModalName `json:"modalSecret,omitempty"`

	// OIDCRoleARN of an AWS role that Modal takes on instead of using credentials.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.startsWith('arn:')",message="oidcRoleARN is the ARN of an AWS role, arn:aws:iam::...:role/..."
	OIDCRoleARN string `json:"oidcRoleARN,omitempty"`

	// EndpointURL of a bucket that is not in AWS: https://ACCOUNT.r2.cloudflarestorage.com, https://storage.googleapis.com.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[^ ]+$')",message="endpointURL must be an http or https address"
	EndpointURL string `json:"endpointURL,omitempty"`

	// KeyPrefix mounts only what is below it.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.endsWith('/')",message="keyPrefix must end with a slash"
	KeyPrefix string `json:"keyPrefix,omitempty"`

	// ReadOnly mounts it so that nothing can be changed in it.
	// +optional
	ReadOnly bool `json:"readOnly,omitempty"`

	// RequesterPays has the owner of the credentials pay for what is read.
	// +optional
	RequesterPays bool `json:"requesterPays,omitempty"`
}

// Cache is a Modal Volume in which tools and packages are kept, so that a second job finds what a first one fetched: the
// runner's tool cache (setup-node, setup-python, ...) and the caches of npm, yarn, pip, uv, Go, Gradle, NuGet, ccache and
// Hugging Face, which are told of it by their variables. All jobs of the pool share it, and can change what others find.
type Cache struct {
	// Volume at Modal, by name; it is made when there is none.
	// +required
	Volume ModalName `json:"volume"`

	// MountPath in the sandbox.
	// +optional
	// +kubebuilder:default=/cache
	MountPath MountPath `json:"mountPath,omitempty"`
}
