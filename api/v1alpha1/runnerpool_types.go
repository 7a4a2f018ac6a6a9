package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RunnerPoolSpec is what an operator declares.
//
// +kubebuilder:validation:XValidation:rule="[has(self.repository), has(self.organization), has(self.enterprise)].filter(set, set).size() == 1",message="set exactly one of repository, organization and enterprise"
// +kubebuilder:validation:XValidation:rule="has(self.repository) == has(oldSelf.repository) && (!has(self.repository) || self.repository == oldSelf.repository) && has(self.organization) == has(oldSelf.organization) && (!has(self.organization) || self.organization == oldSelf.organization) && has(self.enterprise) == has(oldSelf.enterprise) && (!has(self.enterprise) || self.enterprise == oldSelf.enterprise)",message="the scope of a pool cannot be changed: create another RunnerPool for another repository, organization or enterprise"
// +kubebuilder:validation:XValidation:rule="!has(self.repository) || !has(self.repositories)",message="repositories narrows an organization or enterprise down: leave it out where repository is set"
// +kubebuilder:validation:XValidation:rule="!has(self.repository) || !has(self.runnerGroup)",message="a repository has no runner groups: leave out runnerGroup, or set organization or enterprise instead of repository"
// +kubebuilder:validation:XValidation:rule="!has(self.enterprise) || !has(self.webhook) || !has(self.webhook.manage) || !self.webhook.manage",message="GitHub lets nobody create an enterprise's webhook by API: leave out webhook.manage and create it by hand"
type RunnerPoolSpec struct {
	Scope `json:",inline"`

	// Repositories whose jobs an organization's or enterprise's pool serves; all when left out.
	// +optional
	Repositories *RepositoryFilter `json:"repositories,omitempty"`

	// AllowPublicRepositories serves jobs of public repositories too. Whoever can open a pull request there can run code
	// on a runner, unless the repository asks for approval first; so they are refused by default.
	// +optional
	AllowPublicRepositories bool `json:"allowPublicRepositories,omitempty"`

	// AllowForks serves jobs that run code from a fork of the repository, as those of a pull request from a fork do. They
	// are refused by default.
	// +optional
	AllowForks bool `json:"allowForks,omitempty"`

	// Webhook of this pool alone. Without it, the pool is told of jobs by deliveries that are signed with the controller's
	// own webhook secret, and finds those that it was not told of by itself.
	// +optional
	Webhook *Webhook `json:"webhook,omitempty"`

	// Labels that jobs name in runs-on to be served by this pool. A job is served when it names at least one of them and
	// nothing beyond them and self-hosted, linux and x64, which every runner carries. Case does not matter.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	Labels []RunnerLabel `json:"labels"`

	// MaxConcurrency is the most sandboxes that are ever alive at once. 0 starts none.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	MaxConcurrency int32 `json:"maxConcurrency"`

	// MinIdle is how many idle runners are kept ready beyond what queued jobs need, so that a job starts without waiting
	// for a sandbox. They count against maxConcurrency.
	// +optional
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	MinIdle int32 `json:"minIdle,omitempty"`

	// Suspend stops the pool from making runners: idle ones go, what runs finishes, and jobs wait in the queue.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// Wishes lets a job ask, by its labels, for another sandbox than the pool's. Without it, such labels match no pool.
	// +optional
	Wishes *Wishes `json:"wishes,omitempty"`

	// Budget stops the pool from making runners when it has been spent.
	// +optional
	Budget *Budget `json:"budget,omitempty"`

	// Priority decides between pools of equal scope and labels that could all serve a job: the higher one does.
	// +optional
	Priority int32 `json:"priority,omitempty"`

	RunnerTemplate `json:",inline"`
}

// RunnerLabel is a label of a runner as written in runs-on.
//
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:XValidation:rule="self.trim().size() > 0",message="a label cannot be empty: remove it or write its name"
// +kubebuilder:validation:XValidation:rule="!self.contains(',')",message="a label cannot contain a comma: write each label as an item of its own"
type RunnerLabel string

