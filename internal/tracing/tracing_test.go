package tracing

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func at(seconds int) *metav1.Time {
	t := metav1.NewTime(noon.Add(time.Duration(seconds) * time.Second))
	return &t
}

// replica that exports to memory.
func replica(t *testing.T, ratio float64) *tracetest.InMemoryExporter {
	t.Helper()
	exporter := tracetest.NewInMemoryExporter()
	stop := use(sdk.NewSimpleSpanProcessor(exporter), resource.Empty(), ratio)
	t.Cleanup(func() { _ = stop(context.Background()) })
	return exporter
}

func jobNamed(name string) *v1alpha1.WorkflowJob {
	return &v1alpha1.WorkflowJob{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status:     v1alpha1.WorkflowJobStatus{QueuedAt: at(0), StartedAt: at(10), CompletedAt: at(20), Conclusion: "success"},
	}
}

func runnerFor(job string) *v1alpha1.Runner {
	return &v1alpha1.Runner{
		ObjectMeta: metav1.ObjectMeta{Name: "p-0", UID: "11111111-2222", CreationTimestamp: *at(1), Annotations: map[string]string{v1alpha1.MadeFor: job}},
		Status:     v1alpha1.RunnerStatus{Attempt: 1, Name: "p-0-1", SandboxID: "sb-1", LaunchedAt: at(2), OnlineAt: at(5), BusyAt: at(10), EndedAt: at(21)},
	}
}

func named(t *testing.T, spans tracetest.SpanStubs, name string) tracetest.SpanStub {
	t.Helper()
	for _, span := range spans {
		if span.Name == name {
			return span
		}
	}
	t.Fatalf("there is no span %s", name)
	return tracetest.SpanStub{}
}

// Replicas that know nothing of one another tell one trace: parents are told later, elsewhere.
func TestReplicasTellOneTrace(t *testing.T) {
	job, runner := jobNamed("job-1"), runnerFor("job-1")
	first := replica(t, 1)
	ctx, endWebhook := Webhook(t.Context(), job.Name, noon, "guid")
	_, endRecord := Record(ctx, job.Name, v1alpha1.JobQueued)
	endRecord("")
	endWebhook("")
	told := first.GetSpans()
	second := replica(t, 1)
	_, endCall := Call(Attempt(t.Context(), runner, Launch), "Modal", "SandboxCreate")
	endCall("Unavailable", "Unavailable")
	told = append(told, second.GetSpans()...)
	third := replica(t, 1)
	RunnerRemoved(runner, job, at(25).Time)
	JobOver(job)
	told = append(told, third.GetSpans()...)
	root := named(t, told, "job")
	if root.Parent.IsValid() {
		t.Error("the job has a parent")
	}
	for child, parent := range map[string]string{
		"webhook": "job", "record": "webhook", "runner": "job", "launch": "runner", "startup": "runner", "run": "runner", "cleanup": "runner",
		"Modal SandboxCreate": "launch",
	} {
		c, p := named(t, told, child), named(t, told, parent)
		if c.SpanContext.TraceID() != root.SpanContext.TraceID() || c.Parent.SpanID() != p.SpanContext.SpanID() {
			t.Errorf("%s is not below %s", child, parent)
		}
	}
	if len(told) != 9 {
		t.Errorf("%d spans", len(told))
	}
	for name, times := range map[string][2]int{"job": {0, 20}, "runner": {1, 25}, "launch": {1, 2}, "startup": {2, 5}, "run": {10, 20}, "cleanup": {20, 25}} {
		if span := named(t, told, name); !span.StartTime.Equal(at(times[0]).Time) || !span.EndTime.Equal(at(times[1]).Time) {
			t.Errorf("%s is from %s to %s", name, span.StartTime, span.EndTime)
		}
	}
}

// GitHub may give the job to a runner that was made for another.
func TestAJobThatAnotherRunnerTookHasALinkToIt(t *testing.T) {
	exporter := replica(t, 1)
	RunnerRemoved(runnerFor("job-1"), jobNamed("job-2"), at(25).Time)
	JobOver(jobNamed("job-2"))
	spans := exporter.GetSpans()
	run, job, runner := named(t, spans, "run"), named(t, spans, "job"), named(t, spans, "runner")
	if run.Parent.SpanID() != job.SpanContext.SpanID() || run.SpanContext.TraceID() != job.SpanContext.TraceID() {
		t.Error("the run is not below its job")
	}
	if runner.SpanContext.TraceID() == job.SpanContext.TraceID() {
		t.Error("the runner is in the trace of a job that it was not made for")
	}
	if len(run.Links) != 1 || run.Links[0].SpanContext.SpanID() != runner.SpanContext.SpanID() {
		t.Errorf("links: %v", run.Links)
	}
}

