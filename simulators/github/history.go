package github

import (
	"maps"
	"net/http"
	"strconv"
	"time"
)

// Kinds of events. That of a completed job has the conclusion after it: "job completed: success".
const (
	JobQueued             = "job queued"
	JobWaiting            = "job waiting"
	JobStarted            = "job started"
	JobCompleted          = "job completed: "
	RunnerRegistered      = "runner registered"
	RunnerOnline          = "runner online"
	RunnerOffline         = "runner offline"
	RunnerRemoved         = "runner removed"
	RunnerRemovedAfterJob = "runner removed after its job"
	RunnerExpired         = "runner expired"
	RunnerForgotten       = "runner forgotten"
)

// Event is one thing that happened.
type Event struct {
	Time time.Time
	// Kind is one of the constants above.
	Kind string
	// JobID, RunID and Job are set where a job had part in it.
	JobID, RunID int64
	Job          string
	// RunnerID and RunnerName are set where a runner had part in it, Scope is where the runner is registered.
	RunnerID   int64
	RunnerName string
	Scope      string
}

// Stats count what was asked of the REST API.
type Stats struct {
	// Requests by "METHOD route status".
	Requests map[string]int
	// Total of them, how many were answered with 304, and how many were refused for a rate limit.
	Total, NotModified, Limited int
	// PrimaryUsed is what they have taken from the primary rate limits, all credentials together.
	PrimaryUsed int
}

// note an event. The lock is held.
func (s *Server) note(kind string, j *job, r *runner) {
	e := Event{Time: s.clock.Now(), Kind: kind}
	if j != nil {
		e.JobID, e.RunID, e.Job = j.id, j.run.id, j.name
	}
	if r != nil {
		e.RunnerID, e.RunnerName, e.Scope = r.id, r.name, r.scope
	}
	s.history = append(s.history, e)
	s.options.Logger.Debug(kind, "job", e.JobID, "runner", e.RunnerName)
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
	return maps.Clone(s.requests)
}

// Stats of all requests so far.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	out.Requests = maps.Clone(s.requests)
	return out
}

// count an answer. The lock is held.
func (s *Server) count(method, route string, status int) {
	s.requests[method+" "+route+" "+strconv.Itoa(status)]++
	s.stats.Total++
	if status == http.StatusNotModified {
		s.stats.NotModified++
	}
}