// Condition types of a RunnerPool.
const (
	// ConditionReady sums the others up: the pool can serve jobs.
	ConditionReady = "Ready"
	// ConditionGitHubReady says that GitHub accepts the pool's credentials for its scope.
	ConditionGitHubReady = "GitHubReady"
	// ConditionModalReady says that Modal accepts the pool's credentials and that its app exists.
	ConditionModalReady = "ModalReady"
	// ConditionImageReady says that the runner image is built.
	ConditionImageReady = "ImageReady"
	// ConditionTemplateReady says that what the pool's template refers to exists: Secrets, and at Modal Secrets, Volumes and
	// the proxy.
	ConditionTemplateReady = "TemplateReady"
	// ConditionBudgetSpent says that the pool's budget of the day is spent: no runner is made until the next.
	ConditionBudgetSpent = "BudgetSpent"
	// ConditionWebhookReady says that the webhook which the pool manages is as it should be. It is there only when
	// spec.webhook.manage is set.
	ConditionWebhookReady = "WebhookReady"
	// ConditionRateLimited says that GitHub limits the pool's credentials: calls wait, those for queued jobs last of all.
	ConditionRateLimited = "RateLimited"
	// ConditionDegraded says that runners fail to start: one is tried at a time, slowly, until one comes online.
	ConditionDegraded = "Degraded"
)

// Reasons of a RunnerPool's conditions.
const (
	// ReasonReady is the reason of every condition that is True.
	ReasonReady = "Ready"
	// ReasonSecretNotFound: the Secret that the condition's message names does not exist.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonSecretInvalid: the Secret lacks a key or a key's value cannot be used; the message names it.
	ReasonSecretInvalid = "SecretInvalid"
	// ReasonUnauthorized: the credentials were refused.
	ReasonUnauthorized = "Unauthorized"
	// ReasonForbidden: the credentials are valid but lack a permission on the scope, or the scope does not exist.
	ReasonForbidden = "Forbidden"
	// ReasonThrottled: the other side asked to wait; the message says until when.
	ReasonThrottled = "Throttled"
	// ReasonBudgetLow: little is left of what GitHub allows in an hour, and is kept for waiting jobs.
	ReasonBudgetLow = "BudgetLow"
	// ReasonBudgetSufficient: GitHub does not limit the pool's credentials now.
	ReasonBudgetSufficient = "BudgetSufficient"
	// ReasonRunnerGroupNotFound: the runner group that spec.runnerGroup names does not exist.
	ReasonRunnerGroupNotFound = "RunnerGroupNotFound"
	// ReasonURLUnknown: the manager knows no address to give to GitHub: set --webhook-url, or spec.webhook.url.
	ReasonURLUnknown = "URLUnknown"
	// ReasonReferenceNotFound: something that the template refers to does not exist at Modal; the message names it.
	ReasonReferenceNotFound = "ReferenceNotFound"
	// ReasonImageNotFound: Modal does not have the image that spec.image.id names, or no more.
	ReasonImageNotFound = "ImageNotFound"
	// ReasonDailyBudgetSpent: what the pool's sandboxes cost today has reached spec.budget.perDay.
	ReasonDailyBudgetSpent = "DailyBudgetSpent"
	// ReasonBudgetLeft: some of the pool's budget of the day is left.
	ReasonBudgetLeft = "BudgetLeft"
	// ReasonUnreachable: the other side does not answer, or answers with errors of its own.
	ReasonUnreachable = "Unreachable"
	// ReasonRefused: the other side refused the request as invalid; the message says why.
	ReasonRefused = "Refused"
	// ReasonBuilding: the image is being built.
	ReasonBuilding = "Building"
	// ReasonBuildFailed: the image could not be built; the message ends with what the build said last.
	ReasonBuildFailed = "BuildFailed"
	// ReasonWaiting: another condition has to become True first; the message names it.
	ReasonWaiting = "Waiting"
	// ReasonDeleting: the pool is being deleted and waits for its Runners to end.
	ReasonDeleting = "Deleting"
	// ReasonSuspended: spec.suspend is set.
	ReasonSuspended = "Suspended"
	// ReasonChecking: the other side is being asked for the first time.
	ReasonChecking = "Checking"
	// ReasonUnserved: no manager serves the pool; where there are shards, none of them selects it.
	ReasonUnserved = "Unserved"
	// ReasonAttemptsFailed: attempts to start a runner failed in a row and none came online; the message tells the latest.
	ReasonAttemptsFailed = "AttemptsFailed"
	// ReasonAttemptsSucceed: the pool is not degraded.
	ReasonAttemptsSucceed = "AttemptsSucceed"
)

