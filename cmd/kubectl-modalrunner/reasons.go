package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// Reasons why a job waits, beside those for which a pool does not serve one.
const (
	reasonNeedsApproval = "NeedsApproval"
	reasonUndecided     = v1alpha1.ReasonUndecided
	reasonOnline        = "RunnerOnline"
	reasonTaken         = "RunnerBusy"
	reasonStarting      = "RunnerStarting"
	reasonPending       = "RunnerPending"
	reasonSuspended     = v1alpha1.ReasonSuspended
	reasonNotReady      = v1alpha1.ReasonPoolNotReady
	reasonDegraded      = v1alpha1.ReasonPoolDegraded
	reasonFull          = "PoolFull"
	reasonToBeMade      = "RunnerToBeMade"
)

// waiting is a job that waits, and why.
type waiting struct {
	Namespace  string            `json:"namespace"`
	Pool       string            `json:"pool"`
	Job        string            `json:"job"`
	ID         int64             `json:"id"`
	Repository string            `json:"repository"`
	Name       string            `json:"name"`
	State      v1alpha1.JobState `json:"state"`
	Since      time.Time         `json:"since"`
	// Runner that is on its way to the job, if any. Any other that matches may take it.
	Runner  string `json:"runner,omitempty"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// explain why each job of a pool waits, the longest first. It is a pure function of what is stored, and counts as the
// controller's plan does: a job is not bound to a Runner, but there is one for as many jobs as there are Runners.
func explain(v view, now time.Time) []waiting {
	l := newLine(v, now)
	var all []waiting
	for _, job := range inOrder(v.jobs) {
		w := waiting{
			Namespace: job.Namespace, Pool: v.pool.Name, Job: job.Name, ID: job.Spec.ID, Repository: job.Spec.Repository,
			Name: job.Spec.Name, State: job.Status.State, Since: queuedAt(job),
		}
		l.explain(job, &w)
		all = append(all, w)
	}
	return all
}

// inOrder of their arrival, the jobs that wait.
func inOrder(jobs []v1alpha1.WorkflowJob) []*v1alpha1.WorkflowJob {
	var all []*v1alpha1.WorkflowJob
	for i := range jobs {
		job := &jobs[i]
		if (job.Status.State == v1alpha1.JobQueued || job.Status.State == v1alpha1.JobWaiting) && job.DeletionTimestamp.IsZero() {
			all = append(all, job)
		}
	}
	slices.SortStableFunc(all, func(a, b *v1alpha1.WorkflowJob) int {
		return cmp.Or(queuedAt(a).Compare(queuedAt(b)), cmp.Compare(a.Spec.ID, b.Spec.ID))
	})
	return all
}

func queuedAt(job *v1alpha1.WorkflowJob) time.Time {
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

func newLine(v view, now time.Time) *line {
	l := &line{pool: &v.pool, now: now, usable: map[string][]*v1alpha1.Runner{}}
	known := map[string]bool{}
	for _, job := range v.jobs {
		known[job.Status.RunnerName] = true
	}
	for i := range v.runners {
		r := &v.runners[i]
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
func (l *line) explain(job *v1alpha1.WorkflowJob, w *waiting) {
	refusal, problem := l.pool.Refusal(job), job.Status.Problem
	switch asked := l.pool.Undecided(job); {
	case job.Status.State == v1alpha1.JobWaiting:
		w.Reason, w.Message = reasonNeedsApproval, "it waits at GitHub for an approval or another rule of its environment: see the job's page"
	case refusal != nil:
		w.Reason, w.Message = refusal.Reason, refusal.Message
	case asked != "" && problem != nil && problem.Reason == v1alpha1.ReasonUndecided:
		w.Reason, w.Message = reasonUndecided, problem.Message
	case asked != "":
		w.Reason, w.Message = reasonUndecided, "GitHub is being asked "+asked
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
		return reasonOnline, fmt.Sprintf("Runner %s is online%s: GitHub has not assigned it a job yet", r.Name, l.since(r.Status.OnlineAt))
	case v1alpha1.RunnerRunning:
		return reasonTaken, fmt.Sprintf("Runner %s has a job that GitHub has not told of yet, perhaps this one", r.Name)
	case v1alpha1.RunnerStarting:
		return reasonStarting, fmt.Sprintf("Runner %s: its sandbox is alive%s, its runner not online yet%s", r.Name, l.since(r.Status.LaunchedAt), failure(r))
	}
	message = fmt.Sprintf("Runner %s has no sandbox yet", r.Name)
	if c := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionLaunched); c != nil && c.Status == metav1.ConditionFalse {
		message += ": " + c.Message
	} else if waitsFor, ok := l.pool.CanLaunch(); !ok {
		message += ": " + waitsFor
	}
	if last := r.Status.LastFailure; last != nil && strings.Contains(message, last.Message) {
		return reasonPending, message
	}
	return reasonPending, message + failure(r)
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
		return reasonSuspended, waitsFor + ": kubectl modalrunner resume " + l.pool.Name
	case !open:
		return reasonNotReady, waitsFor
	case circuit != nil:
		return reasonDegraded, fmt.Sprintf("runners fail to start, and one at a time tries again, %s; the latest failed with %s: %s",
			until(circuit.ProbeAt.Time, l.now), circuit.LastFailure.Reason, circuit.LastFailure.Message)
	case l.pool.Spec.MaxConcurrency == 0:
		return reasonFull, "spec.maxConcurrency is 0"
	case l.without > room:
		return reasonFull, fmt.Sprintf("all %d places are taken (spec.maxConcurrency): number %d in line", l.pool.Spec.MaxConcurrency, l.without-max(0, room))
	}
	return reasonToBeMade, "a Runner is about to be made"
}

// since a time, in words.
func (l *line) since(t *metav1.Time) string {
	if t == nil {
		return ""
	}
	return " for " + span(l.now.Sub(t.Time))
}

// until a time, in words.
func until(t, now time.Time) string {
	if !t.After(now) {
		return "now"
	}
	return "in " + span(t.Sub(now))
}
