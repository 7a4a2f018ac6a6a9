package github

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// token is a credential.
type token struct {
	// grants are what it is about: owners (organizations or enterprises) or repositories, in any case.
	grants []string
	kind   tokenKind
	// permissions of a fine-grained token or an installation; nil: all. "read" or "write".
	permissions map[string]string
	// scopes of a classic token; nil: all.
	scopes  []string
	expires time.Time // zero: never
	budget  *budget
}

type tokenKind int

const (
	fineGrained tokenKind = iota
	classic
	ofInstallation
)

// TokenOptions of a personal access token.
type TokenOptions struct {
	// Grants are owners (organizations or enterprises) or repositories that it may be used for.
	Grants []string
	// Classic makes it a classic token, with Scopes, rather than a fine-grained one, with Permissions.
	Classic bool
	// Permissions of a fine-grained token, for example administration: write, actions: read; nil is all that it needs.
	Permissions map[string]string
	// Scopes of a classic token, for example repo, admin:org; nil is all that it needs.
	Scopes []string
	// Life after which it expires; 0 is never.
	Life time.Duration
}

// AddToken that may do all with the runners, jobs and hooks of what is granted: owners (organizations or enterprises) or
// repositories.
func (s *Server) AddToken(value string, grants ...string) {
	s.AddTokenWith(value, TokenOptions{Grants: grants})
}

// AddTokenWith options.
func (s *Server) AddTokenWith(value string, options TokenOptions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &token{grants: options.Grants, permissions: options.Permissions, scopes: options.Scopes, budget: &budget{}}
	if options.Classic {
		t.kind = classic
	}
	if options.Life > 0 {
		t.expires = s.clock.Now().Add(options.Life)
	}
	s.tokens[value] = t
}

// RevokeToken makes a token invalid.
func (s *Server) RevokeToken(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, value)
}

func credential(req *http.Request) string {
	scheme, value, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "token") {
		return ""
	}
	return value
}

// need is what a route wants of a token.
type need struct {
	// permission of fine-grained tokens and Apps; "" is one that none of them has.
	permission string
	// scopes of classic tokens, any of which will do.
	scopes []string
	level  string // read or write
	// private: also what is public is shown only to those who have it.
	private bool
}

// What the routes need. Sources: docs.github.com/rest/authentication/permissions-required-for-fine-grained-personal-access-tokens
// and the introductions of the endpoints for classic tokens.
var (
	needMetadata          = need{permission: "metadata", scopes: []string{"repo"}, level: "read"}
	needActions           = need{permission: "actions", scopes: []string{"repo"}, level: "read"}
	needRepoRunners       = need{permission: "administration", scopes: []string{"repo"}, level: "read", private: true}
	needOrgRunners        = need{permission: "organization_self_hosted_runners", scopes: []string{"admin:org"}, level: "read", private: true}
	needEnterpriseRunners = need{scopes: []string{"manage_runners:enterprise", "admin:enterprise"}, level: "read", private: true}
	needRepoHooks         = need{permission: "repository_hooks", scopes: []string{"repo", "admin:repo_hook"}, level: "read", private: true}
	needOrgHooks          = need{permission: "organization_hooks", scopes: []string{"admin:org_hook"}, level: "read", private: true}
)

func (n need) write() need {
	n.level = "write"
	return n
}

// met by a token, whatever it is for.
func (n need) met(t *token) bool {
	if t.kind == classic {
		return t.scopes == nil || slices.ContainsFunc(t.scopes, func(scope string) bool { return slices.Contains(n.scopes, scope) })
	}
	if t.permissions == nil {
		return t.kind != ofInstallation || n.permission != ""
	}
	have := t.permissions[n.permission]
	return n.permission == "metadata" || n.permission != "" && (have == "write" || have == n.level)
}

// authenticate says who calls, or how they are denied.
func (s *Server) authenticate(c *call) *reply {
	t, known := s.tokens[c.credential]
	if !known || !t.expires.IsZero() && !s.clock.Now().Before(t.expires) {
		message := "Bad credentials"
		if c.Header.Get("Authorization") == "" {
			message = "Requires authentication"
		}
		denied := refuse(http.StatusUnauthorized, message)
		return &denied
	}
	c.token = t
	return nil
}

// authorize a call, or say how it is denied: what the caller may not see is not found.
func (s *Server) authorize(c *call) *reply {
	owner := c.params["org"] + c.params["enterprise"] + c.params["owner"]
	if owner == "" {
		return nil
	}
	exists, public, full := s.find(c.params, owner)
	c.granted = c.token.covers(owner) || full != owner && c.token.covers(full)
	denied := notFound()
	switch {
	case !exists, !c.granted && !public:
		return &denied
	case c.granted && c.route.needs.met(c.token), public && !c.route.needs.private:
		return nil
	default:
		denied = c.route.needs.denial(c.token, c.params)
		return &denied
	}
}

// find what a call is about.
func (s *Server) find(params map[string]string, owner string) (exists, public bool, full string) {
	key := strings.ToLower(owner)
	switch {
	case params["repo"] != "":
		full = owner + "/" + params["repo"]
		repo, known := s.repos[strings.ToLower(full)]
		return known, known && !repo.private, full
	case params["enterprise"] != "":
		return s.enterprises[key] != nil, false, owner
	default:
		return s.orgs[key] != nil, true, owner
	}
}

func (t *token) covers(target string) bool {
	return slices.ContainsFunc(t.grants, func(grant string) bool { return strings.EqualFold(grant, target) })
}

func (n need) denial(t *token, params map[string]string) reply {
	switch {
	case t.kind == ofInstallation:
		return refuse(http.StatusForbidden, "Resource not accessible by integration").
			with("X-Accepted-Github-Permissions", n.permission+"="+n.level)
	case t.kind == fineGrained:
		return refuse(http.StatusForbidden, "Resource not accessible by personal access token").
			with("X-Accepted-Github-Permissions", n.permission+"="+n.level)
	case params["repo"] != "":
		return refuse(http.StatusForbidden, "Must have admin rights to Repository.")
	default:
		return refuse(http.StatusForbidden, "You must have the scope "+n.scopes[0]+" and administer "+params["org"]+params["enterprise"]+".")
	}
}