// RunnerPoolStatus is what the controller sees.
type RunnerPoolStatus struct {
	// ObservedGeneration is the generation of the spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// ServedBy is the lease of the manager, or of the shard of managers, that serves the pool. Another one that is to serve it
	// waits until this one has let it go, or is gone.
	// +optional
	ServedBy string `json:"servedBy,omitempty"`

	// Conditions: Ready sums up GitHubReady, ModalReady, TemplateReady and ImageReady. Degraded says whether runners fail to start.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Queued jobs that wait for a runner.
	// +optional
	Queued int32 `json:"queued"`

	// Starting runners: made, and not yet online.
	// +optional
	Starting int32 `json:"starting"`

	// Idle runners: online and without a job.
	// +optional
	Idle int32 `json:"idle"`

	// Running runners: busy with a job.
	// +optional
	Running int32 `json:"running"`

	// Runners of the pool in all, whatever they do.
	// +optional
	Runners int32 `json:"runners"`

	// Image that new sandboxes run.
	// +optional
	Image *ImageStatus `json:"image,omitempty"`

	// Usage is what the pool's sandboxes have used today, by the estimate of the controller's price table.
	// +optional
	Usage *Usage `json:"usage,omitempty"`

	// LastOnline is when a runner of the pool last came online.
	// +optional
	LastOnline *metav1.Time `json:"lastOnline,omitempty"`

	// Webhook that the pool manages at GitHub.
	// +optional
	Webhook *WebhookStatus `json:"webhook,omitempty"`

	// Circuit is there while the pool is Degraded.
	// +optional
	Circuit *Circuit `json:"circuit,omitempty"`
}

// Circuit holds back a pool whose runners fail to start: one Runner at a time probes whether they do again, with waits that
// grow. It is gone when a runner comes online.
type Circuit struct {
	// Failures in a row, of all the pool's Runners together.
	Failures int32 `json:"failures"`

	// LastFailure is the latest of them.
	LastFailure AttemptFailure `json:"lastFailure"`

	// Probe is the name of the Runner that may try next; empty while the pool has none that could.
	// +optional
	Probe string `json:"probe,omitempty"`

	// ProbeAt is when it may.
	ProbeAt metav1.Time `json:"probeAt"`
}

// WebhookStatus is the webhook that a pool manages.
type WebhookStatus struct {
	// ID of the webhook at GitHub; 0 from before it is created until its ID is known.
	ID int64 `json:"id"`

	// URL that it delivers to.
	URL string `json:"url"`

	// Server that it is at.
	// +optional
	Server string `json:"server,omitempty"`

	// Adopted says that the pool found the webhook and did not create it: it is left at GitHub when the pool is deleted.
	// +optional
	Adopted bool `json:"adopted,omitempty"`
}

// RunnerPool serves the queued jobs of a repository, organization or enterprise that ask for its labels, each on a fresh
// runner in a Modal sandbox.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.maxConcurrency,statuspath=.status.runners
// +kubebuilder:resource:shortName=rp,categories=modalrunner
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Queued",type=integer,JSONPath=`.status.queued`
// +kubebuilder:printcolumn:name="Starting",type=integer,JSONPath=`.status.starting`
// +kubebuilder:printcolumn:name="Idle",type=integer,JSONPath=`.status.idle`
// +kubebuilder:printcolumn:name="Running",type=integer,JSONPath=`.status.running`
// +kubebuilder:printcolumn:name="Max",type=integer,JSONPath=`.spec.maxConcurrency`
// +kubebuilder:printcolumn:name="Degraded",type=string,JSONPath=`.status.conditions[?(@.type=="Degraded")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Runner",type=string,priority=1,JSONPath=`.status.image.runnerVersion`
// +kubebuilder:printcolumn:name="Served-By",type=string,priority=1,JSONPath=`.status.servedBy`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="a RunnerPool's name can have at most 63 characters"
type RunnerPool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec RunnerPoolSpec `json:"spec"`
	// Status begins with a generation that no spec has: a pool that nobody has looked at yet is not taken for one that is ready. Its counts
	// begin with nothing, so that they are shown from the start.
	//
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1,"queued":0,"starting":0,"idle":0,"running":0,"runners":0}
	Status RunnerPoolStatus `json:"status,omitzero"`
}

// RunnerPoolList is a list of RunnerPools.
//
// +kubebuilder:object:root=true
type RunnerPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RunnerPool `json:"items"`
}
