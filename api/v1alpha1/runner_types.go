package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RunnerSpec is fixed when a Runner is made.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a Runner's spec cannot be changed: change its RunnerPool instead"
type RunnerSpec struct {
	// PoolName of the RunnerPool that this Runner belongs to.
	// +required
	PoolName string `json:"poolName"`

	Scope `json:",inline"`

	// Labels that the runner carries at GitHub.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=103
	Labels []string `json:"labels"`

	RunnerTemplate `json:",inline"`
}

// RunnerPhase is where a Runner is in its life.
// +kubebuilder:validation:Enum=Pending;Starting;Idle;Running;Terminating
type RunnerPhase string

// Phases of a Runner.
const (
	// RunnerPending: no sandbox yet.
	RunnerPending RunnerPhase = "Pending"
	// RunnerStarting: the sandbox exists, the runner is not online yet.
	RunnerStarting RunnerPhase = "Starting"
	// RunnerIdle: online at GitHub, without a job.
	RunnerIdle RunnerPhase = "Idle"
	// RunnerRunning: busy with a job.
	RunnerRunning RunnerPhase = "Running"
	// RunnerTerminating: deleted, and waiting for its sandbox and registration to go.
	RunnerTerminating RunnerPhase = "Terminating"
)

// Condition types of a Runner, one per step of its life.
const (
	// ConditionLaunched says that the sandbox of the current attempt exists.
	ConditionLaunched = "Launched"
	// ConditionOnline says that the runner has come online at GitHub.
	ConditionOnline = "Online"
)

// Reasons of a Runner's conditions, beside those of a RunnerPool's.
const (
	// ReasonLaunched: the sandbox was created.
	ReasonLaunched = "Launched"
	// ReasonOnline: GitHub lists the runner as online.
	ReasonOnline = "Online"
	// ReasonStarting: the sandbox is alive and the runner not online yet.
	ReasonStarting = "Starting"
	// ReasonNameTaken: GitHub already knows a runner of that name, left behind by an earlier try; it is being removed.
	ReasonNameTaken = "NameTaken"
	// ReasonStartupTimeout: the runner was not online within startupTimeout.
	ReasonStartupTimeout = "StartupTimeout"
	// ReasonSandboxEnded: the sandbox ended before its runner had a job.
	ReasonSandboxEnded = "SandboxEnded"
	// ReasonPoolNotReady: a condition of the pool has to become True first; the message says which.
	ReasonPoolNotReady = "PoolNotReady"
	// ReasonBackoff: the next attempt waits; the message says until when and why.
	ReasonBackoff = "Backoff"
)

// RunnerStatus is what the controller knows of the runner and its sandbox.
type RunnerStatus struct {
	// Phase of the Runner's life.
	// +optional
	Phase RunnerPhase `json:"phase,omitempty"`

	// Attempt is the number of the current try to get a runner online, from 1. It is stored before the first outside
	// call of a second or later attempt; a Runner without it is in its first.
	// +optional
	Attempt int32 `json:"attempt,omitempty"`

	// Name of the runner at GitHub and of the sandbox at Modal in the current attempt.
	// +optional
	Name string `json:"name,omitempty"`

	// RunnerID is the ID of the registration at GitHub.
	// +optional
	RunnerID int64 `json:"runnerID,omitempty"`

	// SandboxID is the ID of the sandbox at Modal.
	// +optional
	SandboxID string `json:"sandboxID,omitempty"`

	// SandboxURL is the sandbox's page in Modal's dashboard.
	// +optional
	SandboxURL string `json:"sandboxURL,omitempty"`

	// Job that the runner took.
	// +optional
	Job *RunnerJob `json:"job,omitempty"`

	// LaunchedAt is when the sandbox of the current attempt was created.
	// +optional
	LaunchedAt *metav1.Time `json:"launchedAt,omitempty"`

	// OnlineAt is when the runner was first seen online.
	// +optional
	OnlineAt *metav1.Time `json:"onlineAt,omitempty"`

	// BusyAt is when the runner was first seen busy.
	// +optional
	BusyAt *metav1.Time `json:"busyAt,omitempty"`

	// EndedAt is when the sandbox was first seen ended.
	// +optional
	EndedAt *metav1.Time `json:"endedAt,omitempty"`

	// Exit tells how the sandbox ended.
	// +optional
	Exit *SandboxExit `json:"exit,omitempty"`

	// LastFailure is why the latest failed attempt failed.
	// +optional
	LastFailure *AttemptFailure `json:"lastFailure,omitempty"`

	// Conditions: Launched and Online.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// RunnerJob names the job that a runner took.
type RunnerJob struct {
	// ID of the job at GitHub.
	ID int64 `json:"id"`
	// Repository of the job, as owner/name.
	Repository string `json:"repository"`
	// Name of the job.
	Name string `json:"name"`
}

// SandboxExit tells how a sandbox ended, in the words of Modal's result status.
type SandboxExit struct {
	// Status: Success, Failure, Terminated, Timeout, InitFailure, InternalFailure, IdleTimeout, or Unknown.
	Status string `json:"status"`
	// Code is the exit code of the runner program.
	Code int32 `json:"code"`
	// Message that Modal gave with it.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// AttemptFailure tells why an attempt failed.
type AttemptFailure struct {
	// Attempt that failed.
	Attempt int32 `json:"attempt"`
	// Name that the runner and the sandbox had in it.
	Name string `json:"name"`
	// Reason in one CamelCase word, as in the conditions.
	Reason string `json:"reason"`
	// Message for people.
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message"`
	// Time at which it was seen.
	Time metav1.Time `json:"time"`
	// RetryAt is when the next attempt starts.
	RetryAt metav1.Time `json:"retryAt"`
}

// Runner is one ephemeral GitHub Actions runner and the Modal sandbox that carries it. RunnerPools make Runners; their
// names, POOL-N, are the pool's slots, so that there can never be more than maxConcurrency of them.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=mr,categories=modalrunner
// +kubebuilder:selectablefield:JSONPath=`.spec.poolName`
// +kubebuilder:printcolumn:name="Pool",type=string,JSONPath=`.spec.poolName`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Job",type=string,JSONPath=`.status.job.name`
// +kubebuilder:printcolumn:name="Sandbox",type=string,JSONPath=`.status.sandboxID`
// +kubebuilder:printcolumn:name="Attempt",type=integer,JSONPath=`.status.attempt`
// +kubebuilder:printcolumn:name="Problem",type=string,JSONPath=`.status.lastFailure.reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Runner",type=string,priority=1,JSONPath=`.status.name`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.lastFailure.message`
type Runner struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec RunnerSpec `json:"spec"`
	// +optional
	Status RunnerStatus `json:"status,omitzero"`
}

// RunnerList is a list of Runners.
//
// +kubebuilder:object:root=true
type RunnerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Runner `json:"items"`
}
