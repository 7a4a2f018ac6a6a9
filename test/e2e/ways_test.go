package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
)

const (
	organization = "octo"
	enterprise   = "inc"
)

// way is how the suite is run: where the pools' runners are registered, and how the pools learn of jobs. E2E_WAY chooses
// one, as SCOPE,NEWS; make test-ways runs them all.
type way struct {
	// scope is repository, organization or enterprise.
	scope string
	// news is polled (no webhook), delivered (webhooks, and a poll now and then), or lossy (webhooks of which every third is
	// lost, and no poll: what is lost is found by the deliveries that failed).
	news string
}

var the = func() way {
	given := os.Getenv("E2E_WAY")
	if given == "" {
		given = "repository,polled"
	}
	scope, news, _ := strings.Cut(given, ",")
	if !slices.Contains([]string{"repository", "organization", "enterprise"}, scope) || !slices.Contains([]string{"polled", "delivered", "lossy"}, news) {
		panic(fmt.Sprintf("E2E_WAY=%s is not of the form SCOPE,NEWS", given))
	}
	return way{scope, news}
}()

// settings of a world that is run this way.
func (w way) settings() settings {
	switch w.news {
	case "delivered":
		return settings{secrets: true, webhooks: true, poll: "3s", heal: "1s"}
	case "lossy":
		// GitHub gives no access to the deliveries of an enterprise, so that there the poll has to find what was lost.
		poll := "1h"
		if w.scope == "enterprise" {
			poll = "3s"
		}
		return settings{secrets: true, webhooks: true, poll: poll, heal: "1s", faults: githubsim.WebhookFaults{Drop: 0.3}}
	default:
		return settings{secrets: true, poll: "1s"}
	}
}

// pool is the scope of the world's pools.
func (w way) pool(s *v1alpha1.RunnerPoolSpec) {
	switch w.scope {
	case "organization":
		s.Scope = v1alpha1.Scope{Organization: organization}
	case "enterprise":
		s.Scope = v1alpha1.Scope{Enterprise: enterprise}
		// An enterprise's repositories are found by their owners' names.
		s.Repositories = &v1alpha1.RepositoryFilter{Include: []v1alpha1.RepositoryPattern{organization + "/*"}}
	default:
		s.Scope = v1alpha1.Scope{Repository: repository}
	}
}

// grants of a token that serves the pools.
func (w way) grants() []string {
	switch w.scope {
	case "organization":
		return []string{organization}
	case "enterprise":
		return []string{enterprise, organization}
	default:
		return []string{repository}
	}
}

// place is where runners are registered and what the webhook is made on, as the simulator names it.
func (w way) place() string {
	switch w.scope {
	case "organization":
		return organization
	case "enterprise":
		return "enterprise:" + enterprise
	default:
		return repository
	}
}

// registrations is the path at which runners are registered.
func (w way) registrations() string {
	switch w.scope {
	case "organization":
		return "/orgs/" + organization + "/actions/runners"
	case "enterprise":
		return "/enterprises/" + enterprise + "/actions/runners"
	default:
		return "/repos/" + repository + "/actions/runners"
	}
}
