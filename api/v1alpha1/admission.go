package v1alpha1

import (
	"fmt"
	"path"
	"strings"
)

// Refusal says why the pool does not serve a job that matches its scope and labels; nil when it does.
func (p *RunnerPool) Refusal(job *WorkflowJob) *JobProblem {
	_, wish := p.Spec.Measure(p.Spec.WishesOf(job.Spec.Labels))
	switch {
	case job.Spec.Public && !p.Spec.AllowPublicRepositories:
		return &JobProblem{
			Reason:  ReasonPublicRepository,
			Message: fmt.Sprintf("%s is public: set spec.allowPublicRepositories to serve its jobs", job.Spec.Repository),
		}
	case job.Status.HeadRepository != "" && !strings.EqualFold(job.Status.HeadRepository, job.Spec.Repository) && !p.Spec.AllowForks:
		return &JobProblem{
			Reason:  ReasonFork,
			Message: fmt.Sprintf("it runs code from the fork %s: set spec.allowForks to serve such jobs", job.Status.HeadRepository),
		}
	case wish != nil:
		return &JobProblem{Reason: ReasonWishRefused, Message: wish.Error()}
	}
	return nil
}

// Undecided says what has to be asked of GitHub before the pool can serve the job; empty when nothing has.
func (p *RunnerPool) Undecided(job *WorkflowJob) string {
	switch {
	case job.Status.Unconfirmed:
		return "whether the job is still queued"
	case job.Status.HeadRepository == "" && !p.Spec.AllowForks:
		return "whether the job's code comes from a fork"
	}
	return ""
}

// Wants says that the job needs a runner of the pool.
func (p *RunnerPool) Wants(job *WorkflowJob) bool {
	return job.Status.State == JobQueued && job.DeletionTimestamp.IsZero() && p.Undecided(job) == "" && p.Refusal(job) == nil
}

// Covers says whether the filter lets a repository (owner/name) through. A nil filter lets all through.
func (f *RepositoryFilter) Covers(repository string) bool {
	if f == nil {
		return true
	}
	return (len(f.Include) == 0 || matchesAny(f.Include, repository)) && !matchesAny(f.Exclude, repository)
}

func matchesAny(patterns []RepositoryPattern, repository string) bool {
	full := strings.ToLower(repository)
	_, name, _ := strings.Cut(full, "/")
	for _, pattern := range patterns {
		subject := name
		if strings.Contains(string(pattern), "/") {
			subject = full
		}
		if ok, err := path.Match(strings.ToLower(string(pattern)), subject); err == nil && ok {
			return true
		}
	}
	return false
}
