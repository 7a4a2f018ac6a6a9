package github

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// run of a workflow.
type run struct {
	id        int64
	number    int
	repo      *repository
	head      *repository // that the commit is in: another one for a pull request from a fork
	event     string
	workflow  string
	path      string
	jobs      []*job
	createdAt time.Time
}

// job of a run.
type job struct {
	id         int64
	key        string // in the workflow
	needs      []string
	run        *run
	name       string
	labels     []string
	env        map[string]string
	steps      []step
	gated      bool
	started    bool // has been queued or waiting, rather than held by its needs
	status     string
	conclusion string
	cancelled  bool
	runner     *runner
	createdAt  time.Time
	startedAt  time.Time
	endedAt    time.Time
}

// step of a job.
type step struct {
	Name       string            `json:"name"`
	Run        string            `json:"run"`
	Env        map[string]string `json:"env,omitempty"`
	conclusion string
}

// Job is what the simulator tells tests of one.
type Job struct {
	ID, RunID                         int64
	Repository, Name                  string
	Labels                            []string
	Status, Conclusion                string
	RunnerName                        string
	RunnerID, RunnerGroupID           int64
	CreatedAt, StartedAt, CompletedAt time.Time
}

func (j *job) public() Job {
	out := Job{
		ID: j.id, RunID: j.run.id, Repository: j.run.repo.fullName, Name: j.name, Labels: j.labels, Status: j.status,
		Conclusion: j.conclusion, CreatedAt: j.createdAt, StartedAt: j.startedAt, CompletedAt: j.endedAt,
	}
	if j.runner != nil {
		out.RunnerName, out.RunnerID, out.RunnerGroupID = j.runner.name, j.runner.id, j.runner.group
	}
	return out
}

// Jobs gives all jobs that were ever queued, the oldest first.
func (s *Server) Jobs() []Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Job
	for _, j := range s.jobOrder {
		all = append(all, j.public())
	}
	return all
}

// Job by its ID.
func (s *Server) Job(id int64) (Job, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, known := s.jobs[id]
	if !known {
		return Job{}, false
	}
	return j.public(), true
}

// CancelJob in the queue, or while it runs: its runner is then told to stop.
func (s *Server) CancelJob(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j, known := s.jobs[id]; known {
		s.cancel(j)
	}
}

// CancelRun cancels all jobs of a run.
func (s *Server) CancelRun(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.runs {
		if r.id == id {
			for _, j := range r.jobs {
				s.cancel(j)
			}
		}
	}
}

func (s *Server) cancel(j *job) {
	switch j.status {
	case "in_progress":
		j.cancelled = true
	case "completed":
	default:
		s.complete(j, "cancelled")
	}
}

// Approve a job that waits at its environment's gate.
func (s *Server) Approve(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j, known := s.jobs[id]; known && j.status == "waiting" {
		j.status = "queued"
		s.queued = append(s.queued, j)
		s.note("job queued", j, nil)
		s.deliverJob(j, "queued")
		s.dispatch()
	}
}

// begin a job whose needs are met. A gated one is told as queued, waiting and, once approved, queued again.
func (s *Server) begin(j *job) {
	j.started, j.status, j.createdAt = true, "queued", s.clock.Now()
	s.jobs[j.id] = j
	s.jobOrder = append(s.jobOrder, j)
	s.note("job queued", j, nil)
	s.deliverJob(j, "queued")
	if j.gated {
		j.status = "waiting"
		s.deliverJob(j, "waiting")
		return
	}
	s.queued = append(s.queued, j)
}

// advanceRun begins the jobs whose needs are met and skips those whose needs have failed.
func (s *Server) advanceRun(r *run) {
	for again := true; again; {
		again = false
		for _, j := range r.jobs {
			if j.started {
				continue
			}
			switch needs := r.needsOf(j); needs {
			case "success":
				s.begin(j)
				again = true
			case "failure":
				j.started = true
				s.jobs[j.id] = j
				s.jobOrder = append(s.jobOrder, j)
				j.createdAt = s.clock.Now()
				s.complete(j, "skipped")
				again = true
			}
		}
	}
	s.dispatch()
}

// needsOf a job: success when all it needs have succeeded, failure when one has not, nothing while one is still running.
func (r *run) needsOf(j *job) string {
	for _, other := range r.jobs {
		if !slices.Contains(j.needs, other.key) {
			continue
		}
		if other.status != "completed" {
			return ""
		}
		if other.conclusion != "success" {
			return "failure"
		}
	}
	return "success"
}

