package ui

import (
	"fmt"
	"time"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
)

// Kinds of failures.
const (
	kindAttempt = "Runner did not start"
	kindDied    = "Sandbox died at work"
	kindJob     = "Job failed"
)

// failures that are still known of a pool: the latest of each Runner, the one that opened the pool's circuit, and jobs that
// failed. One that several objects tell of is told once, with most of what is known.
func (h *holding) failures() []Failure {
	var all []Failure
	jobs, told := h.jobsByRunner(), map[string]bool{}
	for _, r := range h.runners {
		last := r.Status.LastFailure
		if last == nil {
			continue
		}
		told[last.Name] = true
		f := failureOf(r.Namespace, r.Spec.PoolName, r.Name, last)
		if r.Status.Phase == v1alpha1.RunnerFailed {
			f.Kind, f.RetryAt, f.SandboxURL = kindDied, nil, safeURL(r.Status.SandboxURL)
		}
		if job := jobs[last.Name]; job != nil {
			f.Subject, f.Repository, f.JobURL = job.Spec.Name, job.Spec.Repository, safeURL(job.Spec.URL)
		}
		all = append(all, f)
	}
	if h.pool != nil && h.pool.Status.Circuit != nil && !told[h.pool.Status.Circuit.LastFailure.Name] {
		last := &h.pool.Status.Circuit.LastFailure
		all = append(all, failureOf(h.pool.Namespace, h.pool.Name, last.Name, last))
	}
	for _, job := range h.jobs {
		if f, ok := failureOfJob(job); ok && (f.Kind != kindDied || !told[job.Status.RunnerName]) {
			all = append(all, f)
		}
	}
	return all
}

func failureOf(namespace, pool, subject string, last *v1alpha1.AttemptFailure) Failure {
	return Failure{
		Key: fmt.Sprintf("failure/%s/%s/%d", namespace, last.Name, last.Attempt), Namespace: namespace, Pool: pool,
		Kind: kindAttempt, Subject: subject, Reason: last.Reason, Message: last.Message, Advice: advice[last.Reason], Tone: ToneBad,
		Time: last.Time.UTC(), RetryAt: timeOf(last.RetryAt), Log: last.Log,
	}
}

// failureOfJob that the sandbox died of, or that failed by itself.
func failureOfJob(job *v1alpha1.WorkflowJob) (Failure, bool) {
	s := &job.Status
	f := Failure{
		Key: "failure/" + job.Namespace + "/" + job.Name, Namespace: job.Namespace, Pool: job.Spec.PoolName,
		Subject: job.Spec.Name, Repository: job.Spec.Repository, Time: endOf(job),
		JobURL: safeURL(job.Spec.URL), SandboxURL: sandbox.URL(s.SandboxID),
	}
	switch problem := s.Problem; {
	case problem != nil && !problem.NotServed():
		f.Kind, f.Reason, f.Message, f.Advice, f.Tone = kindDied, problem.Reason, problem.Message, advice[problem.Reason], ToneBad
		return f, true
	case s.State == v1alpha1.JobCompleted && (s.Conclusion == "failure" || s.Conclusion == "timed_out"):
		f.Kind, f.Reason, f.Tone = kindJob, s.Conclusion, ToneOff
		f.Message = "It ran to its end, and its own steps failed: its log at GitHub tells why."
		if s.Conclusion == "timed_out" {
			f.Message = "It ran longer than its workflow allows."
		}
		return f, true
	}
	return f, false
}

// endOf a job, or the latest that is known of it.
func endOf(job *v1alpha1.WorkflowJob) time.Time {
	for _, t := range []*time.Time{timeOf(job.Status.CompletedAt), timeOf(job.Status.StartedAt), timeOf(job.Status.QueuedAt)} {
		if t != nil {
			return *t
		}
	}
	return job.CreationTimestamp.UTC()
}
