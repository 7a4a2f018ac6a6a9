package ingress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	gh "github.com/google/go-github/v60/github"

	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
)

const (
	// Path that GitHub delivers to.
	Path = "/webhook"

	// maxBody is GitHub's own limit. Source: docs.github.com/webhooks/webhook-events-and-payloads#payload-cap.
	maxBody = 25 << 20
	// storeTimeout leaves room within the 10 s after which GitHub counts a delivery as failed.
	storeTimeout = 8 * time.Second
)

// Webhook receives GitHub's deliveries. It implements manager.Runnable and runs in every replica.
type Webhook struct {
	// Address to listen on.
	Address string
	// SecretDir holds the secrets that deliveries may be signed with, one a file; read at each delivery, so that a
	// rotation needs no restart.
	SecretDir string
	Recorder  *Recorder
	Log       logr.Logger

	listening atomic.Bool
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
	mux.Handle(Path, w)
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

// Ready says whether deliveries are received. The manager starts the receiver once its caches are filled.
func (w *Webhook) Ready(*http.Request) error {
	if !w.listening.Load() {
		return errors.New("webhooks are not received yet")
	}
	return nil
}

// answer to a delivery. Its text stands in GitHub's delivery log.
type answer struct {
	status int
	result string
	text   string
}

// ServeHTTP takes one delivery.
func (w *Webhook) ServeHTTP(out http.ResponseWriter, req *http.Request) {
	event := gh.WebHookType(req)
	a := w.receive(out, req, event)
	if event != "workflow_job" && event != "ping" {
		event = "other"
	}
	metrics.WebhookDelivery(event, a.result)
	if a.status >= http.StatusInternalServerError {
		w.Log.Info("could not store a delivery", "delivery", gh.DeliveryID(req), "error", a.text)
	}
	http.Error(out, a.text, a.status)
}

func (w *Webhook) receive(out http.ResponseWriter, req *http.Request, event string) answer {
	if req.Method != http.MethodPost {
		return answer{http.StatusMethodNotAllowed, "rejected", "POST webhook deliveries here"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(out, req.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return answer{http.StatusRequestEntityTooLarge, "rejected", "the payload is larger than 25 MB"}
	case err != nil:
		return answer{http.StatusBadRequest, "rejected", "the payload could not be read"}
	}
	if a, ok := w.authenticate(req, body); !ok {
		return a
	}
	switch event {
	case "ping":
		return answer{http.StatusOK, "pong", "pong"}
	case "workflow_job":
		return w.record(req.Context(), req, body)
	default:
		return answer{http.StatusAccepted, "ignored", fmt.Sprintf("event %q is ignored", event)}
	}
}

// authenticate a delivery: it must be signed with SHA-256 and a secret that is known and not empty. go-github's
// ValidatePayload would accept SHA-1, and anything at all with an empty secret.
func (w *Webhook) authenticate(req *http.Request, body []byte) (answer, bool) {
	secrets, err := w.secrets()
	if err != nil {
		return answer{http.StatusServiceUnavailable, "failed", "the webhook secret cannot be read"}, false
	}
	if len(secrets) == 0 {
		return answer{http.StatusUnauthorized, "unauthorized", "no webhook secret is configured: nothing can be accepted"}, false
	}
	signature := req.Header.Get(gh.SHA256SignatureHeader)
	if !strings.HasPrefix(signature, "sha256=") {
		return answer{http.StatusUnauthorized, "unauthorized", "the delivery has no " + gh.SHA256SignatureHeader}, false
	}
	for _, secret := range secrets {
		if gh.ValidateSignature(signature, body, secret) == nil {
			return answer{}, true
		}
	}
	return answer{http.StatusUnauthorized, "unauthorized", "the signature matches no webhook secret"}, false
}

func (w *Webhook) secrets() ([][]byte, error) {
	entries, err := os.ReadDir(w.SecretDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var secrets [][]byte
	for _, entry := range entries {
		// A mounted Secret has its files behind links, and folders whose names begin with two dots.
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		secret, err := os.ReadFile(filepath.Join(w.SecretDir, entry.Name()))
		if err != nil {
			return nil, err
		}
		if secret := strings.TrimSpace(string(secret)); secret != "" {
			secrets = append(secrets, []byte(secret))
		}
	}
	return secrets, nil
}

func (w *Webhook) record(ctx context.Context, req *http.Request, body []byte) answer {
	parsed, err := gh.ParseWebHook("workflow_job", body)
	if err != nil {
		return answer{http.StatusBadRequest, "rejected", "the payload is not the JSON of a workflow_job event"}
	}
	event := parsed.(*gh.WorkflowJobEvent)
	switch event.GetAction() {
	case "queued", "waiting", "in_progress", "completed":
	default:
		return answer{http.StatusAccepted, "ignored", fmt.Sprintf("action %q is ignored", event.GetAction())}
	}
	job, ok := github.JobFrom(event.GetRepo().GetFullName(), event.GetWorkflowJob())
	origin := originOf(event, body)
	if !ok || job.ID == 0 || job.Repository == "" || origin.Server == "" {
		return answer{http.StatusBadRequest, "rejected", "the payload lacks the job's id or status, or the repository"}
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	outcome, err := w.Recorder.Record(ctx, origin, job)
	if err != nil {
		return answer{http.StatusServiceUnavailable, "failed", "the job could not be stored: deliver again"}
	}
	w.Log.V(1).Info("received", "delivery", gh.DeliveryID(req), "job", job.ID, "state", job.State, "outcome", outcome)
	if outcome == NoPool {
		return answer{http.StatusAccepted, "unmatched", fmt.Sprintf("no RunnerPool serves %s with labels %v", job.Repository, job.Labels)}
	}
	return answer{http.StatusAccepted, string(outcome), "job " + string(outcome)}
}

// originOf an event. go-github v60 leaves out the enterprise.
func originOf(event *gh.WorkflowJobEvent, body []byte) Origin {
	var more struct {
		Enterprise struct {
			Slug string `json:"slug"`
		} `json:"enterprise"`
	}
	// The body was parsed as JSON before; an event without an enterprise leaves it empty.
	_ = json.Unmarshal(body, &more)
	return Origin{
		Server:       github.ServerOf(event.GetRepo().GetHTMLURL()),
		Organization: event.GetOrg().GetLogin(),
		Enterprise:   more.Enterprise.Slug,
	}
}
