package ingress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	gh "github.com/google/go-github/v60/github"
	"go.opentelemetry.io/otel/attribute"
	"golang.org/x/sync/semaphore"
	"k8s.io/utils/clock"

	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
	"github.com/modalrunner/modal-runner-controller/internal/tracing"
)

const (
	// Path that GitHub delivers to, for all pools without a webhook secret of their own. A pool with one has its deliveries
	// at Path/NAMESPACE/POOL.
	Path = "/webhook"

	// maxBody is GitHub's own limit. Source: docs.github.com/webhooks/webhook-events-and-payloads#payload-cap.
	maxBody = 25 << 20
	// maxBodies bounds what the deliveries in flight may hold in memory together, since anybody may send something.
	maxBodies = 4 * maxBody
	// pieceSize is how much of a body is read at once.
	pieceSize = 16 << 10
	// storeTimeout leaves room within the 10 s after which GitHub counts a delivery as failed.
	storeTimeout = 8 * time.Second
	// admitTimeout is how long a delivery waits for room for its next piece.
	admitTimeout = 2 * time.Second
)

// Webhook receives GitHub's deliveries. It implements manager.Runnable and runs in every replica.
type Webhook struct {
	// Address to listen on.
	Address string
	// SecretDir holds the secrets that deliveries may be signed with, one a file; read at each delivery, so that a
	// rotation needs no restart (B63).
	SecretDir string
	// Secrets of pools that have their own.
	Secrets *credentials.Store
	// Namespace that the manager may read WorkflowJobs in; empty for all.
	Namespace string
	Recorder  *Recorder
	Log       logr.Logger
	Clock     clock.PassiveClock
	// Fresh is the age up to which a job's delivery is taken at its word. GitHub is asked about an older one, which may
	// have been played again (B62); it must be less than the time for which a WorkflowJob is kept.
	Fresh time.Duration

	listening atomic.Bool
	bodies    *semaphore.Weighted
}

// NeedLeaderElection says that every replica listens.
func (*Webhook) NeedLeaderElection() bool { return false }

// Start listens until the context ends, and lets deliveries in flight be stored before it returns.
func (w *Webhook) Start(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", w.Address)
	if err != nil {
		return fmt.Errorf("listening for webhooks: %w", err)
	}
	mux := http.NewServeMux()
	w.handle(mux)
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 15 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
	}
	w.listening.Store(true)
	defer w.listening.Store(false)
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(listener) }()
	w.Log.Info("listening for webhooks", "address", listener.Addr().String())
	select {
	case err := <-stopped:
		return fmt.Errorf("serving webhooks: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if err := server.Shutdown(grace); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("stopping to receive webhooks: %w", err)
	}
	return nil
}

// handle the paths that GitHub delivers to.
func (w *Webhook) handle(mux *http.ServeMux) {
	w.bodies = semaphore.NewWeighted(maxBodies)
	mux.Handle(Path, w)
	mux.Handle(Path+"/{namespace}/{pool}", w)
}

// answer to a delivery. Its text stands in GitHub's delivery log.
type answer struct {
	status int
	result string
	text   string
}

var tooLarge = answer{http.StatusRequestEntityTooLarge, "rejected", "the payload is larger than 25 MB"}

// ServeHTTP takes one delivery.
func (w *Webhook) ServeHTTP(out http.ResponseWriter, req *http.Request) {
	event := gh.WebHookType(req)
	begun := w.Clock.Now()
	a := w.receive(out, req, event)
	if event != "workflow_job" && event != "ping" {
		event = "other"
	}
	metrics.WebhookDelivery(event, a.result, w.Clock.Since(begun))
	http.Error(out, a.text, a.status)
}

func (w *Webhook) receive(out http.ResponseWriter, req *http.Request, event string) answer {
	if req.Method != http.MethodPost {
		return answer{http.StatusMethodNotAllowed, "rejected", "POST webhook deliveries here"}
	}
	begun := w.Clock.Now()
	by, a := w.admit(req)
	if a.status != 0 {
		return a
	}
	body, done, a := w.read(out, req)
	defer done()
	if a.status != 0 {
		return a
	}
	if !by.signed(body) {
		return badSigned
	}
	switch event {
	case "ping":
		return answer{http.StatusOK, "pong", "pong"}
	case "workflow_job":
		return w.record(req.Context(), req, begun, body, by.trust)
	default:
		return answer{http.StatusAccepted, "ignored", fmt.Sprintf("event %q is ignored", event)}
	}
}

// read the body of a delivery, as far as there is room for it: it is taken for what has arrived, so that whoever sends nothing
// holds none. The room is given back by done.
func (w *Webhook) read(out http.ResponseWriter, req *http.Request) (body []byte, done func(), a answer) {
	done = func() { w.bodies.Release(int64(len(body))) }
	if req.ContentLength > maxBody {
		return nil, done, tooLarge
	}
	from, piece := http.MaxBytesReader(out, req.Body, maxBody), make([]byte, pieceSize)
	for {
		n, err := from.Read(piece)
		if n > 0 {
			if a := w.makeRoom(req.Context(), n); a.status != 0 {
				return body, done, a
			}
			body = append(body, piece[:n]...)
		}
		var over *http.MaxBytesError
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return body, done, answer{}
		case errors.As(err, &over):
			return body, done, tooLarge
		default:
			return body, done, answer{http.StatusBadRequest, "rejected", "the payload could not be read"}
		}
	}
}

// makeRoom for some bytes, waiting a while for it.
func (w *Webhook) makeRoom(ctx context.Context, n int) answer {
	ctx, cancel := context.WithTimeout(ctx, admitTimeout)
	defer cancel()
	if err := w.bodies.Acquire(ctx, int64(n)); err != nil {
		return answer{http.StatusServiceUnavailable, "failed", "too many deliveries at once: deliver again"}
	}
	return answer{}
}

func (w *Webhook) record(ctx context.Context, req *http.Request, begun time.Time, body []byte, trust Trust) answer {
	payload, err := payloadOf(req, body)
	if err != nil {
		return answer{http.StatusBadRequest, "rejected", err.Error()}
	}
	event, a := w.parse(payload)
	if a.status != 0 {
		return a
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	ctx, end := tracing.Webhook(ctx, objectName(event.origin.Server, event.job.ID), begun, gh.DeliveryID(req))
	outcome, refusal, err := w.Recorder.Record(ctx, event.origin, event.job, trust)
	if err != nil {
		end(tracing.StoreClass(err))
		w.Log.Info("could not store a delivery", "delivery", gh.DeliveryID(req), "job", event.job.ID, "error", err.Error())
		return answer{http.StatusServiceUnavailable, "failed", "the job could not be stored: deliver again"}
	}
	w.Log.V(1).Info("received", "delivery", gh.DeliveryID(req), "job", event.job.ID, "state", event.job.State, "outcome", outcome)
	if outcome != NoPool && outcome != Untrusted {
		end("", attribute.String("modalrunner.job.state", string(event.job.State)), attribute.String("modalrunner.outcome", string(outcome)))
	}
	switch {
	case outcome == NoPool:
		return answer{http.StatusAccepted, "unmatched", fmt.Sprintf("no RunnerPool serves %s with labels %v", event.job.Repository, event.job.Labels)}
	case outcome == Untrusted:
		return answer{http.StatusAccepted, "untrusted", "the RunnerPool that serves this job does not trust the secret that signed the delivery"}
	case refusal != nil:
		return answer{http.StatusAccepted, "refused", "job " + string(outcome) + "; it is not served: " + refusal.Message}
	}
	return answer{http.StatusAccepted, string(outcome), "job " + string(outcome)}
}
