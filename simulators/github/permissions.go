package github

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// need says what a call takes. Sources: docs.github.com/rest/authentication/permissions-required-for-github-apps,
// docs.github.com/rest/authentication/permissions-required-for-fine-grained-personal-access-tokens, and the operations'
// descriptions for the scopes of classic tokens.
type need struct {
	// free calls take any token, and none of its budget.
	free bool
	// app calls are signed with an App's key, which they check by themselves.
	app bool
	// installation calls are for the tokens of App installations only.
	installation bool
	// enterprise calls are not for fine-grained tokens.
	enterprise bool
	// fine permissions in the form of the header X-Accepted-GitHub-Permissions: all of one alternative, "; " between them.
	fine string
	// classic scopes, any of which does.
	classic []string
	// public says that nothing is needed for what is public.
	public bool
	// admin calls tell a classic token that it lacks rights; others tell it that there is nothing.
	admin bool
}

var readActions = need{fine: "actions=read", classic: []string{"repo"}, public: true}

func runnersNeed(scope, level string) need {
	switch scope {
	case ofRepo:
		return need{fine: "administration=" + level, classic: []string{"repo"}, admin: true}
	case ofOrg:
		return need{fine: "organization_self_hosted_runners=" + level, classic: []string{"admin:org", "manage_runners:org"}}
	default:
		return need{
			fine: "enterprise_self_hosted_runners=" + level, classic: []string{"admin:enterprise", "manage_runners:enterprise"}, enterprise: true,
		}
	}
}

func hooksNeed(scope, method string) need {
	level := "write"
	if method == http.MethodGet {
		level = "read"
	}
	if scope == ofOrg {
		return need{fine: "organization_hooks=" + level, classic: []string{"admin:org_hook"}}
	}
	scopes := []string{"admin:repo_hook", "repo"}
	if method != http.MethodDelete {
		scopes = append(scopes, "write:repo_hook")
	}
	if method == http.MethodGet {
		scopes = append(scopes, "read:repo_hook")
	}
	return need{fine: "repository_hooks=" + level, classic: scopes}
}

// readsPrivate says whether a token that is granted a private repository is told that it exists.
func (t *token) readsPrivate(n need) bool {
	return t.kind != ClassicToken || t.hasScope("repo") || slices.ContainsFunc(n.classic, t.hasScope)
}

func (t *token) hasScope(scope string) bool {
	_, has := t.permissions[scope]
	return has
}

// may says whether the token's permissions are enough.
func (t *token) may(n need) bool {
	switch t.kind {
	case almighty:
		return true
	case ClassicToken:
		return slices.ContainsFunc(n.classic, t.hasScope)
	case FineGrainedToken:
		return !n.enterprise && covers(t.permissions, n.fine)
	default:
		// A token keeps to what it was made with, also when its App may do more since, and loses what its App has lost.
		return covers(t.permissions, n.fine) && covers(t.installation.app.permissions, n.fine)
	}
}

var levels = []string{"", "read", "write", "admin"}

// covers says whether permissions hold all of one alternative.
func covers(has map[string]string, wanted string) bool {
	for alternative := range strings.SplitSeq(wanted, "; ") {
		missing := false
		for one := range strings.SplitSeq(alternative, ",") {
			name, level, _ := strings.Cut(one, "=")
			// What is granted at all may be read about.
			if name != "metadata" && slices.Index(levels, has[name]) < slices.Index(levels, level) {
				missing = true
			}
		}
		if !missing {
			return true
		}
	}
	return false
}

// refusal of a call whose object the token may know of.
func (t *token) refusal(n need) reply {
	switch {
	case t.kind == appToken:
		return refuse(http.StatusForbidden, "Resource not accessible by integration")
	case t.kind != ClassicToken:
		return refuse(http.StatusForbidden, "Resource not accessible by personal access token")
	case n.admin:
		return refuse(http.StatusForbidden, "Must have admin rights to Repository.")
	default:
		return notFound()
	}
}

// tell what the call takes and what the token has, as every answer does.
func (t *token) tell(n need, header http.Header) {
	switch {
	case t.kind == ClassicToken:
		header.Set("X-OAuth-Scopes", strings.Join(slices.Sorted(maps.Keys(t.permissions)), ", "))
		header.Set("X-Accepted-OAuth-Scopes", strings.Join(n.classic, ", "))
	case t.kind == almighty || n.fine == "" || n.enterprise && t.kind == FineGrainedToken:
	default:
		header.Set("X-Accepted-GitHub-Permissions", n.fine)
	}
}
