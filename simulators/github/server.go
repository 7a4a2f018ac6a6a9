// Package github simulates a GitHub Enterprise Server as far as self-hosted runners see it: the Actions REST API below
// /api/v3/, webhooks, and a runner service. It checks what it is sent as strictly as the real one.
package github

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Options of the simulator. The zero value is a GitHub with its usual limits.
type Options struct {
	// Clock by which things expire; the real one by default.
	Clock clock.WithTicker
	// Seed of every choice that the simulator makes.
	Seed int64
	// JITTTL is how long a JIT config may be used; an hour by default.
	JITTTL time.Duration
	// RateLimit is the primary limit per user or installation and hour, 5000 by default.
	RateLimit int
	// SecondaryLimits turns on the limits of 900 points a minute and 100 requests at once.
	SecondaryLimits bool
	// SecondaryStatus is what a request over a secondary limit is answered with, 403 or 429 (the default): GitHub gives
	// either.
	SecondaryStatus int
	// LostAfter is how long after its runner's last sign of life a job fails; 10 minutes by default.
	LostAfter time.Duration
	// OfflineAfter is how long after its last sign of life a runner is offline; 5 seconds by default.
	OfflineAfter time.Duration
	// WebhookWorkers is how many deliveries of one hook are under way at once: 1, the default, keeps their order.
	WebhookWorkers int
	// Wrap is put around the whole server, for example a validator of all that goes through it.
	Wrap func(http.Handler) http.Handler
	// Logger of what the simulator decides; it is silent by default.
	Logger *slog.Logger
}

func (o *Options) setDefaults() {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.JITTTL == 0 {
		o.JITTTL = time.Hour
	}
	if o.RateLimit == 0 {
		o.RateLimit = 5000
	}
	if o.SecondaryStatus == 0 {
		o.SecondaryStatus = http.StatusTooManyRequests
	}
	if o.LostAfter == 0 {
		o.LostAfter = 10 * time.Minute
	}
	if o.OfflineAfter == 0 {
		o.OfflineAfter = 5 * time.Second
	}
	if o.WebhookWorkers == 0 {
		o.WebhookWorkers = 1
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Server is the simulated GitHub.
type Server struct {
	options Options
	clock   clock.WithTicker
	handler http.Handler
	http    *http.Server
	url     string
	stop    context.CancelFunc
	context context.Context
	sender  *http.Client
	faults  *Faults

	// mu guards all that follows. Handlers of the REST API run with it held.
	mu          sync.Mutex
	random      *rand.Rand
	lastID      int64
	orgs        map[string]*account // by lower-case login
	enterprises map[string]*account // by lower-case slug
	repos       map[string]*repository
	tokens      map[string]*token
	apps        map[int64]*app
	runs        []*run
	runsByID    map[int64]*run
	jobs        map[int64]*job
	jobOrder    []*job
	queue       []*job // those in state queued, the oldest first
	runners     map[int64]*runner
	names       map[registration]*runner
	credentials map[string]*runner // of JIT configs that were not used yet
	sessions    map[string]*session
	idle        []*session // those that ask for a job, by their runner's ID
	working     map[int64]*job
	hooks       []*hook
	deliveries  []*Delivery
	requests    map[string]int
	stats       Stats
	history     []Event
}

// New makes a simulator with nothing in it.
func New(options Options) *Server {
	options.setDefaults()
	s := &Server{
		options: options, clock: options.Clock, lastID: 1000,
		random: rand.New(rand.NewPCG(uint64(options.Seed), 1)), //nolint:gosec // choices, not secrets
		faults: newFaults(options.Seed),
		orgs:   map[string]*account{}, enterprises: map[string]*account{}, repos: map[string]*repository{},
		tokens: map[string]*token{}, apps: map[int64]*app{}, runsByID: map[int64]*run{}, jobs: map[int64]*job{},
		runners: map[int64]*runner{}, names: map[registration]*runner{}, credentials: map[string]*runner{},
		sessions: map[string]*session{}, working: map[int64]*job{}, requests: map[string]int{},
	}
	s.context, s.stop = context.WithCancel(context.Background())
	s.sender = &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 16},
		// A redirect is an answer like any other that is not 2xx.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s.handler = http.HandlerFunc(s.serve)
	if options.Wrap != nil {
		s.handler = options.Wrap(s.handler)
	}
	return s
}

// Start listens on addr, for example 127.0.0.1:0, and lets time pass: until then nothing expires.
func (s *Server) Start(addr string) error {
	listener, err := (&net.ListenConfig{}).Listen(s.context, "tcp", addr)
	if err != nil {
		return err
	}
	s.url = "http://" + listener.Addr().String()
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return s.context }}
	go func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.options.Logger.Error("serving failed", "error", err)
		}
	}()
	go s.letTimePass()
	return nil
}

// URL of the server as a user opens it: what a RunnerPool gets as github.url.
func (s *Server) URL() string { return s.url }

// Close stops the server and everything under way.
func (s *Server) Close() {
	s.stop()
	if s.http != nil {
		_ = s.http.Close()
	}
	s.sender.CloseIdleConnections()
}

// ServeHTTP answers every request.
func (s *Server) ServeHTTP(w http.ResponseWriter, req *http.Request) { s.handler.ServeHTTP(w, req) }

// Faults are what goes wrong with the server.
func (s *Server) Faults() *Faults { return s.faults }

// newID is the next ID. The lock is held.
func (s *Server) newID() int64 {
	s.lastID++
	return s.lastID
}
