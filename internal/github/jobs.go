package github

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
)

// Job is what GitHub says about a job, from a webhook or from the API.
type Job struct {
	ID          int64
	RunID       int64
	RunAttempt  int64
	Repository  string // owner/name
	Workflow    string
	Name        string
	URL         string
	Labels      []string
	State       v1alpha1.JobState
	Conclusion  string
	RunnerName  string
	CreatedAt   time.Time
	StartedAt   time.Time
	CompletedAt time.Time
	// Public says that the repository is public.
	Public bool
	// HeadRepository is where the job's code comes from, as owner/name; empty when that is not told.
	HeadRepository string
	// Confirmed says that GitHub's API told this, or that it is too new to be an old delivery that was played again.
	Confirmed bool
}

// states of a job in GitHub's words. Source: the enum of workflow_job.status in GitHub's OpenAPI description.
var states = map[string]v1alpha1.JobState{
	"queued":      v1alpha1.JobQueued,
	"waiting":     v1alpha1.JobWaiting,
	"pending":     v1alpha1.JobWaiting,
	"requested":   v1alpha1.JobWaiting,
	"in_progress": v1alpha1.JobInProgress,
	"completed":   v1alpha1.JobCompleted,
}

// JobFrom turns go-github's form of a job into ours. It reports false for a status that GitHub does not document.
func JobFrom(repository string, job *gh.WorkflowJob) (Job, bool) {
	if job == nil {
		return Job{}, false
	}
	state, ok := states[job.GetStatus()]
	return Job{
		ID: job.GetID(), RunID: job.GetRunID(), RunAttempt: job.GetRunAttempt(),
		Repository: repository, Workflow: job.GetWorkflowName(), Name: job.GetName(), URL: job.GetHTMLURL(),
		Labels: job.Labels, State: state, Conclusion: job.GetConclusion(), RunnerName: job.GetRunnerName(),
		CreatedAt: job.GetCreatedAt().Time, StartedAt: job.GetStartedAt().Time, CompletedAt: job.GetCompletedAt().Time,
	}, ok
}

// deletedFork stands for the head repository of a run whose fork is gone.
const deletedFork = "a deleted fork"

// run of a workflow, as far as its jobs do not tell themselves.
type run struct {
	id     int64
	head   string
	public bool
}

func runFrom(r *gh.WorkflowRun) run {
	found := run{id: r.GetID(), head: r.GetHeadRepository().GetFullName(), public: !r.GetRepository().GetPrivate()}
	if found.head == "" {
		found.head = deletedFork
	}
	return found
}

// ActiveJobs of a repository: those of its queued and in_progress runs, since a run that has started hides queued jobs.
// GitHub has no list of queued jobs. With an error the list may lack some: one run that cannot be asked does not hide the
// jobs of the others (B53).
func (c *Client) ActiveJobs(ctx context.Context, owner, repository string) ([]Job, error) {
	seen := map[int64]bool{}
	var jobs []Job
	var failures []error
	for _, status := range []string{"queued", "in_progress"} {
		runs, err := c.runs(ctx, owner, repository, status)
		if err != nil {
			// It goes first, since its class decides how long to wait.
			return jobs, errors.Join(append([]error{err}, failures...)...)
		}
		for _, r := range runs {
			if seen[r.id] {
				continue
			}
			seen[r.id] = true
			ofRun, err := c.jobsOfRun(ctx, owner, repository, r)
			if fault.Is(err, fault.Throttled, fault.Held, fault.Unauthorized) {
				return jobs, err
			}
			// A run that is gone has no jobs.
			failures = append(failures, fault.IgnoreNotFound(err))
			jobs = append(jobs, ofRun...)
		}
	}
	return jobs, errors.Join(failures...)
}

func (c *Client) runs(ctx context.Context, owner, repository, status string) ([]run, error) {
	var runs []run
	err := c.do(ctx, listRuns, func(ctx context.Context) (*gh.Response, error) {
		return pages(func(opts gh.ListOptions) (*gh.Response, error) {
			list, resp, err := c.rest.Actions.ListRepositoryWorkflowRuns(ctx, owner, repository,
				&gh.ListWorkflowRunsOptions{Status: status, ListOptions: opts})
			if err == nil {
				for _, r := range list.WorkflowRuns {
					runs = append(runs, runFrom(r))
				}
			}
			return resp, err
		})
	})
	return runs, err
}

