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

	// Installation is the mark of the controller that made the Runner. It is part of the names of all that the Runner has
	// outside, so that what is left over is told from what another controller made.
	// +optional
	// +kubebuilder:validation:MaxLength=8
	Installation string `json:"installation,omitempty"`

	Scope `json:",inline"`

	// Labels that the runner carries at GitHub.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=103
	Labels []string `json:"labels"`

	// Wishes are the labels of a job by which the sandbox was made to measure; none for a runner of the pool's own size.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	Wishes []string `json:"wishes,omitempty"`

	RunnerTemplate `json:",inline"`
}

// RunnerPhase is where a Runner is in its life.
// +kubebuilder:validation:Enum=Pending;Starting;Idle;Running;Failed;Terminating
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
	// RunnerFailed: its sandbox ended in the middle of its job. It stays until GitHub has given up the job.
	RunnerFailed RunnerPhase = "Failed"
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
	// ReasonAttemptsExhausted: the Runner has failed too often to try again by itself.
	ReasonAttemptsExhausted = "AttemptsExhausted"
	// ReasonPoolDegraded: runners of the pool fail to start, and another Runner probes whether they do again.
	ReasonPoolDegraded = "PoolDegraded"
	// ReasonPoolNotReady: a condition of the pool has to become True first; the message says which.
	ReasonPoolNotReady = "PoolNotReady"
	// ReasonBackoff: the next attempt waits; the message says until when and why.
	ReasonBackoff = "Backoff"
)

// Reasons of a hung runner: its sandbox is alive and does no work.
const (
	// ReasonStartupTimeout: the runner was not online within startupTimeout.
	ReasonStartupTimeout = "StartupTimeout"
	// ReasonRunnerOffline: GitHub lists the runner as offline although its sandbox is alive.
	ReasonRunnerOffline = "RunnerOffline"
	// ReasonRunnerGone: GitHub does not know the runner any more although its sandbox is alive.
	ReasonRunnerGone = "RunnerGone"
	// ReasonRunnerDeaf: GitHub lists the runner as online and idle while a job that it could take waits.
	ReasonRunnerDeaf = "RunnerDeaf"
	// ReasonOutlivedJob: the runner's job is over and its sandbox goes on.
	ReasonOutlivedJob = "OutlivedJob"
)

// Reasons of a sandbox's end, by what Modal says of it.
const (
	// ReasonSandboxEnded: the runner program ended by itself, as it does without a job when it cannot connect.
	ReasonSandboxEnded = "SandboxEnded"
	// ReasonRunnerCrashed: the runner program ended with an exit code that tells of a failure.
	ReasonRunnerCrashed = "RunnerCrashed"
	// ReasonRunnerVersionRefused: GitHub refuses the version of the runner program (exit code 7).
	ReasonRunnerVersionRefused = "RunnerVersionRefused"
	// ReasonOutOfMemory: the sandbox needed more memory than it may have.
	ReasonOutOfMemory = "OutOfMemory"
	// ReasonSandboxTimeout: the sandbox reached sandbox.timeout.
	ReasonSandboxTimeout = "SandboxTimeout"
	// ReasonSandboxTerminated: somebody else terminated the sandbox.
	ReasonSandboxTerminated = "SandboxTerminated"
	// ReasonSandboxInitFailed: the sandbox could not be started, for example because its image lacks the program.
	ReasonSandboxInitFailed = "SandboxInitFailed"
	// ReasonInfrastructureFailure: Modal lost the sandbox.
	ReasonInfrastructureFailure = "InfrastructureFailure"
	// ReasonSandboxLost: Modal does not know the sandbox any more, or does not say how it ended.
	ReasonSandboxLost = "SandboxLost"
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

	// ImageID is the image at Modal that the sandbox runs.
	// +optional
	ImageID string `json:"imageID,omitempty"`

	// Recipe is a digest of all that the image was made from.
	// +optional
	Recipe string `json:"recipe,omitempty"`

	// CostPerHour of the sandbox, as a decimal number, by the estimate of the controller's price table.
	// +optional
	CostPerHour string `json:"costPerHour,omitempty"`

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

	// Failures in a row of this Runner, while no runner of its pool came online.
	// +optional
	Failures int32 `json:"failures,omitempty"`

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
	// ImageID of the image that its sandbox ran.
	// +optional
	ImageID string `json:"imageID,omitempty"`
	// Log is what the sandbox wrote last, without anything that looks like a secret.
	// +optional
	// +kubebuilder:validation:MaxLength=8192
	Log string `json:"log,omitempty"`
	// Time at which it was seen.
	Time metav1.Time `json:"time"`
	// RetryAt is when the next attempt starts; none when there is no next.
	// +optional
	RetryAt *metav1.Time `json:"retryAt,omitempty"`
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
