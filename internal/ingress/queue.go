package ingress

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/github"
)

const (
	// repositoriesPerPoll bounds how many repositories of an organization or enterprise are asked in one poll. Two requests
	// each, conditional ones, they stay far below what GitHub allows in a minute.
	repositoriesPerPoll = 20
	// recentlyPushed is how long after a push a repository is taken for active.
	recentlyPushed = 30 * 24 * time.Hour
)

// queue is what is polled at once: one scope, seen with one credential, for all the pools that share both.
type queue struct {
	namespace, secret string
	scope             github.Scope
}

func queueOf(pool *v1alpha1.RunnerPool) queue {
	return queue{
		namespace: pool.Namespace, secret: pool.Spec.GitHub.SecretName,
		scope: github.ScopeOf(pool.Spec.GitHub.URL, pool.Spec.Scope),
	}
}

// lane of the credential that a queue is polled with.
func (q queue) lane() string { return q.namespace + "/" + q.secret }

// trust says whether what is polled moves a pool: one that asks the same server with the same credentials.
func (q queue) trust(pool *v1alpha1.RunnerPool) bool {
	of := queueOf(pool)
	return of.namespace == q.namespace && of.secret == q.secret && of.scope.Server == q.scope.Server
}

// origin of the jobs in a repository of the queue.
func (q queue) origin(repository string) Origin {
	owner, _, _ := strings.Cut(repository, "/")
	return Origin{Server: q.scope.Server, Organization: owner, Enterprise: q.scope.Enterprise}
}

// open are the jobs of the queue's pools that are stored and not over, by repository.
func (p *Poller) open(ctx context.Context, q queue, pools []v1alpha1.RunnerPool) (map[string][]*v1alpha1.WorkflowJob, error) {
	open := map[string][]*v1alpha1.WorkflowJob{}
	for _, pool := range pools {
		var stored v1alpha1.WorkflowJobList
		err := p.List(ctx, &stored, client.InNamespace(q.namespace), client.MatchingLabels{v1alpha1.PoolLabel: pool.Name}, client.UnsafeDisableDeepCopy)
		if err != nil {
			return nil, fmt.Errorf("listing WorkflowJobs: %w", err)
		}
		for i := range stored.Items {
			if job := &stored.Items[i]; job.Status.State != v1alpha1.JobCompleted {
				key := strings.ToLower(job.Spec.Repository)
				open[key] = append(open[key], job)
			}
		}
	}
	return open, nil
}

// repositories to ask in this poll: of a repository's queue that one. GitHub has no list of the jobs of an organization, so
// that of wider queues those are asked that have open jobs, then those that were pushed to last, and some of the other
// active ones in turn. With an error those with open jobs are given nevertheless.
func (p *Poller) repositories(ctx context.Context, gh *github.Client, q queue, pools []v1alpha1.RunnerPool, open map[string][]*v1alpha1.WorkflowJob) ([]string, error) {
	if q.scope.Repository != "" {
		return []string{q.scope.Owner + "/" + q.scope.Repository}, nil
	}
	var known []string
	for _, jobs := range open {
		known = append(known, jobs[0].Spec.Repository)
	}
	slices.Sort(known)
	chosen := p.turn(q, "known", known, repositoriesPerPoll)
	active, err := p.active(ctx, gh, q, pools)
	active = slices.DeleteFunc(active, func(repository string) bool { return open[strings.ToLower(repository)] != nil })
	left := repositoriesPerPoll - len(chosen)
	latest := min(left/2, len(active))
	chosen = append(chosen, active[:latest]...)
	return append(chosen, p.turn(q, "active", active[latest:], left-latest)...), err
}

// active repositories that a pool of the queue serves, the one pushed to last first.
func (p *Poller) active(ctx context.Context, gh *github.Client, q queue, pools []v1alpha1.RunnerPool) ([]string, error) {
	var found []github.Repository
	var failures []error
	for _, owner := range owners(q, pools) {
		recent, err := gh.RecentRepositories(ctx, owner)
		failures = append(failures, err)
		found = append(found, recent...)
	}
	slices.SortStableFunc(found, func(a, b github.Repository) int { return b.PushedAt.Compare(a.PushedAt) })
	var active []string
	for _, repository := range found {
		wanted := slices.ContainsFunc(pools, func(pool v1alpha1.RunnerPool) bool {
			return pool.Spec.Repositories.Covers(repository.FullName) && (!repository.Public || pool.Spec.AllowPublicRepositories)
		})
		if wanted && !repository.Archived && p.Clock.Since(repository.PushedAt) < recentlyPushed {
			active = append(active, repository.FullName)
		}
	}
	return active, errors.Join(failures...)
}

// owners whose repositories are listed. An enterprise's cannot be asked for: they are those that the pools' patterns name.
func owners(q queue, pools []v1alpha1.RunnerPool) []string {
	if q.scope.Enterprise == "" {
		return []string{q.scope.Owner}
	}
	var named []string
	for _, pool := range pools {
		if pool.Spec.Repositories == nil {
			continue
		}
		for _, pattern := range pool.Spec.Repositories.Include {
			owner, _, ok := strings.Cut(strings.ToLower(string(pattern)), "/")
			if ok && !strings.ContainsAny(owner, "*?") && !slices.Contains(named, owner) {
				named = append(named, owner)
			}
		}
	}
	return named
}

// turn gives as many of all as fit, beginning where the turn before ended.
func (p *Poller) turn(q queue, kind string, all []string, most int) []string {
	if len(all) <= most {
		return slices.Clone(all)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := turnKey{q, kind}
	from := p.turns[key] % len(all)
	p.turns[key] = from + most
	return append(slices.Clone(all), all...)[from : from+most]
}

type turnKey struct {
	queue queue
	kind  string
}
