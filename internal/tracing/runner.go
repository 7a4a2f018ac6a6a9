package tracing

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// Attempt gives a context whose spans are children of a part (Launch or Cleanup) of the Runner's current attempt.
func Attempt(ctx context.Context, runner *v1alpha1.Runner, part string) context.Context {
	if tracer.Load() == nil {
		return ctx
	}
	return under(ctx, partIdentity(runner, runner.CurrentAttempt(), part))
}

// AttemptFailed tells of an attempt that failed at a time for a reason, before its traces are taken out of the Runner's status.
func AttemptFailed(runner *v1alpha1.Runner, at time.Time, reason string) {
	if tracer.Load() != nil {
		attempt(runner, at, at, reason)
	}
}

// RunnerRemoved tells of a Runner that is gone, and of its last attempt, with the job that it had, if it had any.
func RunnerRemoved(runner *v1alpha1.Runner, job *v1alpha1.WorkflowJob, at time.Time) {
	if tracer.Load() == nil {
		return
	}
	s := &runner.Status
	id, ended := runnerIdentity(runner), at
	switch {
	case job != nil && job.Status.CompletedAt != nil:
		ended = job.Status.CompletedAt.Time
	case s.EndedAt != nil:
		ended = s.EndedAt.Time
	case runner.DeletionTimestamp != nil:
		ended = runner.DeletionTimestamp.Time
	}
	class := ""
	if runner.FailedIn(runner.CurrentAttempt()) {
		class = s.LastFailure.Reason
	}
	attempt(runner, ended, at, class)
	ran(runner, job, id)
	_, parent := traceOfRunner(runner)
	tell(id, parent, spanRunner, runner.CreationTimestamp.Time, at, class, nil,
		attribute.String("k8s.namespace.name", runner.Namespace), attribute.String("modalrunner.pool", runner.Spec.PoolName),
		attribute.String("modalrunner.runner", s.Name), attribute.Int("modalrunner.attempts", int(runner.CurrentAttempt())))
}

// attempt of which the work ended at a time, and whose sandbox and registration were gone at another.
func attempt(runner *v1alpha1.Runner, ended, gone time.Time, class string) {
	s, number, parent := &runner.Status, runner.CurrentAttempt(), runnerIdentity(runner)
	attributes := []attribute.KeyValue{
		attribute.Int("modalrunner.attempt", int(number)), attribute.String("modalrunner.runner", s.Name), attribute.String("modalrunner.sandbox", s.SandboxID),
	}
	part := func(name string, from, to time.Time, class string) {
		tell(partIdentity(runner, number, name), &parent, name, from, to, class, nil, attributes...)
	}
	begun := runner.CreationTimestamp.Time
	if failed := s.LastFailure; failed != nil && failed.Attempt < number {
		begun = timeOr(failed.RetryAt, failed.Time.Time)
	}
	if s.LaunchedAt == nil {
		part(Launch, begun, ended, class)
	} else {
		part(Launch, begun, s.LaunchedAt.Time, "")
		if s.OnlineAt != nil {
			part(spanStartup, s.LaunchedAt.Time, s.OnlineAt.Time, "")
		} else {
			part(spanStartup, s.LaunchedAt.Time, ended, class)
		}
	}
	part(Cleanup, ended, gone, "")
}

// ran tells how long the Runner's job ran. It may be another than the one that the Runner was made for: then the time is in the
// trace of the job that ran, with a link to the Runner.
func ran(runner *v1alpha1.Runner, job *v1alpha1.WorkflowJob, carrier identity) {
	if job == nil || job.Status.StartedAt == nil || job.Status.CompletedAt == nil {
		return
	}
	parent, options := carrier, []trace.SpanStartOption(nil)
	if jobIdentity(job.Name).trace != carrier.trace {
		parent = jobIdentity(job.Name)
		options = append(options, trace.WithLinks(trace.Link{SpanContext: carrier.context()}))
	}
	id := identityOf("job "+job.Name, spanRun+" "+job.Name)
	tell(id, &parent, spanRun, job.Status.StartedAt.Time, job.Status.CompletedAt.Time, "", options,
		attribute.String("modalrunner.runner", job.Status.RunnerName), attribute.String("modalrunner.sandbox", runner.Status.SandboxID),
		attribute.String("cicd.pipeline.task.run.result", job.Status.Conclusion))
}
