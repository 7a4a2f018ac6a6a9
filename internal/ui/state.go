// Package ui is the status page: what the controller's objects say, for people, in a browser. It reads the manager's cache
// and nothing else, changes nothing, and is the same on every replica.
package ui

import (
	"time"

	"github.com/modalrunner/modal-runner-controller/internal/queue"
)

// State is what the page shows and what /ui/api/state gives. docs/status-page.md describes it.
type State struct {
	// Now is when it was made. It is no part of what makes two States different.
	Now        time.Time  `json:"now"`
	Controller Controller `json:"controller"`
	Filter     Filter     `json:"filter"`
	// WindowSeconds is how far back runners and finished jobs are shown.
	WindowSeconds int64         `json:"windowSeconds"`
	Totals        Totals        `json:"totals"`
	Namespaces    []string      `json:"namespaces"`
	Pools         List[Pool]    `json:"pools"`
	Queue         List[Waiting] `json:"queue"`
	// Runners that are there, and Finished jobs of the window, the latest first.
	Runners  List[Life]    `json:"runners"`
	Finished List[Life]    `json:"finished"`
	Failures List[Failure] `json:"failures"`
}

// Controller is the replica that answers.
type Controller struct {
	Replica string `json:"replica"`
	// Shard that it is one of, where several share the pools. The page shows the pools of all.
	Shard   string `json:"shard,omitempty"`
	Version string `json:"version"`
	// Leads says that this replica is the one that acts.
	Leads bool `json:"leads"`
}

// List is the beginning of a sorted list, and how long all of it is.
type List[T any] struct {
	Items []T `json:"items"`
	Total int `json:"total"`
}

// More is how many there are beyond those in the list.
func (l List[T]) More() int { return l.Total - len(l.Items) }

// first of all, at most so many.
func first[T any](all []T, limit int) List[T] {
	if all == nil {
		all = []T{}
	}
	return List[T]{Items: all[:min(len(all), limit)], Total: len(all)}
}

// Totals of all pools that the filter lets through.
type Totals struct {
	Pools int `json:"pools"`
	// Ready pools, Broken ones, which somebody has to look at, and those that are Off on purpose: suspended, or being deleted.
	// The rest is on its way.
	Ready  int `json:"ready"`
	Broken int `json:"broken"`
	Off    int `json:"off"`
	// Waiting jobs and since when the first of them waits.
	Waiting  int        `json:"waiting"`
	Oldest   *time.Time `json:"oldest,omitempty"`
	Starting int        `json:"starting"`
	Idle     int        `json:"idle"`
	Running  int        `json:"running"`
	Limit    int        `json:"limit"`
	// Failures of runners, and jobs that failed by themselves, as far as they are known still.
	Failures   int `json:"failures"`
	FailedJobs int `json:"failedJobs"`
}

// Tone is how a thing stands, for its icon and colour. There is a word beside it always.
type Tone string

// Tones.
const (
	ToneGood Tone = "good"
	ToneBad  Tone = "bad"
	ToneWait Tone = "wait"
	ToneBusy Tone = "busy"
	ToneOff  Tone = "off"
)

// Pool at a glance.
type Pool struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Scope in words, and its page at GitHub.
	Scope  string   `json:"scope"`
	URL    string   `json:"url,omitempty"`
	Labels []string `json:"labels"`
	// State in a word: Ready, Not ready, Degraded, Suspended, Deleting, Unknown.
	State string `json:"state"`
	Tone  Tone   `json:"tone"`
	// Reason and Message of the condition Ready, since when it is so, and what to do about it.
	Reason        string      `json:"reason"`
	Message       string      `json:"message"`
	Advice        string      `json:"advice,omitempty"`
	Since         *time.Time  `json:"since,omitempty"`
	Queued        int         `json:"queued"`
	Starting      int         `json:"starting"`
	Idle          int         `json:"idle"`
	Running       int         `json:"running"`
	Limit         int         `json:"limit"`
	RunnerVersion string      `json:"runnerVersion,omitempty"`
	Conditions    []Condition `json:"conditions"`
}

// Condition of a pool.
type Condition struct {
	Type    string     `json:"type"`
	Status  string     `json:"status"`
	Tone    Tone       `json:"tone"`
	Reason  string     `json:"reason"`
	Message string     `json:"message"`
	Advice  string     `json:"advice,omitempty"`
	Since   *time.Time `json:"since,omitempty"`
}

// Waiting is a job that waits, and why.
type Waiting struct {
	queue.Waiting
	Tone Tone `json:"tone"`
}

// Life of a runner, or of a job that is over.
type Life struct {
	// Key is unique among all lives.
	Key       string `json:"key"`
	Namespace string `json:"namespace"`
	Pool      string `json:"pool"`
	// Name of the Runner, or of the WorkflowJob.
	Name string `json:"name"`
	// Job that it runs or ran, if any.
	Repository string `json:"repository,omitempty"`
	Workflow   string `json:"workflow,omitempty"`
	Job        string `json:"job,omitempty"`
	JobURL     string `json:"jobURL,omitempty"`
	SandboxID  string `json:"sandboxID,omitempty"`
	SandboxURL string `json:"sandboxURL,omitempty"`
	// State in a word: a Runner's phase, or a job's conclusion.
	State   string `json:"state"`
	Tone    Tone   `json:"tone"`
	Attempt int32  `json:"attempt,omitempty"`
	Steps   []Step `json:"steps"`
}

// Steps of a life.
const (
	StepQueued   = "queued"
	StepPending  = "pending"
	StepStarting = "starting"
	StepIdle     = "idle"
	StepRunning  = "running"
	StepEnding   = "ending"
)

// Step of a life.
type Step struct {
	Step string    `json:"step"`
	From time.Time `json:"from"`
	// To is missing while it goes on.
	To *time.Time `json:"to,omitempty"`
}

// Failure of a runner or a job.
type Failure struct {
	Key       string `json:"key"`
	Namespace string `json:"namespace"`
	Pool      string `json:"pool"`
	// Kind of it in words: an attempt that failed, a sandbox that died at work, a job that failed.
	Kind string `json:"kind"`
	// Subject that failed: a Runner, or a job.
	Subject    string     `json:"subject"`
	Repository string     `json:"repository,omitempty"`
	Reason     string     `json:"reason"`
	Message    string     `json:"message"`
	Advice     string     `json:"advice,omitempty"`
	Tone       Tone       `json:"tone"`
	Time       time.Time  `json:"time"`
	RetryAt    *time.Time `json:"retryAt,omitempty"`
	// Log is what the sandbox wrote last, as far as the Runner's status has it.
	Log        string `json:"log,omitempty"`
	JobURL     string `json:"jobURL,omitempty"`
	SandboxURL string `json:"sandboxURL,omitempty"`
}
