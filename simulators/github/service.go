package github

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The runner service is the simulator's own small protocol: the real one is not public.

// session of a connected runner program.
type session struct {
	id      string
	runner  *runner
	polling bool
	job     *job
	wake    chan struct{}
	ended   chan struct{}
}

func (s *session) end() {
	select {
	case <-s.ended:
	default:
		close(s.ended)
	}
}

// pollWindow is how long a runner's question for a job stays open.
const pollWindow = 20 * time.Second

func (s *Server) serveRunner(w http.ResponseWriter, req *http.Request) {
	parts := strings.Split(strings.TrimPrefix(req.URL.Path, "/_runner/"), "/")
	if len(parts) == 1 && parts[0] == "sessions" {
		write(w, s.connect(req))
		return
	}
	s.mu.Lock()
	current, known := s.sessions[parts[1%len(parts)]]
	if known {
		current.runner.lastSeen = s.clock.Now()
	}
	s.mu.Unlock()
	if !known || len(parts) != 3 {
		write(w, refuse(http.StatusGone, "the session is gone"))
		return
	}
	switch parts[2] {
	case "message":
		write(w, s.message(req, current))
	case "heartbeat":
		s.mu.Lock()
		cancelled := current.job != nil && current.job.cancelled
		s.mu.Unlock()
		write(w, ok(map[string]any{"cancelled": cancelled}))
	case "step":
		write(w, s.finishStep(req, current))
	case "complete":
		write(w, s.finishJob(req, current))
	default:
		write(w, notFound())
	}
}

// connect a runner program with the credential of a JIT config, which can be used once.
func (s *Server) connect(req *http.Request) reply {
	var body struct{ Credential, Version string }
	if err := json.NewDecoder(req.Body).Decode(&body); err != nil || body.Credential == "" {
		return refuse(http.StatusBadRequest, "no credential")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.byKey[body.Credential]
	if r == nil {
		return refuse(http.StatusUnauthorized, "Registration was not found or is not medically fit")
	}
	if r.used || s.clock.Now().After(r.expires) {
		return refuse(http.StatusUnauthorized, "The JIT config was used already or has expired")
	}
	r.used, r.lastSeen = true, s.clock.Now()
	r.session = &session{id: fmt.Sprintf("s%d", r.id), runner: r, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	s.sessions[r.session.id] = r.session
	s.note("runner online", nil, r)
	return ok(map[string]any{"session": r.session.id, "name": r.name})
}

// message waits for a job for the runner.
func (s *Server) message(req *http.Request, current *session) reply {
	s.mu.Lock()
	current.polling = true
	s.listening[current] = true
	s.dispatch()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		current.polling, current.runner.lastSeen = false, s.clock.Now()
		delete(s.listening, current)
		s.mu.Unlock()
	}()
	select {
	case <-current.wake:
	case <-current.ended:
		return refuse(http.StatusGone, "The runner registration has been deleted from the server")
	case <-req.Context().Done():
		return reply{status: http.StatusNoContent}
	case <-time.After(pollWindow):
		return reply{status: http.StatusNoContent}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return ok(map[string]any{
		"id": current.job.id, "name": current.job.name, "steps": current.job.steps, "env": current.job.env,
		"repository": current.job.run.repo.fullName, "run": current.job.run.id,
	})
}

// dispatch gives queued jobs, the oldest first, to any runners that match: not to those that were made for them. The lock
// is held.
func (s *Server) dispatch() {
	free := s.free()
	if len(free) == 0 {
		return
	}
	s.queued = slices.DeleteFunc(s.queued, func(j *job) bool { return j.status != "queued" })
	for _, j := range s.queued {
		var fit []*runner
		for _, r := range free {
			if s.matches(r, j) {
				fit = append(fit, r)
			}
		}
		if len(fit) > 0 {
			taken := fit[s.random.IntN(len(fit))]
			s.assign(j, taken)
			free = slices.DeleteFunc(free, func(r *runner) bool { return r == taken })
		}
	}
}

// free are the registered runners that ask for a job, the oldest first. The lock is held.
func (s *Server) free() []*runner {
	var free []*runner
	for current := range s.listening {
		r := current.runner
		if s.runners[r.id] == r && r.session == current && !r.busy && current.job == nil {
			free = append(free, r)
		}
	}
	slices.SortFunc(free, func(a, b *runner) int { return int(a.id - b.id) })
	return free
}

// matches says whether a runner may take a job: its scope and its group serve the job's repository, and it has all the
// labels.
func (s *Server) matches(r *runner, j *job) bool {
	repo := j.run.repo
	switch {
	case r.scope == strings.ToLower(repo.fullName):
	case r.scope != strings.ToLower(repo.owner()) && !s.enterpriseServes(r.scope, repo):
		return false
	case !s.groupServes(r, repo):
		return false
	}
	for _, wanted := range j.labels {
		if !slices.ContainsFunc(r.labels, func(l string) bool { return strings.EqualFold(l, wanted) }) {
			return false
		}
	}
	return true
}

// assign a job to a runner. The lock is held.
func (s *Server) assign(j *job, r *runner) {
	j.status, j.runner, j.startedAt, r.busy = "in_progress", r, s.clock.Now(), true
	r.lastSeen = s.clock.Now()
	if r.session != nil {
		r.session.job = j
		r.session.wake <- struct{}{}
	}
	s.note("job started", j, r)
	s.deliverJob(j, "in_progress")
}

func (s *Server) finishStep(req *http.Request, current *session) reply {
	var body struct {
		Number     int
		Conclusion string
	}
	if err := json.NewDecoder(req.Body).Decode(&body); err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if current.job == nil || body.Number < 1 || body.Number > len(current.job.steps) {
		return refuse(http.StatusBadRequest, "no such step")
	}
	current.job.steps[body.Number-1].conclusion = body.Conclusion
	return ok(map[string]any{})
}

func (s *Server) finishJob(req *http.Request, current *session) reply {
	var body struct{ Conclusion string }
	if err := json.NewDecoder(req.Body).Decode(&body); err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if current.job == nil || current.job.status != "in_progress" {
		return refuse(http.StatusConflict, "the job is over")
	}
	conclusion := body.Conclusion
	if current.job.cancelled {
		conclusion = "cancelled"
	}
	s.complete(current.job, conclusion)
	return ok(map[string]any{})
}

// watchRunners fails the jobs of runners that are lost, and forgets registrations that never came online for a day.
func (s *Server) watchRunners() {
	ticker := s.clock.NewTicker(max(50*time.Millisecond, min(time.Second, s.options.LostAfter/4)))
	defer ticker.Stop()
	for {
		select {
		case <-s.context.Done():
			return
		case <-ticker.C():
		}
		s.mu.Lock()
		for _, j := range s.jobOrder {
			if j.status == "in_progress" && j.runner.session != nil && s.clock.Since(j.runner.lastSeen) > s.options.LostAfter {
				s.complete(j, "failure")
			}
		}
		for _, r := range s.sortedRunners() {
			if r.session == nil && r.credential != "" && s.clock.Since(r.createdAt) > 24*time.Hour {
				s.unregister(r, "runner expired")
			}
		}
		s.mu.Unlock()
	}
}
