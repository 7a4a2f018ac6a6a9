package ui

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/test/samples"
)

const eventually = 30 * time.Second

// running server, on a port of its own.
type running struct {
	*WithT
	*Server
	reader  *cached
	address string
	stop    context.CancelFunc
	stopped chan error
}

func run(t *testing.T, change ...func(*Server)) *running {
	t.Helper()
	r := &running{WithT: NewWithT(t), stopped: make(chan error, 1)}
	r.SetDefaultEventuallyTimeout(eventually)
	r.Server, r.reader = newServer(clock.RealClock{})
	for _, c := range change {
		c(r.Server)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	r.Expect(err).NotTo(HaveOccurred())
	r.address = "http://" + listener.Addr().String()
	var ctx context.Context
	ctx, r.stop = context.WithCancel(t.Context())
	go func() { r.stopped <- r.serve(ctx, narrow{listener}) }()
	t.Cleanup(r.stop)
	return r
}

// narrow connections, in which little is under way.
type narrow struct{ net.Listener }

func (n narrow) Accept() (net.Conn, error) {
	connection, err := n.Listener.Accept()
	if err == nil {
		err = connection.(*net.TCPConn).SetWriteBuffer(4096)
	}
	return connection, err
}

// event of a stream.
type event struct{ name, id, data string }

// listen to a stream; the events come until it ends, which closes the channel.
func (r *running) listen(ctx context.Context, path, last string) (<-chan event, *http.Response) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.address+path, nil)
	r.Expect(err).NotTo(HaveOccurred())
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(req)
	r.Expect(err).NotTo(HaveOccurred())
	events := make(chan event, 100)
	go func() {
		defer close(events)
		defer resp.Body.Close()
		var e event
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "event":
				e.name = value
			case "id":
				e.id = value
			case "data":
				e.data += value + "\n"
			case "":
				if e != (event{}) {
					events <- e
				}
				e = event{}
			}
		}
	}()
	return events, resp
}

func (r *running) next(events <-chan event) event {
	var e event
	r.Eventually(events).Should(Receive(&e))
	return e
}

// queueAnother job, as the cache would tell of it.
func (r *running) queueAnother(id int64) {
	r.snapshots.mu.Lock()
	fleet := *r.reader.fleet
	fleet.Jobs = append(append([]v1alpha1.WorkflowJob{}, fleet.Jobs...), samples.QueuedJob(id, func(j *v1alpha1.WorkflowJob) {
		j.Spec.Name = fmt.Sprintf("another %d", id)
	}))
	r.reader.fleet = &fleet
	r.snapshots.mu.Unlock()
	r.Changed()
}

func TestAStreamTellsAllAtOnceAndThenWhatChanges(t *testing.T) {
	r := run(t)
	events, resp := r.listen(t.Context(), "/ui/api/events", "")
	r.Expect(resp.Header.Get("Content-Type")).To(Equal("text/event-stream"))
	first := r.next(events)
	r.Expect(first.name).To(Equal("state"))
	r.Expect(first.id).NotTo(BeEmpty())
	r.Expect(first.data).To(And(ContainSubstring(`"namespace":"release"`), Not(ContainSubstring("another 7"))))
	r.queueAnother(7)
	r.Eventually(func() string { return r.next(events).data }).Should(ContainSubstring("another 7"))

	page, _ := r.listen(t.Context(), "/ui/events?namespace=ci", "")
	shown := r.next(page)
	r.Expect(shown.name).To(Equal("page"))
	r.Expect(shown.data).To(And(ContainSubstring(`id="facts"`), ContainSubstring("another 7"), Not(ContainSubstring("release/"))))
}

func TestWhoComesBackIsNotToldWhatItKnows(t *testing.T) {
	r := run(t, func(s *Server) { s.heartbeat = 50 * time.Millisecond })
	// Jobs that wait tell for how long something has been so, which changes by itself: here is a filter without any.
	const path = "/ui/api/events?namespace=docs"
	ctx, cancel := context.WithCancel(t.Context())
	events, _ := r.listen(ctx, path, "")
	known := r.next(events)
	cancel()
	again, _ := r.listen(t.Context(), path, known.id)
	r.Expect(r.next(again).name).To(Equal("beat"), "a sign of life, and nothing else")
	other, _ := r.listen(t.Context(), path, "something else")
	r.Expect(r.next(other)).To(Equal(known))
}

func TestChangesThatComeTogetherAreShownTogether(t *testing.T) {
	r := run(t)
	events, _ := r.listen(t.Context(), "/ui/api/events", "")
	r.next(events)
	before := r.reader.reads.Load()
	begun := time.Now()
	for id := range int64(500) {
		r.queueAnother(id + 1)
	}
	r.Eventually(func() string { return r.next(events).data }).Should(ContainSubstring(`"waiting":507`))
	seconds := int64(time.Since(begun)/atMostEvery) + 2
	r.Expect(r.reader.reads.Load()-before).To(BeNumerically("<=", seconds), "at most one look at the cache a second")
}

