package github

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// defaultGroup is the ID of the group that every scope has.
const defaultGroup = 1

// runnerGroup says which repositories its runners serve.
type runnerGroup struct {
	id    int64
	scope string // as a runner's
	name  string
	// selected repositories (owner/name) or, of an enterprise, organizations too; none is all.
	selected []string
	public   bool
}

func (g *runnerGroup) serves(r *repository) bool {
	if !r.Private && !g.public {
		return false
	}
	return len(g.selected) == 0 || slices.ContainsFunc(g.selected, func(name string) bool {
		return strings.EqualFold(name, r.fullName) || strings.EqualFold(name, r.owner())
	})
}

// AddRunnerGroup to an organization, or to an enterprise written as "enterprise:slug", and give its ID. It serves these
// repositories, or all when none is given. It does not serve public ones, as is GitHub's default.
func (s *Server) AddRunnerGroup(scope, name string, repositories ...string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := &runnerGroup{id: s.newID(), scope: strings.ToLower(scope), name: name, selected: repositories}
	s.groups = append(s.groups, g)
	return g.id
}

// RemoveRunnerGroup by its ID. Its runners fall back to the default group.
func (s *Server) RemoveRunnerGroup(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups = slices.DeleteFunc(s.groups, func(g *runnerGroup) bool { return g.id == id })
	for _, r := range s.runners {
		if r.group == id {
			r.group = defaultGroup
		}
	}
	s.dispatch()
}

// AllowPublicRepositories to be served by a scope's group, 1 being the default one, or forbid it: as at GitHub, it is
// forbidden at first.
func (s *Server) AllowPublicRepositories(scope string, group int64, allowed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	scope = strings.ToLower(scope)
	if group == defaultGroup {
		s.openGroups[scope] = allowed
	}
	for _, g := range s.groups {
		if g.id == group && g.scope == scope {
			g.public = allowed
		}
	}
	s.dispatch()
}

// groupAt gives a scope's own group, nil when it has none of that ID. The lock is held.
func (s *Server) groupAt(scope string, id int64) *runnerGroup {
	if id == defaultGroup {
		return &runnerGroup{id: defaultGroup, scope: scope, name: "Default", public: s.openGroups[scope]}
	}
	for _, g := range s.groups {
		if g.id == id && g.scope == scope {
			return g
		}
	}
	return nil
}

// groupServes says whether the group of an organization's or enterprise's runner serves a repository. The lock is held.
func (s *Server) groupServes(r *runner, repo *repository) bool {
	g := s.groupAt(r.scope, r.group)
	return g != nil && g.serves(repo)
}

func (s *Server) groupName(r *runner) string {
	if g := s.groupAt(r.scope, r.group); g != nil {
		return g.name
	}
	return "Default"
}

// listGroups of an organization, with those that it inherits, or of an enterprise.
func (s *Server) listGroups(req *http.Request, params map[string]string) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	scope := scopeOf(params)
	found := []*runnerGroup{s.groupAt(scope, defaultGroup)}
	for _, g := range s.groups {
		if g.scope == scope || params["org"] != "" && s.inherits(params["org"], g) {
			found = append(found, g)
		}
	}
	if name := req.URL.Query().Get("visible_to_repository"); name != "" && params["org"] != "" {
		repo, known := s.repos[strings.ToLower(params["org"]+"/"+name)]
		if !known {
			return notFound()
		}
		found = slices.DeleteFunc(found, func(g *runnerGroup) bool { return !g.serves(repo) })
	}
	var all []any
	for _, g := range found {
		all = append(all, s.groupJSON(g, params))
	}
	return s.paged(req, "runner_groups", all)
}

// inherits says whether an organization sees a group of its enterprise.
func (s *Server) inherits(org string, g *runnerGroup) bool {
	slug, isEnterprise := strings.CutPrefix(g.scope, "enterprise:")
	e, known := s.members[slug]
	return isEnterprise && known && e.owns(org) && (len(g.selected) == 0 || slices.ContainsFunc(g.selected, func(name string) bool {
		owner, _, _ := strings.Cut(name, "/")
		return strings.EqualFold(owner, org)
	}))
}

func (s *Server) groupJSON(g *runnerGroup, params map[string]string) map[string]any {
	base := fmt.Sprintf("%s/api/v3/orgs/%s/actions/runner-groups/%d", s.url, params["org"], g.id)
	if params["enterprise"] != "" {
		base = fmt.Sprintf("%s/api/v3/enterprises/%s/actions/runner-groups/%d", s.url, params["enterprise"], g.id)
	}
	out := map[string]any{
		"id": g.id, "name": g.name, "visibility": "all", "default": g.id == defaultGroup, "runners_url": base + "/runners",
		"allows_public_repositories": g.public, "restricted_to_workflows": false, "selected_workflows": []string{},
		"workflow_restrictions_read_only": false,
	}
	if params["org"] != "" {
		out["inherited"] = strings.HasPrefix(g.scope, "enterprise:")
	}
	if len(g.selected) > 0 {
		out["visibility"] = "selected"
		if params["org"] != "" {
			out["selected_repositories_url"] = base + "/repositories"
		} else {
			out["selected_organizations_url"] = base + "/organizations"
		}
	}
	return out
}
