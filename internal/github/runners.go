package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	gh "github.com/google/go-github/v60/github"

	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
)

// Runner is a registration at GitHub.
type Runner struct {
	ID     int64
	Name   string
	Online bool
	Busy   bool
}

// JITRunner is a registration together with the configuration that lets one runner program use it, once.
type JITRunner struct {
	ID     int64
	Config credentials.Redacted
}

// CreateJITRunner registers an ephemeral runner in a runner group (the default one when empty) and gives its just-in-time
// configuration. A name that is taken is Conflict: an earlier call may have succeeded without its answer arriving.
func (c *Client) CreateJITRunner(ctx context.Context, scope Scope, group, name string, labels []string) (JITRunner, error) {
	groupID, err := c.groupID(ctx, scope, group)
	if err != nil {
		return JITRunner{}, err
	}
	request := &gh.GenerateJITConfigRequest{Name: name, RunnerGroupID: groupID, Labels: labels}
	var made *gh.JITRunnerConfig
	err = c.do(ctx, mintJIT, func(ctx context.Context) (resp *gh.Response, err error) {
		switch {
		case scope.Repository != "":
			made, resp, err = c.rest.Actions.GenerateRepoJITConfig(ctx, scope.Owner, scope.Repository, request)
		case scope.Enterprise != "":
			made, resp, err = c.rest.Enterprise.GenerateEnterpriseJITConfig(ctx, scope.Enterprise, request)
		default:
			made, resp, err = c.rest.Actions.GenerateOrgJITConfig(ctx, scope.Owner, request)
		}
		return resp, err
	})
	c.denied.note(groupKey{scope, lower(group)}, err, c.clock.Now())
	if fault.Is(err, fault.NotFound) {
		c.forgetGroup(scope, group)
	}
	if err != nil {
		return JITRunner{}, needs(err, scope)
	}
	if made.GetEncodedJITConfig() == "" || made.GetRunner().GetID() == 0 {
		return JITRunner{}, &fault.Error{Op: mintJIT.name, Class: fault.Transient, Message: "GitHub's answer has no configuration"}
	}
	return JITRunner{ID: made.Runner.GetID(), Config: credentials.Redacted(made.GetEncodedJITConfig())}, nil
}

// ListRunners gives all runners of a scope, or an error: never a part of them.
func (c *Client) ListRunners(ctx context.Context, scope Scope) ([]Runner, error) {
	var found []Runner
	total := 0
	err := c.do(ctx, listRunners, func(ctx context.Context) (*gh.Response, error) {
		return pages(func(opts gh.ListOptions) (*gh.Response, error) {
			list, resp, err := c.listRunnersPage(ctx, scope, opts, "")
			if err == nil {
				total = list.TotalCount
				found = appendRunners(found, list.Runners)
			}
			return resp, err
		})
	})
	if err != nil {
		return nil, err
	}
	if len(found) < total {
		return nil, &fault.Error{
			Op: listRunners.name, Class: fault.Transient,
			Message: fmt.Sprintf("GitHub listed %d runners of %d", len(found), total),
		}
	}
	return found, nil
}

// FindRunner by its name. NotFound when GitHub knows none of that name.
func (c *Client) FindRunner(ctx context.Context, scope Scope, name string) (Runner, error) {
	var found []Runner
	err := c.do(ctx, findRunner, func(ctx context.Context) (*gh.Response, error) {
		list, resp, err := c.listRunnersPage(ctx, scope, gh.ListOptions{PerPage: pageSize}, name)
		if err == nil {
			found = appendRunners(found, list.Runners)
		}
		return resp, err
	})
	if err != nil {
		return Runner{}, hidden(err)
	}
	for _, runner := range found {
		if lower(runner.Name) == lower(name) {
			return runner, nil
		}
	}
	return Runner{}, &fault.Error{Op: findRunner.name, Class: fault.NotFound, Message: "GitHub knows no runner " + name}
}

