package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// WorkflowJobSpec is what never changes about a job at GitHub, and the pool that serves it.
type WorkflowJobSpec struct {
	// PoolName of the RunnerPool, in the same namespace, that serves the job.
	// +required
	PoolName string `json:"poolName"`

	// ID of the job at GitHub. A job that is run again has another.
	// +required
	ID int64 `json:"id"`

	// RunID of the workflow run that the job belongs to.
	// +optional
	RunID int64 `json:"runID,omitempty"`

	// RunAttempt is the number of the run's attempt, from 1.
	// +optional
	RunAttempt int64 `json:"runAttempt,omitempty"`

	// Repository of the job, as owner/name.
	// +required
	Repository string `json:"repository"`

	// Workflow that the job belongs to, by name.
	// +optional
	Workflow string `json:"workflow,omitempty"`

	// Name of the job.
	// +optional
	Name string `json:"name,omitempty"`

	// URL of the job's page.
	// +optional
	URL string `json:"url,omitempty"`

	// Public says that the repository was public when the job was first seen.
	// +optional
	Public bool `json:"public,omitempty"`

	// Labels that the job asks for (runs-on).
	// +required
	// +listType=atomic
	Labels []string `json:"labels"`
}

// JobState is how far a job is. It only moves forward, but for Waiting and Queued, which may follow each other until the
// job's gate is open.
// +kubebuilder:validation:Enum=Waiting;Queued;InProgress;Completed
type JobState string

// States of a job.
const (
	// JobWaiting: the job waits for an approval or another rule of its environment; it needs no runner yet.
	JobWaiting JobState = "Waiting"
	// JobQueued: the job needs a runner.
	JobQueued JobState = "Queued"
	// JobInProgress: a runner has taken the job.
	JobInProgress JobState = "InProgress"
	// JobCompleted: the job is over.
	JobCompleted JobState = "Completed"
)

// WorkflowJobStatus is what was last seen of a job at GitHub.
type WorkflowJobStatus struct {
	// State of the job.
	// +required
	State JobState `json:"state"`

	// Conclusion of a completed job, in GitHub's words: success, failure, cancelled, skipped, timed_out, ...
	// +optional
	Conclusion string `json:"conclusion,omitempty"`

	// RunnerName is the name at GitHub of the runner that took the job.
	// +optional
	RunnerName string `json:"runnerName,omitempty"`

	// SandboxID is the Modal sandbox that the job ran in, if it was one of this controller's.
	// +optional
	SandboxID string `json:"sandboxID,omitempty"`

	// HeadRepository is the repository that the job's code comes from, as owner/name: another than the job's own when it
	// is a fork. Empty while it is not known.
	// +optional
	HeadRepository string `json:"headRepository,omitempty"`

	// Unconfirmed says that the job was told of by a delivery so late that it may be one that was played again: GitHub is
	// asked before a runner is made for it.
	// +optional
	Unconfirmed bool `json:"unconfirmed,omitempty"`

	// Problem is why the pool does not serve the job, or what went wrong with the sandbox while the job ran in it.
	// +optional
	Problem *JobProblem `json:"problem,omitempty"`

	// QueuedAt is when GitHub created the job.
	// +optional
	QueuedAt *metav1.Time `json:"queuedAt,omitempty"`

	// StartedAt is when a runner took the job.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`

	// CompletedAt is when the job was over.
	// +optional
	CompletedAt *metav1.Time `json:"completedAt,omitempty"`
}

// Reasons of a WorkflowJob's problem, beside those of a Runner that fails in the middle of its job.
const (
	// ReasonPublicRepository: the repository is public, and the pool does not allow that.
	ReasonPublicRepository = "PublicRepository"
	// ReasonFork: the job runs code from a fork, and the pool does not allow that.
	ReasonFork = "Fork"
	// ReasonWishRefused: the job's labels ask for a sandbox that the pool's spec.wishes does not allow; the message says why.
	ReasonWishRefused = "WishRefused"
	// ReasonUndecided: GitHub does not tell what has to be known before the job is served; the message says what and why.
	ReasonUndecided = "Undecided"
)

// JobProblem tells why a job is not served, or could not be brought to its end.
type JobProblem struct {
	// Reason in one CamelCase word, as in a Runner's conditions.
	Reason string `json:"reason"`
	// Message for people.
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message"`
}

// NotServed says that the problem is why the pool does not serve the job, not what went wrong while it ran.
func (p *JobProblem) NotServed() bool {
	switch p.Reason {
	case ReasonPublicRepository, ReasonFork, ReasonWishRefused, ReasonUndecided:
		return true
	}
	return false
}

// WorkflowJob mirrors one GitHub Actions job that a RunnerPool serves. The controller makes it from webhooks and the
// queue poll; all of it is observation, so that it has no status subresource.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=wfj,categories=modalrunner
// +kubebuilder:selectablefield:JSONPath=`.spec.poolName`
// +kubebuilder:selectablefield:JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Pool",type=string,JSONPath=`.spec.poolName`
// +kubebuilder:printcolumn:name="Repository",type=string,JSONPath=`.spec.repository`
// +kubebuilder:printcolumn:name="Job",type=string,JSONPath=`.spec.name`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Conclusion",type=string,JSONPath=`.status.conclusion`
// +kubebuilder:printcolumn:name="Runner",type=string,JSONPath=`.status.runnerName`
// +kubebuilder:printcolumn:name="Problem",type=string,JSONPath=`.status.problem.reason`
// +kubebuilder:printcolumn:name="Queued",type=date,JSONPath=`.status.queuedAt`
// +kubebuilder:printcolumn:name="URL",type=string,priority=1,JSONPath=`.spec.url`
type WorkflowJob struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec WorkflowJobSpec `json:"spec"`
	// +required
	Status WorkflowJobStatus `json:"status"`
}

// WorkflowJobList is a list of WorkflowJobs.
//
// +kubebuilder:object:root=true
type WorkflowJobList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []WorkflowJob `json:"items"`
}
