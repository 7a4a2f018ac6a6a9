package e2e

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/prototext"

	"github.com/modalrunner/modal-runner-controller/simulators/runner"
)

// receiver of traces, as any backend's: OTLP over gRPC.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	address string

	mu       sync.Mutex
	received []*traces.ResourceSpans
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{address: listener.Addr().String()}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, r)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return r
}

// Export implements the service.
func (r *receiver) Export(_ context.Context, request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.received = append(r.received, request.GetResourceSpans()...)
	return &collector.ExportTraceServiceResponse{}, nil
}

func (r *receiver) spans() []*traces.Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*traces.Span
	for _, resource := range r.received {
		for _, scope := range resource.GetScopeSpans() {
			all = append(all, scope.GetSpans()...)
		}
	}
	return all
}

func (r *receiver) names() []string {
	var names []string
	for _, span := range r.spans() {
		names = append(names, span.GetName())
	}
	return names
}

// text of all that was received.
func (r *receiver) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var text strings.Builder
	for _, resource := range r.received {
		text.WriteString(prototext.Format(resource))
	}
	return text.String()
}

// tracing to a receiver, soon after each span's end.
func tracing(r *receiver, ratio string) option {
	return func(s *settings) {
		s.arguments = append(s.arguments, "--otlp-endpoint="+r.address, "--otlp-insecure", "--trace-sample-ratio="+ratio)
		s.environment = append(s.environment, "OTEL_BSP_SCHEDULE_DELAY=100", "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=test")
	}
}

// value of a span's or a resource's attribute, as text.
func value(attributes []*common.KeyValue, key string) string {
	for _, a := range attributes {
		if a.GetKey() == key {
			switch v := a.GetValue().GetValue().(type) {
			case *common.AnyValue_StringValue:
				return v.StringValue
			case *common.AnyValue_IntValue:
				return fmt.Sprint(v.IntValue)
			}
		}
	}
	return ""
}

// tree of one trace: each span by its ID, and the names of its forebears before its own.
type tree struct {
	*WithT
	byID map[string]*traces.Span
}

func (w *world) treeOf(r *receiver, job int64) tree {
	w.t.Helper()
	t, trace := tree{w.WithT, map[string]*traces.Span{}}, ""
	for _, span := range r.spans() {
		if span.GetName() == "job" && value(span.GetAttributes(), "cicd.pipeline.task.run.id") == fmt.Sprint(job) {
			trace = hex.EncodeToString(span.GetTraceId())
		}
	}
	w.Expect(trace).NotTo(BeEmpty(), "there is no span of the job")
	for _, span := range r.spans() {
		if hex.EncodeToString(span.GetTraceId()) == trace {
			id := hex.EncodeToString(span.GetSpanId())
			w.Expect(t.byID).NotTo(HaveKey(id), "%s is there twice", span.GetName())
			t.byID[id] = span
		}
	}
	return t
}

func (t tree) path(span *traces.Span) string {
	if len(span.GetParentSpanId()) == 0 {
		return span.GetName()
	}
	parent := t.byID[hex.EncodeToString(span.GetParentSpanId())]
	t.Expect(parent).NotTo(BeNil(), "the parent of %s is not there", span.GetName())
	return t.path(parent) + " > " + span.GetName()
}

// paths of all spans, each once.
func (t tree) paths() []string {
	paths := map[string]bool{}
	for _, span := range t.byID {
		paths[t.path(span)] = true
	}
	return slices.Sorted(maps.Keys(paths))
}

// one span of a path.
func (t tree) one(path string) *traces.Span {
	var found []*traces.Span
	for _, span := range t.byID {
		if t.path(span) == path {
			found = append(found, span)
		}
	}
	t.Expect(found).To(HaveLen(1), path)
	return found[0]
}

func begin(s *traces.Span) time.Time { return time.Unix(0, int64(s.GetStartTimeUnixNano())) }
func end(s *traces.Span) time.Time   { return time.Unix(0, int64(s.GetEndTimeUnixNano())) }

// A job is followed from its webhook to the end of its sandbox, although the manager that saw its beginning is killed.
func TestOneTraceFollowsAJobOverAKill(t *testing.T) {
	r := newReceiver(t)
	w := newWorld(t, withWebhooks, tracing(r, "1"))
	w.awaitReady(w.pool("p", 1))
	before := time.Now().Add(-time.Second)
	id := w.queue("build", "sleep 8")
	w.awaitRunning(id)
	w.Eventually(r.names).Should(ContainElements("webhook", "record", "plan", "GitHub minting JIT config", "Modal SandboxCreate"))
	w.Eventually(func() string { return w.runnerStatus().SandboxID }).ShouldNot(BeEmpty())
	w.manager.Kill()
	w.startManager()
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
	w.Eventually(r.names).Should(ContainElements("job", "runner", "run", "cleanup"))
	tree := w.treeOf(r, id)
	w.Expect(tree.paths()).To(ContainElements(
		"job", "job > webhook", "job > webhook > record", "job > plan", "job > runner",
		"job > runner > launch", "job > runner > launch > GitHub minting JIT config", "job > runner > launch > Modal SandboxCreate",
		"job > runner > startup", "job > runner > run", "job > runner > cleanup", "job > runner > cleanup > Modal SandboxWait",
	))
	w.expectTimes(tree, before)
	job := tree.one("job").GetAttributes()
	for key, want := range map[string]string{
		"cicd.pipeline.task.name": "build", "cicd.pipeline.task.run.result": "success", "vcs.repository.name": repository,
		"k8s.namespace.name": w.namespace, "modalrunner.pool": "p", "modalrunner.sandbox": w.modal.Sandboxes()[0].ID,
	} {
		w.Expect(value(job, key)).To(Equal(want), key)
	}
	w.expectResources(r)
	w.expectNoSecretIn(r)
}