// complete a job and go on with its run.
func (s *Server) complete(j *job, conclusion string) {
	j.status, j.conclusion, j.endedAt = "completed", conclusion, s.clock.Now()
	s.note("job completed: "+conclusion, j, j.runner)
	s.deliverJob(j, "completed")
	if r := j.runner; r != nil {
		r.busy = false
		if _, registered := s.runners[r.id]; registered {
			// An ephemeral runner is gone after its job. Its session lives on until it leaves by itself.
			s.forget(r)
			s.note("runner removed after its job", j, r)
		}
	}
	s.advanceRun(j.run)
}

// TakeJob has a registered runner take a job without a runner program, for tests that play the runner by hand.
func (s *Server) TakeJob(id int64, runnerName string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, known := s.jobs[id]
	if !known || j.status != "queued" {
		return fmt.Errorf("job %d is not queued", id)
	}
	for _, scope := range s.scopesOf(j.run.repo) {
		if r := s.byName[nameKey(scope, runnerName)]; r != nil && !r.busy {
			s.assign(j, r)
			return nil
		}
	}
	return fmt.Errorf("no free runner %s", runnerName)
}

// scopesOf a repository, at which its runners may be registered. The lock is held.
func (s *Server) scopesOf(repo *repository) []string {
	scopes := []string{strings.ToLower(repo.fullName), strings.ToLower(repo.owner())}
	if e := s.enterpriseOf(repo); e != nil {
		scopes = append(scopes, "enterprise:"+strings.ToLower(e.slug))
	}
	return scopes
}

// AddForeignRunner registers a runner that nobody here made, as one on another machine, and gives its name back.
func (s *Server) AddForeignRunner(repo, name string, labels ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &runner{id: s.newID(), name: name, scope: strings.ToLower(repo), group: 1, labels: labels, createdAt: s.clock.Now()}
	s.register(r)
	return name
}

// CompleteJob ends a job that was taken by hand.
func (s *Server) CompleteJob(id int64, conclusion string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, known := s.jobs[id]
	if !known || j.status != "in_progress" {
		return errors.New("the job is not in progress")
	}
	s.complete(j, conclusion)
	return nil
}

func (s *Server) repoOf(params map[string]string) *repository {
	return s.repos[strings.ToLower(params["owner"]+"/"+params["repo"])]
}

// status of a run in GitHub's words. One whose jobs are partly started is in_progress, which hides its queued jobs.
func (r *run) status() (status, conclusion string) {
	queued, running, worst := 0, 0, "success"
	for _, j := range r.jobs {
		switch j.status {
		case "completed":
			if j.conclusion != "success" && j.conclusion != "skipped" {
				worst = j.conclusion
			}
		case "in_progress":
			running++
		default:
			queued++
		}
	}
	switch {
	case queued+running == 0:
		return "completed", worst
	case queued == len(r.jobs):
		return "queued", ""
	default:
		return "in_progress", ""
	}
}

func (s *Server) listRuns(req *http.Request, params map[string]string) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	query := req.URL.Query()
	for _, unknown := range []string{"actor", "branch", "created", "head_sha", "check_suite_id"} {
		if query.Has(unknown) {
			return refuse(http.StatusNotImplemented, "the simulator cannot select runs by "+unknown)
		}
	}
	wanted, event := query.Get("status"), query.Get("event")
	var all []any
	for _, r := range slices.Backward(s.runs) {
		status, conclusion := r.status()
		if r.repo == s.repoOf(params) && (wanted == "" || wanted == status || wanted == conclusion) && (event == "" || event == r.event) {
			all = append(all, s.runJSON(r))
		}
	}
	return s.paged(req, "workflow_runs", all)
}

func (s *Server) runOf(params map[string]string) *run {
	id, _ := strconv.ParseInt(params["run"], 10, 64)
	for _, r := range s.runs {
		if r.id == id && r.repo == s.repoOf(params) {
			return r
		}
	}
	return nil
}

func (s *Server) getRun(_ *http.Request, params map[string]string) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.runOf(params); r != nil {
		return ok(s.runJSON(r))
	}
	return notFound()
}

func (s *Server) listJobs(req *http.Request, params map[string]string) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.runOf(params)
	if r == nil {
		return notFound()
	}
	if filter := req.URL.Query().Get("filter"); filter != "" && filter != "latest" && filter != "all" {
		return refuse(http.StatusUnprocessableEntity, "Validation Failed", "filter")
	}
	var all []any
	for _, j := range r.jobs {
		if j.started {
			all = append(all, s.jobJSON(j))
		}
	}
	return s.paged(req, "jobs", all)
}

func (s *Server) getJob(_ *http.Request, params map[string]string) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, _ := strconv.ParseInt(params["job"], 10, 64)
	if j, known := s.jobs[id]; known && j.run.repo == s.repoOf(params) {
		return ok(s.jobJSON(j))
	}
	return notFound()
}
