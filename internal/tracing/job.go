package tracing

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// The spans of a job's trace. Those with an asterisk are told when they are over, from stored times.
//
//	job*                     from its creation at GitHub until it was over
//	  webhook                a delivery that tells of the job
//	    record               what it tells is stored
//	  record                 the same, told by the poll
//	  GitHub ...             what has to be asked about the job
//	  plan                   a Runner is made
//	  runner*                from its creation until it was removed
//	    launch*              from then, or from the attempt's time, until its sandbox was made
//	      GitHub ..., Modal ...
//	    startup*             until the runner was online
//	    run*                 while the job ran
//	    cleanup*             until registration and sandbox are gone
//	      GitHub ..., Modal ...
const (
	spanJob     = "job"
	spanWebhook = "webhook"
	spanRecord  = "record"
	spanPlan    = "plan"
	spanRunner  = "runner"
	// Launch and Cleanup are the parts of a Runner's life in which calls are made.
	Launch      = "launch"
	spanStartup = "startup"
	spanRun     = "run"
	Cleanup     = "cleanup"
)

// jobIdentity of a job's span, by the WorkflowJob's name.
func jobIdentity(job string) identity { return identityOf("job "+job, "job "+job) }

// Job gives a context whose spans are children of a job's, by the WorkflowJob's name.
func Job(ctx context.Context, job string) context.Context {
	if tracer.Load() == nil {
		return ctx
	}
	return under(ctx, jobIdentity(job))
}

// Webhook begins the span of a delivery that tells of a job and came in at a time. It is told when it ends, so that a delivery that
// nobody is served by leaves no trace.
func Webhook(ctx context.Context, job string, at time.Time, delivery string) (context.Context, End) {
	if tracer.Load() == nil {
		return ctx, nothing
	}
	parent := jobIdentity(job)
	id := identity{trace: parent.trace, span: randomSpan()}
	return under(ctx, id), func(class string, attributes ...attribute.KeyValue) {
		tell(id, &parent, spanWebhook, at, time.Now(), class, []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer)},
			append(attributes, attribute.String("github.delivery", delivery))...)
	}
}

// Record begins the span in which a sighting of a job is stored: below the delivery that told of it, else below the job.
func Record(ctx context.Context, job string, state v1alpha1.JobState) (context.Context, End) {
	if tracer.Load() == nil {
		return ctx, nothing
	}
	if trace.SpanContextFromContext(ctx).TraceID() != jobIdentity(job).trace {
		ctx = Job(ctx, job)
	}
	return Begin(ctx, spanRecord, trace.SpanKindInternal, attribute.String("modalrunner.job.state", string(state)))
}

// Plan begins the span in which a Runner is made for a job; there is none for one that is made for no job.
func Plan(ctx context.Context, job, runner string) (context.Context, End) {
	if job == "" || tracer.Load() == nil {
		return ctx, nothing
	}
	return Begin(Job(ctx, job), spanPlan, trace.SpanKindInternal, attribute.String("modalrunner.runner", runner))
}

// JobOver tells of a job that is over.
func JobOver(job *v1alpha1.WorkflowJob) {
	if tracer.Load() == nil || job.Status.CompletedAt == nil {
		return
	}
	from := timeOr(job.Status.QueuedAt, job.CreationTimestamp.Time)
	class := ""
	if job.Status.Conclusion == "failure" || job.Status.Conclusion == "timed_out" {
		class = job.Status.Conclusion
	}
	tell(jobIdentity(job.Name), nil, spanJob, from, job.Status.CompletedAt.Time, class, nil,
		attribute.String("cicd.pipeline.name", job.Spec.Workflow), attribute.String("cicd.pipeline.run.id", strconv.FormatInt(job.Spec.RunID, 10)),
		attribute.String("cicd.pipeline.task.name", job.Spec.Name), attribute.String("cicd.pipeline.task.run.id", strconv.FormatInt(job.Spec.ID, 10)),
		attribute.String("cicd.pipeline.task.run.url.full", job.Spec.URL), attribute.String("cicd.pipeline.task.run.result", job.Status.Conclusion),
		attribute.String("vcs.repository.name", job.Spec.Repository),
		attribute.String("k8s.namespace.name", job.Namespace), attribute.String("modalrunner.pool", job.Spec.PoolName),
		attribute.String("modalrunner.runner", job.Status.RunnerName), attribute.String("modalrunner.sandbox", job.Status.SandboxID))
}

func timeOr(t *metav1.Time, fallback time.Time) time.Time {
	if t == nil {
		return fallback
	}
	return t.Time
}

// traceOfRunner is what the Runner's trace is of: the job that it was made for, or itself.
func traceOfRunner(runner *v1alpha1.Runner) (trace string, parent *identity) {
	if job := runner.Annotations[v1alpha1.MadeFor]; job != "" {
		id := jobIdentity(job)
		return "job " + job, &id
	}
	return "runner " + string(runner.UID), nil
}

func runnerIdentity(runner *v1alpha1.Runner) identity {
	of, _ := traceOfRunner(runner)
	return identityOf(of, "runner "+string(runner.UID))
}

// partIdentity of a part of a Runner's attempt.
func partIdentity(runner *v1alpha1.Runner, attempt int32, part string) identity {
	of, _ := traceOfRunner(runner)
	return identityOf(of, fmt.Sprintf("%s %s %d", part, runner.UID, attempt))
}
