// Package tracing follows each job in one OpenTelemetry trace, from the delivery that tells of it to the end of its sandbox, over
// restarts of the manager and over all its replicas.
//
// No trace context is handed on: it follows from what is stored. The trace's ID comes from the WorkflowJob's name, the IDs of the
// spans that others are children of come from the job's name or the Runner's UID, and what took time is told from the times in
// the objects once it is over. So no process has to have seen the beginning of what it tells the end of. Only the calls that
// lie in between, to GitHub, to Modal and to the API server, are measured as they are made.
//
// Without an endpoint nothing is done: every function returns at once.
package tracing

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
)

const scope = "github.com/modalrunner/modal-runner-controller"

// Options of the export.
type Options struct {
	// Endpoint that takes OTLP over gRPC, as host:port or a URL; empty for no traces. Headers, certificates and the like are
	// taken from the OTEL_EXPORTER_OTLP_* environment.
	Endpoint string
	// Insecure speaks without TLS.
	Insecure bool
	// Ratio of the jobs that are followed. A job's trace ID decides, so that all replicas agree.
	Ratio float64
	// Version of the manager and the namespace that it runs in.
	Version, Namespace string
}

// tracer in use, nil while there are no traces.
var tracer atomic.Pointer[trace.Tracer]

// Start to export. What is returned exports what is left, and ends it.
func Start(ctx context.Context, o Options) (stop func(context.Context) error, err error) {
	if o.Endpoint == "" {
		return func(context.Context) error { return nil }, nil
	}
	options := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(o.Endpoint)}
	if strings.Contains(o.Endpoint, "://") {
		options[0] = otlptracegrpc.WithEndpointURL(o.Endpoint)
	}
	if o.Insecure {
		options = append(options, otlptracegrpc.WithInsecure())
	}
	// It connects when there is something to send, and tries again by itself.
	exporter, err := otlptracegrpc.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("making the exporter of traces: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("asking for the name of the host: %w", err)
	}
	described, err := resource.New(ctx,
		resource.WithAttributes(
			attribute.String("service.name", "modal-runner-controller"), attribute.String("service.version", o.Version),
			attribute.String("k8s.namespace.name", o.Namespace), attribute.String("k8s.pod.name", host),
		),
		resource.WithTelemetrySDK(), resource.WithFromEnv(),
	)
	if err != nil {
		return nil, fmt.Errorf("describing the manager for traces: %w", err)
	}
	log := ctrl.Log.WithName("tracing")
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Info("could not export traces", "error", err.Error()) }))
	return use(sdk.NewBatchSpanProcessor(exporter), described, o.Ratio), nil
}

// use a processor from now on.
func use(processor sdk.SpanProcessor, described *resource.Resource, ratio float64) (stop func(context.Context) error) {
	provider := sdk.NewTracerProvider(
		sdk.WithSpanProcessor(processor), sdk.WithResource(described), sdk.WithIDGenerator(given{}), sdk.WithSampler(sdk.TraceIDRatioBased(ratio)),
	)
	made := provider.Tracer(scope)
	tracer.Store(&made)
	return func(ctx context.Context) error {
		tracer.Store(nil)
		return provider.Shutdown(ctx)
	}
}

// identity of a span that follows from what is stored.
type identity struct {
	trace trace.TraceID
	span  trace.SpanID
}

// identityOf a span in a trace, each told by what it is of.
func identityOf(of, span string) identity {
	var i identity
	t, s := sha256.Sum256([]byte("trace of "+of)), sha256.Sum256([]byte("span of "+span))
	copy(i.trace[:], t[:])
	copy(i.span[:], s[:])
	return i
}

func (i identity) context() trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: i.trace, SpanID: i.span, TraceFlags: trace.FlagsSampled, Remote: true})
}

// under gives a context whose spans are children of one that another process may tell.
func under(ctx context.Context, parent identity) context.Context {
	return trace.ContextWithRemoteSpanContext(ctx, parent.context())
}

// End of a span, with the class of what went wrong, empty for nothing, and what was learned meanwhile.
type End func(class string, attributes ...attribute.KeyValue)

func nothing(string, ...attribute.KeyValue) {}

// Begin a span below the one in the context, and give what ends it. Where nothing is followed, nothing is begun: calls that are
// made for no job are no part of any trace.
func Begin(ctx context.Context, name string, kind trace.SpanKind, attributes ...attribute.KeyValue) (context.Context, End) {
	t := tracer.Load()
	if t == nil || !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx, nothing
	}
	ctx, span := (*t).Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(attributes...))
	return ctx, func(class string, attributes ...attribute.KeyValue) {
		span.SetAttributes(attributes...)
		fail(span, class)
		span.End()
	}
}

// Call begins the span of a call to another system, and gives what ends it, with the class of what went wrong and the code of the
// answer.
func Call(ctx context.Context, system, operation string) (context.Context, func(class, code string)) {
	if tracer.Load() == nil || !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx, noCall
	}
	ctx, end := Begin(ctx, system+" "+operation, trace.SpanKindClient,
		attribute.String("peer.service", system), attribute.String("modalrunner.operation", operation))
	return ctx, func(class, code string) { end(class, attribute.String("modalrunner.code", code)) }
}

func noCall(string, string) {}

// tell a span that is over, with the identity that it follows from.
func tell(id identity, parent *identity, name string, from, to time.Time, class string, options []trace.SpanStartOption, attributes ...attribute.KeyValue) {
	t := tracer.Load()
	if t == nil {
		return
	}
	ctx := context.WithValue(context.Background(), givenKey{}, id)
	if parent != nil {
		ctx = under(ctx, *parent)
	}
	if to.Before(from) {
		to = from
	}
	_, span := (*t).Start(ctx, name, append(options, trace.WithTimestamp(from), trace.WithAttributes(attributes...))...)
	fail(span, class)
	span.End(trace.WithTimestamp(to))
}

// StoreClass is the class of what went wrong at the API server.
func StoreClass(err error) string {
	if err == nil {
		return ""
	}
	return cmp.Or(string(apierrors.ReasonForError(err)), "Unreachable")
}

// fail a span, unless the class of what went wrong is empty. What others say in errors is not handed on: it might tell secrets.
func fail(span trace.Span, class string) {
	if class != "" {
		span.SetStatus(codesError, class)
		span.SetAttributes(attribute.String("error.type", class))
	}
}
