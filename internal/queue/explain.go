// Package queue says why jobs wait, as a pure function of what is stored. kubectl's plugin and the status page tell it.
package queue

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// Reasons why a job waits, beside those for which a pool does not serve one.
const (
	ReasonNeedsApproval  = "NeedsApproval"
	ReasonUndecided      = v1alpha1.ReasonUndecided
	ReasonRunnerOnline   = "RunnerOnline"
	ReasonRunnerBusy     = "RunnerBusy"
	ReasonRunnerStarting = "RunnerStarting"
	ReasonRunnerPending  = "RunnerPending"
	ReasonSuspended      = v1alpha1.ReasonSuspended
	ReasonPoolNotReady   = v1alpha1.ReasonPoolNotReady
	ReasonPoolDegraded   = v1alpha1.ReasonPoolDegraded
	ReasonPoolFull       = "PoolFull"
	ReasonRunnerToBeMade = "RunnerToBeMade"
)

// Waiting is a job that waits, and why.
type Waiting struct {
	Namespace  string            `json:"namespace"`
	Pool       string            `json:"pool"`
	Job        string            `json:"job"`
	ID         int64             `json:"id"`
	Repository string            `json:"repository"`
	Name       string            `json:"name"`
	Workflow   string            `json:"workflow,omitempty"`
	URL        string            `json:"url,omitempty"`
	State      v1alpha1.JobState `json:"state"`
	Since      time.Time         `json:"since"`
	// Runner that is on its way to the job, if any. Any other that matches may take it.
	Runner  string `json:"runner,omitempty"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Explain why each job of a pool waits, the longest first. It counts as the controller's plan does: a job is not bound to a
// Runner, but there is one for as many jobs as there are Runners. Runners and jobs are the pool's own.
func Explain(pool *v1alpha1.RunnerPool, runners []*v1alpha1.Runner, jobs []*v1alpha1.WorkflowJob, now time.Time) []Waiting {
	l := newLine(pool, runners, jobs, now)
	var all []Waiting
	for _, job := range inOrder(jobs) {
		w := Waiting{
			Namespace: job.Namespace, Pool: pool.Name, Job: job.Name, ID: job.Spec.ID, Repository: job.Spec.Repository,
			Name: job.Spec.Name, Workflow: job.Spec.Workflow, URL: job.Spec.URL, State: job.Status.State, Since: QueuedAt(job),
		}
		l.explain(job, &w)
		all = append(all, w)
	}
	return all
}

// inOrder of their arrival, the jobs that wait.
func inOrder(jobs []*v1alpha1.WorkflowJob) []*v1alpha1.WorkflowJob {
	var all []*v1alpha1.WorkflowJob
	for _, job := range jobs {
		if (job.Status.State == v1alpha1.JobQueued || job.Status.State == v1alpha1.JobWaiting) && job.DeletionTimestamp.IsZero() {
			all = append(all, job)
		}
	}
	slices.SortStableFunc(all, func(a, b *v1alpha1.WorkflowJob) int {
		return cmp.Or(QueuedAt(a).Compare(QueuedAt(b)), cmp.Compare(a.Spec.ID, b.Spec.ID))
	})
	return all
}

// QueuedAt is when a job was created at GitHub; when it was first seen where that is not known.
func QueuedAt(job *v1alpha1.WorkflowJob) time.Time {
	if job.Status.QueuedAt != nil {
		return job.Status.QueuedAt.Time
	}
	return job.CreationTimestamp.Time
}

// line of a pool's jobs in front of its Runners.
type line struct {
	pool *v1alpha1.RunnerPool
	now  time.Time
	// usable Runners by what they were made for, those first that are the furthest.
	usable map[string][]*v1alpha1.Runner
	// holding a place of maxConcurrency.
	holding int
	// without a Runner, so many jobs so far.
	without int
}

func newLine(pool *v1alpha1.RunnerPool, runners []*v1alpha1.Runner, jobs []*v1alpha1.WorkflowJob, now time.Time) *line {
	l := &line{pool: pool, now: now, usable: map[string][]*v1alpha1.Runner{}}
	known := map[string]bool{}
	for _, job := range jobs {
		known[job.Status.RunnerName] = true
	}
	for _, r := range runners {
		if r.Dead() {
			continue
		}
		l.holding++
		if r.DeletionTimestamp.IsZero() && !known[r.OutsideName()] && advance(r) >= 0 {
			l.usable[r.Measured()] = append(l.usable[r.Measured()], r)
		}
	}
	for _, runners := range l.usable {
		slices.SortStableFunc(runners, func(a, b *v1alpha1.Runner) int { return advance(b) - advance(a) })
	}
	return l
}

// advance of a Runner towards a job; negative for one that takes none.
func advance(r *v1alpha1.Runner) int {
	switch r.Status.Phase {
	case "", v1alpha1.RunnerPending:
		return 0
	case v1alpha1.RunnerStarting:
		return 1
	case v1alpha1.RunnerRunning:
		if r.Status.Job == nil {
			return 2
		}
	case v1alpha1.RunnerIdle:
		return 3
	}
	return -1
}

// explain the next job in the line.
func (l *line) explain(job *v1alpha1.WorkflowJob, w *Waiting) {
	refusal, problem := l.pool.Refusal(job), job.Status.Problem
	switch asked := l.pool.Undecided(job); {
	case job.Status.State == v1alpha1.JobWaiting:
		w.Reason, w.Message = ReasonNeedsApproval, "it waits at GitHub for an approval or another rule of its environment: see the job's page"
	case refusal != nil:
		w.Reason, w.Message = refusal.Reason, refusal.Message
	case asked != "" && problem != nil && problem.Reason == v1alpha1.ReasonUndecided:
		w.Reason, w.Message = ReasonUndecided, problem.Message
	case asked != "":
		w.Reason, w.Message = ReasonUndecided, "GitHub is being asked "+asked
	default:
		if r := l.take(l.pool.Spec.Measured(job.Spec.Labels)); r != nil {
			w.Runner = r.Name
			w.Reason, w.Message = l.onItsWay(r)
			return
		}
		w.Reason, w.Message = l.withoutRunner()
	}
}

// take the furthest Runner of a measure.
func (l *line) take(measured string) *v1alpha1.Runner {
	runners := l.usable[measured]
	if len(runners) == 0 {
		return nil
	}
	l.usable[measured] = runners[1:]
	return runners[0]
}

// onItsWay says where a Runner is that the job could have.
func (l *line) onItsWay(r *v1alpha1.Runner) (reason, message string) {
	switch r.Status.Phase {
	case v1alpha1.RunnerIdle:
		return ReasonRunnerOnline, fmt.Sprintf("Runner %s is online%s: GitHub has not assigned it a job yet", r.Name, l.since(r.Status.OnlineAt))
	case v1alpha1.RunnerRunning:
		return ReasonRunnerBusy, fmt.Sprintf("Runner %s has a job that GitHub has not told of yet, perhaps this one", r.Name)
	case v1alpha1.RunnerStarting:
		return ReasonRunnerStarting, fmt.Sprintf("Runner %s: its sandbox is alive%s, its runner not online yet%s", r.Name, l.since(r.Status.LaunchedAt), failure(r))
	}
	message = fmt.Sprintf("Runner %s has no sandbox yet", r.Name)
	if c := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionLaunched); c != nil && c.Status == metav1.ConditionFalse {
		message += ": " + c.Message
	} else if waitsFor, ok := l.pool.CanLaunch(); !ok {
		message += ": " + waitsFor
	}
	if last := r.Status.LastFailure; last != nil && strings.Contains(message, last.Message) {
		return ReasonRunnerPending, message
	}
	return ReasonRunnerPending, message + failure(r)
}

// failure of the Runner's attempt before, if any.
func failure(r *v1alpha1.Runner) string {
	last := r.Status.LastFailure
	if last == nil {
		return ""
	}
	return fmt.Sprintf("; attempt %d failed with %s: %s", last.Attempt, last.Reason, last.Message)
}

// withoutRunner says why none is made for the job.
func (l *line) withoutRunner() (reason, message string) {
	l.without++
	room := int(l.pool.Spec.MaxConcurrency) - l.holding
	waitsFor, open := l.pool.CanLaunch()
	switch circuit := l.pool.Status.Circuit; {
	case l.pool.Spec.Suspend:
		return ReasonSuspended, waitsFor + ": kubectl modalrunner resume " + l.pool.Name
	case !open:
		return ReasonPoolNotReady, waitsFor
	case circuit != nil:
		return ReasonPoolDegraded, fmt.Sprintf("runners fail to start, and one at a time tries again, %s; the latest failed with %s: %s",
			until(circuit.ProbeAt.Time, l.now), circuit.LastFailure.Reason, circuit.LastFailure.Message)
	case l.pool.Spec.MaxConcurrency == 0:
		return ReasonPoolFull, "spec.maxConcurrency is 0"
	case l.without > room:
		return ReasonPoolFull, fmt.Sprintf("all %d places are taken (spec.maxConcurrency): number %d in line", l.pool.Spec.MaxConcurrency, l.without-max(0, room))
	}
	return ReasonRunnerToBeMade, "a Runner is about to be made"
}

// since a time, in words.
func (l *line) since(t *metav1.Time) string {
	if t == nil {
		return ""
	}
	return " for " + Span(l.now.Sub(t.Time))
}

// until a time, in words.
func until(t, now time.Time) string {
	if !t.After(now) {
		return "now"
	}
	return "in " + Span(t.Sub(now))
}

// Ready condition of a pool: unknown for one that no controller has seen.
func Ready(pool *v1alpha1.RunnerPool) metav1.Condition {
	if c := meta.FindStatusCondition(pool.Status.Conditions, v1alpha1.ConditionReady); c != nil {
		return *c
	}
	return metav1.Condition{Status: metav1.ConditionUnknown, Reason: "-", Message: "no controller has seen it yet"}
}

// Span of time, in words.
func Span(d time.Duration) string { return duration.HumanDuration(max(0, d)) }
