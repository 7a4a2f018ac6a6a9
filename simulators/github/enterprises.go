package github

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

type enterprise struct {
	id        int64
	slug      string
	owners    []string
	createdAt time.Time
}

func (e *enterprise) owns(owner string) bool {
	return slices.ContainsFunc(e.owners, func(o string) bool { return strings.EqualFold(o, owner) })
}

// AddToEnterprise has the repositories of these owners belong to an enterprise. From then on the enterprise's runners serve
// no others; an enterprise that nobody was added to serves all.
func (s *Server) AddToEnterprise(slug string, owners ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.ToLower(slug)
	if s.members[key] == nil {
		s.members[key] = &enterprise{id: s.newID(), slug: slug, createdAt: s.clock.Now()}
	}
	s.members[key].owners = append(s.members[key].owners, owners...)
	s.dispatch()
}

// enterpriseServes says whether the scope is an enterprise that serves a repository. The lock is held.
func (s *Server) enterpriseServes(scope string, r *repository) bool {
	slug, isEnterprise := strings.CutPrefix(scope, "enterprise:")
	if !isEnterprise {
		return false
	}
	e, known := s.members[slug]
	return !known || e.owns(r.owner())
}

// enterpriseOf a repository, nil when it belongs to none. The lock is held.
func (s *Server) enterpriseOf(r *repository) *enterprise {
	for _, e := range s.members {
		if e.owns(r.owner()) {
			return e
		}
	}
	return nil
}

// isOwner says whether anything of an owner is known that is not a repository. The lock is held.
func (s *Server) isOwner(name string) bool {
	for _, a := range s.apps {
		for _, i := range a.installations {
			if strings.EqualFold(i.owner, name) {
				return true
			}
		}
	}
	for _, t := range s.tokens {
		if t.grantsTo(name, name) {
			return true
		}
	}
	return false
}

func (s *Server) enterpriseJSON(e *enterprise) map[string]any {
	return map[string]any{
		"id": e.id, "slug": e.slug, "name": e.slug, "node_id": fmt.Sprintf("E_%d", e.id), "avatar_url": s.url + "/avatar",
		"html_url": s.url + "/enterprises/" + e.slug, "description": nil, "website_url": nil, "created_at": stamp(e.createdAt),
		"updated_at": stamp(e.createdAt),
	}
}
