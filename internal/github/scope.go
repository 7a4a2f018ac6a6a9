package github

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// Scope is where runners are registered. The zero value is not valid.
type Scope struct {
	// Server as a user opens it, for example https://github.com.
	Server string
	// Owner is the organization or user; set with Repository, or alone for an organization.
	Owner string
	// Repository without its owner.
	Repository string
	// Enterprise slug.
	Enterprise string
}

// ScopeOf turns the API's form into a Scope.
func ScopeOf(server string, scope v1alpha1.Scope) Scope {
	s := Scope{Server: strings.TrimSuffix(server, "/"), Enterprise: scope.Enterprise, Owner: scope.Organization}
	if owner, name, ok := strings.Cut(scope.Repository, "/"); ok {
		s.Owner, s.Repository = owner, name
	}
	return s
}

// String names the scope for messages and as a key.
func (s Scope) String() string {
	switch {
	case s.Repository != "":
		return fmt.Sprintf("repository %s/%s at %s", s.Owner, s.Repository, s.Server)
	case s.Enterprise != "":
		return fmt.Sprintf("enterprise %s at %s", s.Enterprise, s.Server)
	default:
		return fmt.Sprintf("organization %s at %s", s.Owner, s.Server)
	}
}

// Host of a server's URL, in lower case, as it stands in the links of webhooks.
func Host(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Host)
}

// isPublic says whether a server is GitHub's own: github.com or one with data residency.
func isPublic(server string) bool {
	host := Host(server)
	return host == "github.com" || strings.HasSuffix(host, ".ghe.com")
}

// apiURL of a server: api.github.com, api.SUBDOMAIN.ghe.com, or /api/v3/ of a GitHub Enterprise Server.
// Source: docs.github.com/rest/using-the-rest-api/getting-started-with-the-rest-api.
func apiURL(server string) string {
	host := Host(server)
	switch {
	case host == "github.com":
		return "https://api.github.com/"
	case strings.HasSuffix(host, ".ghe.com"):
		return "https://api." + host + "/"
	default:
		return strings.TrimSuffix(server, "/") + "/api/v3/"
	}
}
