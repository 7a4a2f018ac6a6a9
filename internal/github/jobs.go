package github

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
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

// ActiveJobs of a repository: those of its queued and in_progress runs, since a run that has started hides queued jobs.
// GitHub has no list of queued jobs. An error on one run's jobs is the whole list's.
func (c *Client) ActiveJobs(ctx context.Context, owner, repository string) ([]Job, error) {
	seen := map[int64]bool{}
	var jobs []Job
	for _, status := range []string{"queued", "in_progress"} {
		runs, err := c.runs(ctx, owner, repository, status)
		if err != nil {
			return nil, err
		}
		for _, run := range runs {
			if seen[run] {
				continue
			}
			seen[run] = true
			ofRun, err := c.jobsOfRun(ctx, owner, repository, run)
			if err != nil {
				return nil, err
			}
			jobs = append(jobs, ofRun...)
		}
	}
	return jobs, nil
}

func (c *Client) runs(ctx context.Context, owner, repository, status string) ([]int64, error) {
	var ids []int64
	err := c.do("listing runs", func() (*gh.Response, error) {
		return pages(func(opts gh.ListOptions) (*gh.Response, error) {
			list, resp, err := c.rest.Actions.ListRepositoryWorkflowRuns(ctx, owner, repository,
				&gh.ListWorkflowRunsOptions{Status: status, ListOptions: opts})
			if err == nil {
				for _, run := range list.WorkflowRuns {
					ids = append(ids, run.GetID())
				}
			}
			return resp, err
		})
	})
	return ids, err
}

func (c *Client) jobsOfRun(ctx context.Context, owner, repository string, run int64) ([]Job, error) {
	var jobs []Job
	err := c.do("listing jobs of a run", func() (*gh.Response, error) {
		return pages(func(opts gh.ListOptions) (*gh.Response, error) {
			list, resp, err := c.rest.Actions.ListWorkflowJobs(ctx, owner, repository, run,
				&gh.ListWorkflowJobsOptions{Filter: "latest", ListOptions: opts})
			if err == nil {
				for _, job := range list.Jobs {
					if j, ok := JobFrom(owner+"/"+repository, job); ok {
						jobs = append(jobs, j)
					}
				}
			}
			return resp, err
		})
	})
	return jobs, err
}

// GetJob asks for one job. NotFound when GitHub does not know it any more.
func (c *Client) GetJob(ctx context.Context, repository string, id int64) (Job, error) {
	owner, name, ok := strings.Cut(repository, "/")
	if !ok {
		return Job{}, fmt.Errorf("repository %q is not of the form owner/name", repository)
	}
	var job *gh.WorkflowJob
	err := c.do("asking for a job", func() (resp *gh.Response, err error) {
		job, resp, err = c.rest.Actions.GetWorkflowJobByID(ctx, owner, name, id)
		return resp, err
	})
	if err != nil {
		return Job{}, err
	}
	found, _ := JobFrom(repository, job)
	return found, nil
}

// ServerOf the page of a repository, for example https://github.com of https://github.com/octo/widgets.
func ServerOf(htmlURL string) string {
	u, err := url.Parse(htmlURL)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
