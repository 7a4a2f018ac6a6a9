package ui

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/queue"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
)

// lives of the Runners that are there, and of the jobs that ended since a time.
func (h *holding) lives(since time.Time) (alive, over []Life) {
	jobs, known := h.jobsByRunner(), map[string]bool{}
	for _, r := range h.runners {
		name := r.OutsideName()
		known[name] = true
		alive = append(alive, lifeOfRunner(r, jobs[name]))
	}
	for _, job := range h.jobs {
		switch life := lifeOfJob(job); {
		case job.Status.State == v1alpha1.JobInProgress && !known[job.Status.RunnerName]:
			alive = append(alive, life)
		case job.Status.State == v1alpha1.JobCompleted && !life.ended().Before(since):
			over = append(over, life)
		}
	}
	return alive, over
}

// lifeOfRunner with the job that it runs, if that is known.
func lifeOfRunner(r *v1alpha1.Runner, job *v1alpha1.WorkflowJob) Life {
	s := &r.Status
	l := Life{
		Key: "runner/" + r.Namespace + "/" + r.Name, Namespace: r.Namespace, Pool: r.Spec.PoolName, Name: r.Name,
		SandboxID: s.SandboxID, SandboxURL: safeURL(s.SandboxURL), Attempt: r.CurrentAttempt(),
	}
	l.State, l.Tone = stateOfRunner(r)
	var queued, taken *metav1.Time
	switch {
	case job != nil:
		l.tellJob(job)
		queued, taken = job.Status.QueuedAt, job.Status.StartedAt
	case s.Job != nil:
		l.Repository, l.Job = s.Job.Repository, s.Job.Name
	}
	if !queued.Before(&r.CreationTimestamp) {
		queued = nil
	}
	if s.BusyAt != nil {
		taken = s.BusyAt
	}
	ended := s.EndedAt
	if ended == nil {
		ended = r.DeletionTimestamp
	}
	l.Steps = steps(nil, mark{StepQueued, queued}, mark{StepPending, &r.CreationTimestamp}, mark{StepStarting, s.LaunchedAt},
		mark{StepIdle, s.OnlineAt}, mark{StepRunning, taken}, mark{StepEnding, ended})
	return l
}

func stateOfRunner(r *v1alpha1.Runner) (string, Tone) {
	switch phase := r.Status.Phase; {
	case !r.DeletionTimestamp.IsZero():
		return string(v1alpha1.RunnerTerminating), ToneOff
	case phase == v1alpha1.RunnerFailed:
		return string(phase), ToneBad
	case phase == v1alpha1.RunnerRunning:
		return string(phase), ToneBusy
	case phase == v1alpha1.RunnerIdle:
		return string(phase), ToneGood
	case phase == "":
		return string(v1alpha1.RunnerPending), ToneWait
	default:
		return string(phase), ToneWait
	}
}

// lifeOfJob that no Runner of the pool has now.
func lifeOfJob(job *v1alpha1.WorkflowJob) Life {
	s := &job.Status
	l := Life{
		Key: "job/" + job.Namespace + "/" + job.Name, Namespace: job.Namespace, Pool: job.Spec.PoolName, Name: job.Name,
		SandboxID: s.SandboxID, SandboxURL: sandbox.URL(s.SandboxID), State: "In progress", Tone: ToneBusy,
	}
	l.tellJob(job)
	queued := metav1.NewTime(queue.QueuedAt(job))
	var completed *metav1.Time
	if s.State == v1alpha1.JobCompleted {
		l.State, l.Tone = conclusion(s.Conclusion)
		completed = s.CompletedAt
		for _, other := range []*metav1.Time{s.StartedAt, &queued} {
			if completed == nil {
				completed = other
			}
		}
	}
	l.Steps = steps(completed, mark{StepQueued, &queued}, mark{StepRunning, s.StartedAt})
	return l
}

func (l *Life) tellJob(job *v1alpha1.WorkflowJob) {
	l.Repository, l.Workflow, l.Job, l.JobURL = job.Spec.Repository, job.Spec.Workflow, job.Spec.Name, safeURL(job.Spec.URL)
}

// conclusion of a job, in GitHub's word.
func conclusion(word string) (string, Tone) {
	switch word {
	case "success":
		return "Succeeded", ToneGood
	case "failure":
		return "Failed", ToneBad
	case "timed_out":
		return "Timed out", ToneBad
	case "cancelled":
		return "Cancelled", ToneOff
	case "skipped":
		return "Skipped", ToneOff
	case "":
		return "Completed", ToneOff
	}
	return word, ToneOff
}

// mark of a step's beginning; none when it has not begun.
type mark struct {
	step string
	at   *metav1.Time
}

// steps from their beginnings: each ends where the next begins, the last at the end, if there is one. Times are seconds, come
// from several clocks and may be missing: a step never begins before the one before it, and one without length is left out unless it
// is the last.
func steps(end *metav1.Time, marks ...mark) []Step {
	all := []Step{}
	for _, m := range append(marks, mark{at: end}) {
		if m.at.IsZero() {
			continue
		}
		at := m.at.UTC()
		if n := len(all); n > 0 {
			last := &all[n-1]
			if at.Before(last.From) {
				at = last.From
			}
			last.To = &at
			if m.step != "" && at.Equal(last.From) {
				all = all[:n-1]
			}
		}
		if m.step != "" {
			all = append(all, Step{Step: m.step, From: at})
		}
	}
	return all
}

// ended is when the last step ended; zero while it goes on.
func (l *Life) ended() time.Time {
	if n := len(l.Steps); n > 0 && l.Steps[n-1].To != nil {
		return *l.Steps[n-1].To
	}
	return time.Time{}
}

// Told is the life in words: how long each step took.
func (l *Life) Told(now time.Time) string {
	text := ""
	for i, step := range l.Steps {
		if i > 0 {
			text += ", "
		}
		to, running := now, "for "
		if step.To != nil {
			to, running = *step.To, ""
		}
		text += fmt.Sprintf("%s %s%s", step.Step, running, span(to.Sub(step.From)))
	}
	return text
}
