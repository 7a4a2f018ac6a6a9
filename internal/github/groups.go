package github

import (
	"context"
	"sync"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/modalrunner/modal-runner-controller/internal/fault"
)

// DefaultRunnerGroup is the ID of the group that every organization and enterprise has, and the one that repositories
// must name.
const DefaultRunnerGroup = 1

// groupTTL is how long a runner group's ID is known without asking again.
const groupTTL = 10 * time.Minute

// groups remembers the IDs of runner groups.
type groups struct {
	mu    sync.Mutex
	known map[groupKey]foundGroup
}

type groupKey struct {
	scope Scope
	name  string
}

type foundGroup struct {
	id int64
	at time.Time
}

// groupID of a runner group by its name; no name is the default group. A group that does not exist is NoRunnerGroup.
func (c *Client) groupID(ctx context.Context, scope Scope, name string) (int64, error) {
	if name == "" || scope.Repository != "" {
		return DefaultRunnerGroup, nil
	}
	key := groupKey{scope, lower(name)}
	c.groups.mu.Lock()
	found, ok := c.groups.known[key]
	c.groups.mu.Unlock()
	if ok && c.clock.Since(found.at) < groupTTL {
		return found.id, nil
	}
	id, err := c.findGroup(ctx, scope, name)
	if err != nil {
		return 0, err
	}
	c.groups.mu.Lock()
	defer c.groups.mu.Unlock()
	if c.groups.known == nil {
		c.groups.known = map[groupKey]foundGroup{}
	}
	c.groups.known[key] = foundGroup{id, c.clock.Now()}
	return id, nil
}

// forgetGroup that GitHub does not know any more.
func (c *Client) forgetGroup(scope Scope, name string) {
	c.groups.mu.Lock()
	defer c.groups.mu.Unlock()
	delete(c.groups.known, groupKey{scope, lower(name)})
}

func (c *Client) findGroup(ctx context.Context, scope Scope, name string) (id int64, err error) {
	note := func(groupName string, groupID int64) {
		if lower(groupName) == lower(name) {
			id = groupID
		}
	}
	err = c.do(ctx, findGroup, func(ctx context.Context) (*gh.Response, error) {
		return pages(func(opts gh.ListOptions) (*gh.Response, error) {
			if scope.Enterprise != "" {
				list, resp, err := c.rest.Enterprise.ListRunnerGroups(ctx, scope.Enterprise, &gh.ListEnterpriseRunnerGroupOptions{ListOptions: opts})
				if err == nil {
					for _, g := range list.RunnerGroups {
						note(g.GetName(), g.GetID())
					}
				}
				return resp, err
			}
			list, resp, err := c.rest.Actions.ListOrganizationRunnerGroups(ctx, scope.Owner, &gh.ListOrgRunnerGroupOptions{ListOptions: opts})
			if err == nil {
				for _, g := range list.RunnerGroups {
					note(g.GetName(), g.GetID())
				}
			}
			return resp, err
		})
	})
	if err == nil && id == 0 {
		err = &fault.Error{
			Op: findGroup.name, Class: fault.NoRunnerGroup,
			Message: scope.String() + " has no runner group " + name + " that the credentials can see: create it there, or correct spec.runnerGroup",
		}
	}
	return id, err
}
