package github

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// installation of an App on an owner.
type installation struct {
	id        int64
	app       *app
	owner     string // an organization, "enterprise:slug" or a slug
	createdAt time.Time
	suspended time.Time
	removed   bool
}

// install the App on an owner, or anew. The lock is held.
func (a *app) install(id int64, owner string, now time.Time) {
	a.installations = slices.DeleteFunc(a.installations, func(i *installation) bool {
		if strings.EqualFold(i.owner, owner) {
			i.removed = true
			return true
		}
		return false
	})
	a.installations = append(a.installations, &installation{id: id, app: a, owner: owner, createdAt: now})
}

// covers says whether the installation is on the owner of a repository.
func (i *installation) covers(r *repository) bool {
	return !i.removed && strings.EqualFold(i.owner, r.owner())
}

// SuspendInstallation as an owner does: no tokens are given, and those that were given are refused.
func (s *Server) SuspendInstallation(id int64) {
	s.eachInstallation(id, func(i *installation) { i.suspended = s.clock.Now() })
}

// UnsuspendInstallation ends SuspendInstallation.
func (s *Server) UnsuspendInstallation(id int64) {
	s.eachInstallation(id, func(i *installation) { i.suspended = time.Time{} })
}

func (s *Server) eachInstallation(id int64, do func(*installation)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.apps {
		for _, i := range a.installations {
			if i.id == id {
				do(i)
			}
		}
	}
}

// UninstallApp from all its owners. Tokens that were given are invalid from then on.
func (s *Server) UninstallApp(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.apps[id].installations {
		i.removed = true
	}
}

// ReinstallApp on the first owner that it was uninstalled from, as a new installation.
func (s *Server) ReinstallApp(appID, installationID int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.apps[appID]
	for _, i := range a.installations {
		if i.removed {
			a.install(installationID, i.owner, s.clock.Now())
			return
		}
	}
}

func (s *Server) getInstallation(req *http.Request, params map[string]string) reply {
	a, refused := s.appOf(req)
	if refused != nil {
		return *refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if params["repo"] != "" && s.repoOf(params) == nil {
		return notFound()
	}
	owner := params["org"] + params["owner"] + params["enterprise"]
	for _, i := range a.installations {
		on := strings.EqualFold(i.owner, owner) || params["enterprise"] != "" && strings.EqualFold(i.owner, "enterprise:"+owner)
		if on && !i.removed {
			return ok(s.installationJSON(i, params["enterprise"]))
		}
	}
	return notFound()
}

func (s *Server) installationJSON(i *installation, slug string) map[string]any {
	base := fmt.Sprintf("%s/api/v3/app/installations/%d", s.url, i.id)
	out := map[string]any{
		"id": i.id, "app_id": i.app.id, "app_slug": fmt.Sprintf("app-%d", i.app.id), "account": s.accountJSON(i.owner),
		"repository_selection": "all", "access_tokens_url": base + "/access_tokens", "repositories_url": s.url + "/api/v3/installation/repositories",
		"html_url": fmt.Sprintf("%s/settings/installations/%d", s.url, i.id), "target_id": 1, "target_type": "Organization",
		"permissions": i.app.permissions, "events": []string{"workflow_job"}, "created_at": stamp(i.createdAt), "updated_at": stamp(i.createdAt),
		"single_file_name": nil, "has_multiple_single_files": false, "single_file_paths": []string{}, "suspended_at": stampOrNull(i.suspended),
		"suspended_by": nil,
	}
	if slug != "" {
		e := s.members[strings.ToLower(slug)]
		if e == nil {
			e = &enterprise{id: 1, slug: slug, createdAt: i.createdAt}
		}
		out["account"], out["target_type"] = s.enterpriseJSON(e), "Enterprise"
	}
	return out
}

// installationTokenLife is GitHub's. Source: docs.github.com/rest/apps/apps#create-an-installation-access-token-for-an-app.
const installationTokenLife = time.Hour

func (s *Server) createInstallationToken(req *http.Request, params map[string]string) reply {
	a, refused := s.appOf(req)
	if refused != nil {
		return *refused
	}
	var body struct {
		Repositories  []string          `json:"repositories"`
		RepositoryIDs []int64           `json:"repository_ids"`
		Permissions   map[string]string `json:"permissions"`
	}
	if refused := decode(req, &body); refused != nil {
		return *refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(a.installations, func(i *installation) bool { return fmt.Sprint(i.id) == params["installation"] && !i.removed })
	if at < 0 {
		return notFound()
	}
	i := a.installations[at]
	if !i.suspended.IsZero() {
		return refuse(http.StatusForbidden, "This installation has been suspended")
	}
	t := &token{
		value: fmt.Sprintf("ghs_installation%d", s.newID()), kind: appToken, grants: []string{i.owner}, permissions: maps.Clone(a.permissions),
		expires: s.clock.Now().Add(installationTokenLife), installation: i,
	}
	if len(body.Repositories)+len(body.RepositoryIDs) > 0 {
		t.grants = s.granted(i, body.Repositories, body.RepositoryIDs)
		if len(t.grants) != len(body.Repositories)+len(body.RepositoryIDs) {
			return refuse(http.StatusUnprocessableEntity, "There is at least one repository that does not exist or is not accessible to the parent installation.")
		}
	}
	if body.Permissions != nil {
		t.permissions = body.Permissions
	}
	for name, level := range t.permissions {
		if !covers(a.permissions, name+"="+level) {
			return refuse(http.StatusUnprocessableEntity, "The permissions requested are not granted to this installation.")
		}
	}
	s.tokens[t.value] = t
	return reply{status: http.StatusCreated, body: map[string]any{
		"token": t.value, "expires_at": stamp(t.expires), "permissions": t.permissions, "repository_selection": t.selection(),
	}}
}

// granted gives the full names of an installation's repositories that a token is asked for. The lock is held.
func (s *Server) granted(i *installation, names []string, ids []int64) []string {
	var all []string
	for _, r := range s.repos {
		named := slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, r.name()) })
		if i.covers(r) && (named || slices.Contains(ids, r.id)) {
			all = append(all, r.fullName)
		}
	}
	return all
}

// selection says whether the token is for all repositories of its installation.
func (t *token) selection() string {
	if len(t.grants) == 1 && t.installation != nil && t.grants[0] == t.installation.owner {
		return "all"
	}
	return "selected"
}
