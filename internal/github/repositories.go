package github

import (
	"context"
	"time"

	gh "github.com/google/go-github/v60/github"
)

// Repository of an organization.
type Repository struct {
	FullName string
	Public   bool
	Archived bool
	PushedAt time.Time
}

// RecentRepositories of an organization: the hundred that were pushed to last, the latest first.
func (c *Client) RecentRepositories(ctx context.Context, organization string) ([]Repository, error) {
	var found []Repository
	err := c.do(ctx, listRepos, func(ctx context.Context) (*gh.Response, error) {
		list, resp, err := c.rest.Repositories.ListByOrg(ctx, organization, &gh.RepositoryListByOrgOptions{
			Type: "all", Sort: "pushed", Direction: "desc", ListOptions: gh.ListOptions{PerPage: pageSize},
		})
		for _, r := range list {
			found = append(found, Repository{
				FullName: r.GetFullName(), Public: !r.GetPrivate(), Archived: r.GetArchived(), PushedAt: r.GetPushedAt().Time,
			})
		}
		return resp, err
	})
	return found, err
}
