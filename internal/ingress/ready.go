package ingress

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

const (
	// readyTimeout bounds a look at the API server.
	readyTimeout = 3 * time.Second
	// failureCounts is how long a sighting that could not be stored makes the receiver unready, unless one is stored: then
	// deliveries are let in again to find out.
	failureCounts = 30 * time.Second
)

// storeFailure is the latest sighting that could not be stored, if none was stored since.
type storeFailure struct {
	mu  sync.Mutex
	err error
	at  time.Time
}

// stored notes how an attempt to store a sighting went. That one is refused says nothing about the next, which may be another
// namespace's: a quota, a namespace that is being deleted, a conflict (I7).
func (r *Recorder) stored(err error) {
	if err != nil && !serverFailed(err) {
		return
	}
	r.failure.mu.Lock()
	defer r.failure.mu.Unlock()
	r.failure.err, r.failure.at = err, time.Now()
}

// serverFailed says that the API server did not answer, or could not do what it is there for.
func serverFailed(err error) bool {
	var answer apierrors.APIStatus
	if errors.As(err, &answer) {
		code := answer.Status().Code
		return code >= http.StatusInternalServerError || code == http.StatusTooManyRequests
	}
	// Who was told of the job may have gone meanwhile.
	return !errors.Is(err, context.Canceled)
}

func (r *Recorder) lastFailure() error {
	r.failure.mu.Lock()
	defer r.failure.mu.Unlock()
	if r.failure.err == nil || time.Since(r.failure.at) > failureCounts {
		return nil
	}
	return fmt.Errorf("the latest delivery could not be stored: %w", r.failure.err)
}

// Ready says whether deliveries are received and can be stored. The manager starts the receiver once its caches are filled.
func (w *Webhook) Ready(req *http.Request) error {
	if !w.listening.Load() {
		return errors.New("webhooks are not received yet")
	}
	if err := w.Recorder.lastFailure(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(req.Context(), readyTimeout)
	defer cancel()
	var one v1alpha1.WorkflowJobList
	if err := w.Recorder.Live.List(ctx, &one, client.Limit(1), client.InNamespace(w.Namespace)); err != nil {
		return fmt.Errorf("the API server does not answer, so that no delivery can be stored: %w", err)
	}
	return nil
}