func TestManyWhoLookAreShownTheSame(t *testing.T) {
	r := run(t)
	before := r.reader.reads.Load()
	var all []<-chan event
	for range 40 {
		events, _ := r.listen(t.Context(), "/ui/events", "")
		all = append(all, events)
	}
	first := r.next(all[0])
	for _, events := range all[1:] {
		r.Expect(r.next(events).name).To(Equal(first.name))
	}
	r.snapshots.mu.Lock()
	views := len(r.snapshots.current.views)
	r.snapshots.mu.Unlock()
	r.Expect(views).To(BeNumerically("<=", 1))
	r.Expect(r.reader.reads.Load()-before).To(BeNumerically("<", 40), "they share what was read")
}

func TestNobodyLooksAtTheCacheWhileNobodyLooksAtThePage(t *testing.T) {
	r := run(t)
	ctx, cancel := context.WithCancel(t.Context())
	events, _ := r.listen(ctx, "/ui/events", "")
	r.next(events)
	cancel()
	r.Eventually(r.snapshots.clientCount).Should(BeZero(), "who is gone is forgotten")
	before := r.reader.reads.Load()
	for id := range int64(50) {
		r.queueAnother(id + 1)
	}
	r.Consistently(r.reader.reads.Load, "2s").Should(Equal(before))
	again, _ := r.listen(t.Context(), "/ui/api/events", "")
	r.Eventually(func() string { return r.next(again).data }).Should(ContainSubstring(`"waiting":57`), "and it misses nothing")
}

// A snapshot of ten thousand runners is not kept for nobody, with objects that the cache has replaced since.
func TestASnapshotIsLetGoWhenNobodyHasLookedForAWhile(t *testing.T) {
	w := NewWithT(t)
	now := clocktesting.NewFakeClock(samples.Now)
	s, reader := newServer(now)
	go s.snapshots.run(t.Context())
	held := func() bool {
		s.snapshots.mu.Lock()
		defer s.snapshots.mu.Unlock()
		return s.snapshots.current != nil
	}
	w.Expect(ask(s, http.MethodGet, "/ui/api/state").Code).To(Equal(http.StatusOK))
	w.Eventually(now.HasWaiters, eventually).Should(BeTrue(), "it waits for the next tick")
	w.Expect(held()).To(BeTrue())
	now.Step(atLeastEvery)
	w.Eventually(held, eventually).Should(BeFalse())
	w.Expect(ask(s, http.MethodGet, "/ui/api/state").Code).To(Equal(http.StatusOK), "who comes then is shown a new one")
	w.Expect(reader.reads.Load()).To(BeEquivalentTo(2))
}

func TestOneTooManyIsAskedToComeLater(t *testing.T) {
	r := run(t)
	var leave []func()
	for range maxClients {
		l, ok := r.snapshots.join()
		r.Expect(ok).To(BeTrue())
		leave = append(leave, l)
	}
	_, resp := r.listen(t.Context(), "/ui/events", "")
	r.Expect(resp.StatusCode).To(Equal(http.StatusServiceUnavailable))
	r.Expect(resp.Header.Get("Retry-After")).NotTo(BeEmpty())
	leave[0]()
	leave[0]()
	_, resp = r.listen(t.Context(), "/ui/events", "")
	r.Expect(resp.StatusCode).To(Equal(http.StatusOK))
	_, ok := r.snapshots.join()
	r.Expect(ok).To(BeFalse(), "leaving twice makes one place")
}

// A client that takes nothing, as a laptop that was closed: what the kernel does not take any more is not kept for it.
func TestAClientThatTakesNothingIsLetGo(t *testing.T) {
	r := run(t, func(s *Server) { s.heartbeat, s.writeTimeout = time.Millisecond, 300*time.Millisecond })
	connection, err := net.Dial("tcp", strings.TrimPrefix(r.address, "http://"))
	r.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = connection.Close() }()
	r.Expect(connection.(*net.TCPConn).SetReadBuffer(4096)).To(Succeed())
	_, err = connection.Write([]byte("GET /ui/events HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	r.Expect(err).NotTo(HaveOccurred())
	r.Eventually(r.snapshots.clientCount).Should(Equal(1))
	healthy, _ := r.listen(t.Context(), "/ui/api/events", "")
	r.next(healthy)
	go func() {
		// What comes, so that there is something not to take.
		for id := int64(1); r.snapshots.clientCount() > 1 && t.Context().Err() == nil; id++ {
			r.queueAnother(id)
			time.Sleep(100 * time.Millisecond)
		}
	}()
	r.Eventually(r.snapshots.clientCount, "3m").Should(Equal(1), "it is gone")
	r.next(healthy)
}

func TestStreamsEndWithTheServer(t *testing.T) {
	r := run(t)
	events, _ := r.listen(t.Context(), "/ui/events", "")
	r.next(events)
	r.stop()
	r.Eventually(events).Should(BeClosed())
	r.Eventually(r.stopped).Should(Receive(BeNil()))
}

func TestAnAddressThatIsTakenIsToldOf(t *testing.T) {
	r := run(t)
	other, _ := newServer(clock.RealClock{})
	other.address = strings.TrimPrefix(r.address, "http://")
	r.Expect(other.Start(t.Context())).To(MatchError(ContainSubstring("serving the status page")))
}

func TestAFrameIsWhatABrowserReads(t *testing.T) {
	NewWithT(t).Expect(string(frame("page", "1", []byte("a\r\nb\rc\n\nd")))).To(Equal("event: page\nid: 1\ndata: a\ndata: b\ndata: c\ndata: \ndata: d\n\n"))
}