func (c *Client) jobsOfRun(ctx context.Context, owner, repository string, of run) ([]Job, error) {
	var jobs []Job
	err := c.do(ctx, listJobs, func(ctx context.Context) (*gh.Response, error) {
		return pages(func(opts gh.ListOptions) (*gh.Response, error) {
			list, resp, err := c.rest.Actions.ListWorkflowJobs(ctx, owner, repository, of.id,
				&gh.ListWorkflowJobsOptions{Filter: "latest", ListOptions: opts})
			if err == nil {
				for _, job := range list.Jobs {
					if j, ok := JobFrom(owner+"/"+repository, job); ok {
						j.Confirmed, j.Public, j.HeadRepository = true, of.public, of.head
						jobs = append(jobs, j)
					}
				}
			}
			return resp, err
		})
	})
	return jobs, err
}

// HeadRepository of a run: where its code comes from, as owner/name. NotFound when GitHub does not know the run any more,
// Forbidden when it hides the repository.
func (c *Client) HeadRepository(ctx context.Context, repository string, runID int64) (string, error) {
	owner, name, ok := strings.Cut(repository, "/")
	if !ok {
		return "", fmt.Errorf("repository %q is not of the form owner/name", repository)
	}
	var found *gh.WorkflowRun
	err := c.do(ctx, askForRun, func(ctx context.Context) (resp *gh.Response, err error) {
		found, resp, err = c.rest.Actions.GetWorkflowRunByID(ctx, owner, name, runID)
		return resp, err
	})
	if err != nil {
		return "", c.provenIn(ctx, owner, name, err)
	}
	return runFrom(found).head, nil
}

// GetJob asks for one job. NotFound when GitHub does not know it any more, Forbidden when it hides the repository.
func (c *Client) GetJob(ctx context.Context, repository string, id int64) (Job, error) {
	owner, name, ok := strings.Cut(repository, "/")
	if !ok {
		return Job{}, fmt.Errorf("repository %q is not of the form owner/name", repository)
	}
	var job *gh.WorkflowJob
	err := c.do(ctx, askForJob, func(ctx context.Context) (resp *gh.Response, err error) {
		job, resp, err = c.rest.Actions.GetWorkflowJobByID(ctx, owner, name, id)
		return resp, err
	})
	if err != nil {
		return Job{}, c.provenIn(ctx, owner, name, err)
	}
	found, _ := JobFrom(repository, job)
	found.Confirmed = true
	return found, nil
}

// provenIn gives NotFound only where GitHub shows the repository to the credentials: of one that they may not see, no job is
// found, also not one that runs (I2, I4).
func (c *Client) provenIn(ctx context.Context, owner, name string, err error) error {
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	seen := hidden(c.seeRuns(ctx, owner, name))
	if seen == nil {
		return err
	}
	var refused *fault.Error
	if !errors.As(seen, &refused) || refused.Class != fault.Forbidden {
		return seen
	}
	told := *refused
	told.Message += fmt.Sprintf("; the credentials have to see %s/%s, with the repository permission Actions (read)", owner, name)
	switch {
	case c.asApp == nil:
		told.Message += " or the scope repo of a classic token"
	case c.asApp.ofEnterprise():
		told.Message += ", which an App that is installed on an enterprise cannot have: use a classic token"
	default:
		told.Message += ": install the App on it"
	}
	return &told
}

// seeRuns of a repository, as far as that shows whether the credentials may.
func (c *Client) seeRuns(ctx context.Context, owner, name string) error {
	return c.do(ctx, checkActions, func(ctx context.Context) (*gh.Response, error) {
		_, resp, err := c.rest.Actions.ListRepositoryWorkflowRuns(ctx, owner, name,
			&gh.ListWorkflowRunsOptions{ListOptions: gh.ListOptions{PerPage: 1}})
		return resp, err
	})
}

// ServerOf the page of a repository, for example https://github.com of https://github.com/octo/widgets.
func ServerOf(htmlURL string) string {
	u, err := url.Parse(htmlURL)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