func TestAWarmRunnerHasATraceOfItsOwn(t *testing.T) {
	exporter := replica(t, 1)
	warm := runnerFor("")
	RunnerRemoved(warm, nil, at(25).Time)
	_, end := Plan(t.Context(), "", "p-0")
	end("")
	runner := named(t, exporter.GetSpans(), "runner")
	if runner.Parent.IsValid() || named(t, exporter.GetSpans(), "launch").Parent.SpanID() != runner.SpanContext.SpanID() {
		t.Error("its spans are not below it alone")
	}
	if len(exporter.GetSpans()) != 4 {
		t.Errorf("%d spans", len(exporter.GetSpans()))
	}
}

func TestTheNextAttemptBeginsAtItsTime(t *testing.T) {
	exporter := replica(t, 1)
	runner := runnerFor("job-1")
	runner.Status.OnlineAt = nil
	AttemptFailed(runner, at(8).Time, "StartupTimeout")
	runner.Status = v1alpha1.RunnerStatus{
		Attempt: 2, LastFailure: &v1alpha1.AttemptFailure{Attempt: 1, Time: *at(8), RetryAt: at(18)}, LaunchedAt: at(19), OnlineAt: at(22),
	}
	failed := named(t, exporter.GetSpans(), "startup")
	if failed.Status.Description != "StartupTimeout" || !failed.EndTime.Equal(at(8).Time) {
		t.Errorf("%+v", failed)
	}
	exporter.Reset()
	RunnerRemoved(runner, jobNamed("job-1"), at(30).Time)
	launch := named(t, exporter.GetSpans(), "launch")
	if !launch.StartTime.Equal(at(18).Time) || launch.SpanContext.SpanID() == failed.SpanContext.SpanID() {
		t.Errorf("%+v", launch)
	}
}

// All replicas choose the same jobs, and about as many as they should.
func TestReplicasAgreeOnWhatIsSampled(t *testing.T) {
	const jobs = 400
	chosen := func() map[trace.TraceID]bool {
		exporter := replica(t, 0.25)
		for i := range jobs {
			job := jobNamed(fmt.Sprint("job-", i))
			_, end := Webhook(t.Context(), job.Name, noon, "guid")
			end("")
			JobOver(job)
		}
		all := map[trace.TraceID]bool{}
		for _, span := range exporter.GetSpans() {
			all[span.SpanContext.TraceID()] = true
		}
		if len(exporter.GetSpans()) != 2*len(all) {
			t.Errorf("%d spans of %d traces: some are in pieces", len(exporter.GetSpans()), len(all))
		}
		return all
	}
	first, second := chosen(), chosen()
	if len(first) < jobs/8 || len(first) > jobs/2 {
		t.Errorf("%d of %d are sampled", len(first), jobs)
	}
	for id := range first {
		if !second[id] {
			t.Errorf("%s is sampled by one replica alone", id)
		}
	}
}

// Calls that are made for no job, as lists are, belong to no trace.
func TestACallForNoJobIsNotTraced(t *testing.T) {
	exporter := replica(t, 1)
	_, end := Call(t.Context(), "GitHub", "listing runners")
	end("", "200")
	if len(exporter.GetSpans()) != 0 {
		t.Errorf("%d spans", len(exporter.GetSpans()))
	}
}

func TestWithoutAnEndpointNothingIsDone(t *testing.T) {
	stop, err := Start(t.Context(), Options{})
	if err != nil || stop(t.Context()) != nil {
		t.Fatal(err)
	}
	job, runner, ctx := jobNamed("job-1"), runnerFor("job-1"), t.Context()
	allocations := testing.AllocsPerRun(100, func() {
		ctx, end := Webhook(ctx, job.Name, noon, "guid")
		end("")
		ctx, end = Record(ctx, job.Name, v1alpha1.JobQueued)
		end("")
		ctx, endCall := Call(Attempt(Job(ctx, job.Name), runner, Launch), "GitHub", "call")
		endCall("", "200")
		_, end = Plan(ctx, job.Name, "p-0")
		end("")
		AttemptFailed(runner, noon, "x")
		RunnerRemoved(runner, job, noon)
		JobOver(job)
	})
	if allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}

// What others write into errors stays out of spans.
func TestOnlyTheClassOfAnErrorIsTold(t *testing.T) {
	group := schema.GroupResource{Resource: "workflowjobs"}
	for want, err := range map[string]error{
		"": nil, "Forbidden": apierrors.NewForbidden(group, "job-1", errors.New("secret")), "Unreachable": errors.New("secret"),
	} {
		if got := StoreClass(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
