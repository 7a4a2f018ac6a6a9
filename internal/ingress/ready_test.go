package ingress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// I7: that one job cannot be stored keeps no other's delivery from being received.
func TestOnlyFailuresOfTheAPIServerMakeTheReceiverUnready(t *testing.T) {
	jobs, why := schema.GroupResource{Group: "modalrunner.dev", Resource: "workflowjobs"}, errors.New("why")
	for name, test := range map[string]struct {
		away  error
		ready bool
	}{
		"a quota, or a namespace that is being deleted": {apierrors.NewForbidden(jobs, "job-1", why), true},
		"a namespace that is gone":                      {apierrors.NewNotFound(jobs, "job-1"), true},
		"an object that is invalid":                     {apierrors.NewInvalid(schema.GroupKind{}, "job-1", nil), true},
		"a request that is refused":                     {apierrors.NewBadRequest("why"), true},
		"who delivered has gone":                        {fmt.Errorf("storing: %w", context.Canceled), true},
		"an error of its own":                           {apierrors.NewInternalError(why), false},
		"too much to do":                                {apierrors.NewTooManyRequestsError("why"), false},
		"no answer in time":                             {context.DeadlineExceeded, false},
		"no connection":                                 {&net.OpError{Op: "dial", Err: why}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, repositoryPool("ci", "p", ""))
			g := NewWithT(t)
			r.webhook.listening.Store(true)
			r.away = test.away
			code, _ := r.deliver(Path, queuedEvent, sharedSecret)
			g.Expect(code).To(Equal(http.StatusServiceUnavailable))
			g.Expect(r.webhook.Ready(httptest.NewRequest(http.MethodGet, "/readyz", nil)) == nil).To(Equal(test.ready))
		})
	}
}

func TestReadyMeansThatDeliveriesCanBeStored(t *testing.T) {
	r := newReceiver(t, repositoryPool("ci", "p", ""))
	g := NewWithT(t)
	req := httptest.NewRequest(http.MethodGet, "/readyz", nil)
	g.Expect(r.webhook.Ready(req)).To(MatchError(ContainSubstring("not received yet")))
	r.webhook.listening.Store(true)
	g.Expect(r.webhook.Ready(req)).To(Succeed())
	r.away = errors.New("etcdserver: mvcc: database space exceeded")
	r.deliver(Path, queuedEvent, sharedSecret)
	g.Expect(r.webhook.Ready(req)).To(MatchError(ContainSubstring("could not be stored")))
	r.away = nil
	r.deliver(Path, queuedEvent, sharedSecret)
	g.Expect(r.webhook.Ready(req)).To(Succeed())
}

// A delivery in flight when the manager is told to stop is stored before it exits.
func TestStoppingStoresTheDeliveriesInFlight(t *testing.T) {
	r := newReceiver(t, repositoryPool("ci", "p", ""))
	g := NewWithT(t)
	g.SetDefaultEventuallyTimeout(time.Minute)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	g.Expect(err).NotTo(HaveOccurred())
	r.webhook.Address = listener.Addr().String()
	g.Expect(listener.Close()).To(Succeed())
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	stopped := make(chan error, 1)
	go func() { stopped <- r.webhook.Start(ctx) }()
	g.Eventually(r.webhook.listening.Load).Should(BeTrue())

	// The head and half of the body are sent, the manager is stopped, then the rest is.
	conn, err := net.Dial("tcp", r.webhook.Address)
	g.Expect(err).NotTo(HaveOccurred())
	half := len(queuedEvent) / 2
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-GitHub-Event: workflow_job\r\nX-Hub-Signature-256: %s\r\nContent-Length: %d\r\n\r\n%s",
		Path, signed(queuedEvent, sharedSecret), len(queuedEvent), queuedEvent[:half])
	g.Expect(err).NotTo(HaveOccurred())
	g.Eventually(func() bool {
		// The request is in flight when it has taken its room.
		if r.webhook.bodies.TryAcquire(maxBodies) {
			r.webhook.bodies.Release(maxBodies)
			return false
		}
		return true
	}).Should(BeTrue())
	stop()
	_, err = io.WriteString(conn, queuedEvent[half:])
	g.Expect(err).NotTo(HaveOccurred())
	answer, err := io.ReadAll(conn)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(bytes.HasPrefix(answer, []byte("HTTP/1.1 202"))).To(BeTrue(), string(answer))
	g.Expect(<-stopped).To(Succeed())
	g.Expect(r.jobs()).To(HaveLen(1))
}
