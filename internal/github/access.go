package github

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	gh "github.com/google/go-github/v60/github"
	"k8s.io/utils/clock"

	"github.com/modalrunner/modal-runner-controller/internal/fault"
)

// deniedFor is how long a refusal to register a runner is held against the credentials: GitHub has no call that asks
// whether one would be allowed to.
const deniedFor = 2 * time.Minute

// denials remember the runner groups of scopes in which registering a runner was refused.
type denials struct {
	mu      sync.Mutex
	byGroup map[groupKey]denial
}

type denial struct {
	err error
	at  time.Time
}

// note what came of registering a runner.
func (d *denials) note(group groupKey, err error, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case fault.Is(err, fault.Forbidden, fault.NotFound):
		if d.byGroup == nil {
			d.byGroup = map[groupKey]denial{}
		}
		d.byGroup[group] = denial{err, now}
	case err == nil || fault.Is(err, fault.Conflict):
		delete(d.byGroup, group)
	}
}

func (d *denials) last(group groupKey, clock clock.PassiveClock) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	last, ok := d.byGroup[group]
	if ok && clock.Since(last.at) < deniedFor {
		return last.err
	}
	delete(d.byGroup, group)
	return nil
}

// CheckAccess to all that serving the scope needs: its runners, where that can be asked for workflow runs, and the runner
// group, when one is named. An error names the permission that is missing.
func (c *Client) CheckAccess(ctx context.Context, scope Scope, group string) error {
	err := c.do(ctx, checkRunners, func(ctx context.Context) (*gh.Response, error) {
		_, resp, err := c.listRunnersPage(ctx, scope, gh.ListOptions{PerPage: 1}, "")
		return resp, err
	})
	if err == nil {
		err = c.checkActions(ctx, scope)
	}
	if err == nil {
		_, err = c.groupID(ctx, scope, group)
	}
	if err == nil {
		err = c.denied.last(groupKey{scope, lower(group)}, c.clock)
	}
	return needs(err, scope)
}

// checkActions asks for the runs of the scope's repository, or of the private one of an organization that was pushed to last.
// An enterprise has no list of repositories: there the jobs that GitHub does not tell of say what is missing (provenIn).
func (c *Client) checkActions(ctx context.Context, scope Scope) error {
	owner, name := scope.Owner, scope.Repository
	switch {
	case scope.Enterprise != "":
		return nil
	case name == "":
		recent, err := c.RecentRepositories(ctx, scope.Owner)
		if fault.Is(err, fault.Held) {
			return nil
		}
		at := slices.IndexFunc(recent, func(r Repository) bool { return !r.Public && !r.Archived })
		if err != nil || at < 0 {
			return err
		}
		_, name, _ = strings.Cut(recent[at].FullName, "/")
	}
	return c.seeRuns(ctx, owner, name)
}

// needs adds to a refusal what the scope needs in all.
func needs(err error, scope Scope) error {
	var classified *fault.Error
	if !errors.As(err, &classified) || classified.Class != fault.Forbidden && classified.Class != fault.NotFound {
		return err
	}
	if classified.Op == findInstall.name || classified.Op == mintToken.name {
		// The App itself is refused, which says what to do already.
		return err
	}
	// GitHub answers 404 rather than 403 where the credentials may not even know that the scope exists.
	explained := *classified
	explained.Class = fault.Forbidden
	explained.Message += "; serving the scope takes " + permission(scope)
	return &explained
}

// permission that serving a scope takes. Source: docs.github.com/rest/actions/self-hosted-runners.
func permission(scope Scope) string {
	switch {
	case scope.Repository != "":
		return fmt.Sprintf("the repository permissions Administration (write) and Actions (read) on %s/%s, or the scope repo of a classic token", scope.Owner, scope.Repository)
	case scope.Enterprise != "":
		return "the scope manage_runners:enterprise of a classic token, or an App with Enterprise self-hosted runners (write), on enterprise " + scope.Enterprise
	default:
		return "the organization permission Self-hosted runners (write) and the repository permission Actions (read) on " + scope.Owner + ", or the scopes admin:org and repo of a classic token"
	}
}