// GetRunner by its ID. NotFound when GitHub does not know it any more.
func (c *Client) GetRunner(ctx context.Context, scope Scope, id int64) (Runner, error) {
	found := new(gh.Runner)
	err := c.do(ctx, askForRunner, func(ctx context.Context) (*gh.Response, error) {
		req, err := c.rest.NewRequest(http.MethodGet, fmt.Sprintf("%s/actions/runners/%d", scope.path(), id), nil)
		if err != nil {
			return nil, err
		}
		return c.rest.Do(ctx, req, found)
	})
	if err != nil {
		return Runner{}, c.proven(ctx, scope, err)
	}
	return runnerFrom(found), nil
}

// proven gives NotFound only where GitHub shows the scope to the credentials: to those that may not see it, everything below
// it is not found, also a runner in the middle of its job (I4).
func (c *Client) proven(ctx context.Context, scope Scope, err error) error {
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	seen := c.do(ctx, checkRunners, func(ctx context.Context) (*gh.Response, error) {
		_, resp, err := c.listRunnersPage(ctx, scope, gh.ListOptions{PerPage: 1}, "")
		return resp, err
	})
	if seen != nil {
		return hidden(seen)
	}
	return err
}

// hidden turns the NotFound of a whole scope into Forbidden: nothing is known of what is in it.
func hidden(err error) error {
	var classified *fault.Error
	if !errors.As(err, &classified) || classified.Class != fault.NotFound {
		return err
	}
	told := *classified
	told.Class = fault.Forbidden
	return &told
}

// DeleteRunner removes a registration. A runner that is gone already is NotFound, one that runs a job is Busy and keeps
// its registration.
func (c *Client) DeleteRunner(ctx context.Context, scope Scope, id int64) error {
	err := c.do(ctx, removeRunner, func(ctx context.Context) (*gh.Response, error) {
		switch {
		case scope.Repository != "":
			return c.rest.Actions.RemoveRunner(ctx, scope.Owner, scope.Repository, id)
		case scope.Enterprise != "":
			return c.rest.Enterprise.RemoveRunner(ctx, scope.Enterprise, id)
		default:
			return c.rest.Actions.RemoveOrganizationRunner(ctx, scope.Owner, id)
		}
	})
	var classified *fault.Error
	if errors.As(err, &classified) && classified.Class == fault.Invalid {
		classified.Class = fault.Busy
	}
	return c.proven(ctx, scope, err)
}

// listRunnersPage asks for one page, by name when one is given: go-github v60 has no name filter, though the API has one.
func (c *Client) listRunnersPage(ctx context.Context, scope Scope, opts gh.ListOptions, name string) (*gh.Runners, *gh.Response, error) {
	query := url.Values{}
	query.Set("per_page", fmt.Sprint(opts.PerPage))
	if opts.Page > 1 {
		query.Set("page", fmt.Sprint(opts.Page))
	}
	if name != "" {
		query.Set("name", name)
	}
	req, err := c.rest.NewRequest(http.MethodGet, scope.path()+"/actions/runners?"+query.Encode(), nil)
	if err != nil {
		return nil, nil, err
	}
	list := new(gh.Runners)
	resp, err := c.rest.Do(ctx, req, list)
	return list, resp, err
}

// path of a scope in the REST API.
func (s Scope) path() string {
	switch {
	case s.Repository != "":
		return fmt.Sprintf("repos/%s/%s", s.Owner, s.Repository)
	case s.Enterprise != "":
		return "enterprises/" + s.Enterprise
	default:
		return "orgs/" + s.Owner
	}
}

func appendRunners(found []Runner, listed []*gh.Runner) []Runner {
	for _, r := range listed {
		found = append(found, runnerFrom(r))
	}
	return found
}

func runnerFrom(r *gh.Runner) Runner {
	return Runner{ID: r.GetID(), Name: r.GetName(), Online: r.GetStatus() == "online", Busy: r.GetBusy()}
}
