package github

import (
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Fault is something that goes wrong with calls.
type Fault struct {
	// Method and Path of the calls, the path without /api/v3; empty is any.
	Method string
	Path   *regexp.Regexp
	// RunnerService makes it a fault of the runner service, below /_runner/, rather than of the REST API.
	RunnerService bool
	// Times that it happens; 0 is until Clear.
	Times int
	// Probability that it happens to a call that fits, by the simulator's seed; 0 is always.
	Probability float64
	// Status, Body and Header to answer with; 0 leaves the answer as it is.
	Status int
	Body   string
	Header http.Header
	// AfterWork does the work before it answers with Status.
	AfterWork bool
	// DropAnswer does the work and closes the connection without an answer.
	DropAnswer bool
	// Hang until the caller gives up.
	Hang bool
	// Delay before anything.
	Delay time.Duration

	left int
}

// WebhookFaults are the probabilities with which a delivery fails on the network, is made twice, is overtaken by the
// next, or is made only after DelayBy.
type WebhookFaults struct {
	Drop, Duplicate, Reorder, Delay float64
	// DelayBy is a minute by default.
	DelayBy time.Duration
}

// Faults of a simulator.
type Faults struct {
	mu       sync.Mutex
	random   *rand.Rand
	rules    []*Fault
	webhooks WebhookFaults
	minimum  []int // the oldest runner version that is not refused
}

func newFaults(seed int64) *Faults {
	return &Faults{random: rand.New(rand.NewPCG(uint64(seed), 2))} //nolint:gosec // choices, not secrets
}

// Add a fault. Of several that fit a call, the first is taken.
func (f *Faults) Add(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault.left = fault.Times
	f.rules = append(f.rules, &fault)
}

// Clear ends all faults of calls.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

// SetWebhooks sets what goes wrong with deliveries from now on.
func (f *Faults) SetWebhooks(w WebhookFaults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.DelayBy == 0 {
		w.DelayBy = time.Minute
	}
	f.webhooks = w
}

// RefuseRunnersBelow a version, for example 2.331.0, as GitHub does with those that are too old; "" refuses none.
func (f *Faults) RefuseRunnersBelow(version string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.minimum = parseVersion(version)
}

// Inject is Faults().Add.
func (s *Server) Inject(f Fault) { s.faults.Add(f) }

// ClearFaults is Faults().Clear.
func (s *Server) ClearFaults() { s.faults.Clear() }

// SetWebhookFaults is Faults().SetWebhooks.
func (s *Server) SetWebhookFaults(w WebhookFaults) { s.faults.SetWebhooks(w) }

func (f *Faults) of(method, path string, service bool) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, rule := range f.rules {
		fits := rule.RunnerService == service && (rule.Method == "" || rule.Method == method) &&
			(rule.Path == nil || rule.Path.MatchString(path)) && (rule.Times == 0 || rule.left > 0)
		if !fits || rule.Probability > 0 && f.random.Float64() >= rule.Probability {
			continue
		}
		rule.left--
		return rule
	}
	return nil
}

// fateOf a delivery.
type fate struct {
	drop, duplicate, late bool
	delay                 time.Duration
}

func (f *Faults) fateOf() fate {
	f.mu.Lock()
	defer f.mu.Unlock()
	w, chance := f.webhooks, f.random.Float64
	out := fate{drop: chance() < w.Drop, duplicate: chance() < w.Duplicate, late: chance() < w.Reorder}
	if chance() < w.Delay {
		out.delay = w.DelayBy
	}
	return out
}

func (f *Faults) refuses(version string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	have := parseVersion(version)
	for i, part := range f.minimum {
		if i >= len(have) || have[i] < part {
			return true
		}
		if have[i] > part {
			return false
		}
	}
	return false
}

func parseVersion(version string) []int {
	if version == "" {
		return nil
	}
	var parts []int
	for _, text := range strings.Split(version, ".") {
		n, _ := strconv.Atoi(text)
		parts = append(parts, n)
	}
	return parts
}

// before does what comes before the work. It gives the answer to give instead, if any, and whether the work is to be done.
func (f *Fault) before(c clock.Clock, req *http.Request) (instead *reply, work bool) {
	if f.Delay > 0 {
		timer := c.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C():
		case <-req.Context().Done():
			return nil, false
		}
	}
	if f.Hang {
		<-req.Context().Done()
		return nil, false
	}
	if f.Status != 0 && !f.AfterWork {
		return f.answer(), true
	}
	return nil, true
}

func (f *Fault) answer() *reply {
	body := f.Body
	if body == "" {
		body = `{"message":"` + http.StatusText(f.Status) + `","documentation_url":"https://docs.github.com/rest"}`
	}
	header := http.Header{"Content-Type": {"application/json; charset=utf-8"}}
	for name, values := range f.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	return &reply{status: f.Status, header: header, raw: []byte(body)}
}