// expectTimes in the order of what happened. Stored times are whole seconds.
func (w *world) expectTimes(t tree, before time.Time) {
	w.t.Helper()
	const second = time.Second
	job, runner := t.one("job"), t.one("job > runner")
	parts := []*traces.Span{t.one("job > runner > launch"), t.one("job > runner > startup"), t.one("job > runner > run"), t.one("job > runner > cleanup")}
	w.Expect(begin(job)).To(BeTemporally(">=", before.Add(-second)))
	w.Expect(begin(runner)).To(BeTemporally(">=", begin(job).Add(-second)))
	w.Expect(end(parts[2])).To(Equal(end(job)))
	w.Expect(end(job).Sub(begin(parts[2]))).To(BeNumerically(">=", 7*second), "the job slept for 8 s")
	last := begin(runner)
	for _, part := range parts {
		w.Expect(begin(part)).To(BeTemporally(">=", last.Add(-second)), "%s begins before what it follows", part.GetName())
		w.Expect(end(part)).To(BeTemporally("<=", end(runner).Add(second)), "%s ends after its runner", part.GetName())
		last = begin(part)
	}
	made := t.one("job > runner > launch > Modal SandboxCreate")
	w.Expect(begin(made)).To(BeTemporally(">=", begin(parts[0]).Add(-second)))
	w.Expect(end(made)).To(BeTemporally("<=", end(parts[0]).Add(2*second)))
	w.Expect(begin(made)).To(BeTemporally(">=", end(t.one("job > runner > launch > GitHub minting JIT config"))))
	for _, span := range t.byID {
		w.Expect(end(span)).To(BeTemporally(">=", begin(span)), span.GetName())
	}
}

func (w *world) expectResources(r *receiver) {
	w.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range r.received {
		attributes := resource.GetResource().GetAttributes()
		w.Expect(value(attributes, "service.name")).To(Equal("modal-runner-controller"))
		w.Expect(value(attributes, "k8s.namespace.name")).To(Equal(w.namespace))
		w.Expect(value(attributes, "deployment.environment.name")).To(Equal("test"))
		for _, key := range []string{"service.version", "k8s.pod.name"} {
			w.Expect(value(attributes, key)).NotTo(BeEmpty(), key)
		}
	}
}

// expectNoSecretIn any span (I6).
func (w *world) expectNoSecretIn(r *receiver) {
	w.t.Helper()
	text := r.text()
	secrets := []string{token, modalSecret, webhookSecret}
	for _, sandbox := range w.modal.Sandboxes() {
		secrets = append(secrets, sandbox.Env[runner.JITVariable])
	}
	for _, secret := range secrets {
		w.Expect(secret).NotTo(BeEmpty())
		w.Expect(strings.Contains(text, secret)).To(BeFalse(), "a span shows a secret")
	}
}

// Each attempt is told with its reason, in the trace of the job that the Runner was made for.
func TestATraceTellsOfFailedAttempts(t *testing.T) {
	r := newReceiver(t)
	w := newWorld(t, polled, tracing(r, "1"), firstOnly(runner.Hang))
	w.awaitReady(w.pool("p", 1, startupTimeout(2*time.Second)))
	id := w.queue("build")
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
	w.Eventually(r.names).Should(ContainElements("job", "runner"))
	tree := w.treeOf(r, id)
	// Told by the poll: there is no webhook above it.
	w.Expect(tree.paths()).To(ContainElement("job > record"))
	class := map[string]string{}
	for _, span := range tree.byID {
		if span.GetName() == "startup" {
			class[value(span.GetAttributes(), "modalrunner.attempt")] = value(span.GetAttributes(), "error.type")
		}
	}
	w.Expect(class).To(Equal(map[string]string{"1": "StartupTimeout", "2": ""}))
	w.expectNoSecretIn(r)
}

func TestAJobThatIsNotSampledLeavesNoTrace(t *testing.T) {
	r := newReceiver(t)
	w := newWorld(t, tracing(r, "0"))
	w.awaitReady(w.pool("p", 1))
	w.awaitAll([]int64{w.queue("build")}, "success")
	w.awaitNothingLeft()
	w.manager.Terminate()
	w.Expect(r.spans()).To(BeEmpty())
}
