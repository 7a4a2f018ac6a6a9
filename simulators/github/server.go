// Package github simulates a GitHub Enterprise Server as far as self-hosted runners see it: the Actions REST API below
// /api/v3/, webhooks, and a runner service. It checks what it is sent as strictly as the real one.
package github

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Options of the simulator. The zero value is a GitHub with its usual limits.
type Options struct {
	// Wrap the handler of all that is asked, for example to check it.
	Wrap func(http.Handler) http.Handler
	// Clock by which things expire; the real one by default.
	Clock clock.WithTicker
	// Seed of every choice that the simulator makes.
	Seed uint64
	// JITTTL is how long a JIT config may be used; an hour by default.
	JITTTL time.Duration
	// RateLimit is the primary limit per token and hour, 5000 by default. Below 0 there is none, as is the default of a
	// GitHub Enterprise Server: answers have no rate limit headers, and GET /rate_limit is refused.
	RateLimit int
	// SecondaryLimits turns on the limits of 900 points a minute and of 100 concurrent requests, per token.
	SecondaryLimits bool
	// LostAfter is how long after its runner's last sign of life a job fails; 10 minutes by default.
	LostAfter time.Duration
	// OfflineAfter is how long after its last sign of life a runner is offline; 5 seconds by default.
	OfflineAfter time.Duration
	// HookWorkers is how many deliveries of a webhook are under way at once; 1 by default, which keeps their order.
	HookWorkers int
}

// Server is the simulated GitHub.
type Server struct {
	options Options
	clock   clock.WithTicker
	http    *http.Server
	url     string
	stop    context.CancelFunc
	context context.Context

	mu         sync.Mutex
	random     *rand.Rand
	lastID     int64
	repos      map[string]*repository // by lower-case full name
	tokens     map[string]*token
	usage      map[string]*usage
	owners     map[string]*ownerPolicy // by lower-case name
	apps       map[int64]*app
	groups     []*runnerGroup
	openGroups map[string]bool // scopes whose default group serves public repositories
	members    map[string]*enterprise
	runs       []*run
	jobs       map[int64]*job
	jobOrder   []*job
	queued     []*job // in their order, and some that are not queued any more
	runners    map[int64]*runner
	byName     map[string]*runner // of those registered, by scope and name in lower case
	byKey      map[string]*runner // of those registered, by credential
	sessions   map[string]*session
	listening  map[*session]bool
	hooks      []*hook
	deliveries []*Delivery
	webhooks   WebhookFaults
	faults     []*Fault
	faultHits  map[string]int
	requests   map[string]int
	history    []Event
	// runnerVersion is the latest version of the runner.
	runnerVersion string
}

// Event is one thing that happened.
type Event struct {
	Time       time.Time
	Kind       string
	JobID      int64
	RunnerID   int64
	RunnerName string
}

// New makes a simulator with nothing in it.
func New(options Options) *Server {
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	setDefault(&options.JITTTL, time.Hour)
	setDefault(&options.LostAfter, 10*time.Minute)
	setDefault(&options.OfflineAfter, 5*time.Second)
	if options.RateLimit == 0 {
		options.RateLimit = 5000
	}
	options.HookWorkers = max(1, options.HookWorkers)
	s := &Server{
		options: options, clock: options.Clock, random: rand.New(rand.NewPCG(options.Seed, 1)), lastID: 1000, //nolint:gosec // choices, not secrets
		repos: map[string]*repository{}, tokens: map[string]*token{}, apps: map[int64]*app{}, jobs: map[int64]*job{},
		runners: map[int64]*runner{}, byName: map[string]*runner{}, byKey: map[string]*runner{},
		sessions: map[string]*session{}, listening: map[*session]bool{}, requests: map[string]int{},
		faultHits: map[string]int{}, usage: map[string]*usage{}, owners: map[string]*ownerPolicy{},
		openGroups: map[string]bool{}, members: map[string]*enterprise{}, runnerVersion: firstRunnerVersion,
	}
	s.context, s.stop = context.WithCancel(context.Background())
	return s
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// Start listens on addr, for example 127.0.0.1:0.
func (s *Server) Start(addr string) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s.url = "http://" + listener.Addr().String()
	handler := http.Handler(s)
	if s.options.Wrap != nil {
		handler = s.options.Wrap(s)
	}
	s.http = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return s.context }}
	go func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			panic(err)
		}
	}()
	go s.watchRunners()
	return nil
}

// URL of the server as a user opens it: what a RunnerPool gets as github.url.
func (s *Server) URL() string { return s.url }

// Close stops the server.
func (s *Server) Close() {
	s.stop()
	_ = s.http.Close()
}

// newID is the next ID. The lock is held.
func (s *Server) newID() int64 {
	s.lastID++
	return s.lastID
}

// note an event. The lock is held.
func (s *Server) note(kind string, j *job, r *runner) {
	e := Event{Time: s.clock.Now(), Kind: kind}
	if j != nil {
		e.JobID = j.id
	}
	if r != nil {
		e.RunnerID, e.RunnerName = r.id, r.name
	}
	s.history = append(s.history, e)
}

// History is all that happened, the oldest first.
func (s *Server) History() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Event{}, s.history...)
}

// Requests counts what was asked, as "METHOD route status", with 304 for what had not changed.
func (s *Server) Requests() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]int, len(s.requests))
	for k, v := range s.requests {
		all[k] = v
	}
	return all
}
