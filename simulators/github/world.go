package github

import (
	"strings"
	"time"
)

// account is an organization or an enterprise.
type account struct {
	id     int64
	login  string
	groups []*group
}

type repository struct {
	id        int64
	fullName  string
	private   bool
	owner     *account
	createdAt time.Time
}

func (r *repository) name() string { _, name, _ := strings.Cut(r.fullName, "/"); return name }

// AddRepository and, with it, the organization that owns it.
func (s *Server) AddRepository(fullName string, private bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	owner, _, _ := strings.Cut(fullName, "/")
	s.repos[strings.ToLower(fullName)] = &repository{
		id: s.newID(), fullName: fullName, private: private, owner: s.addAccount(s.orgs, owner), createdAt: s.clock.Now(),
	}
}

// AddOrganization that has no repository yet.
func (s *Server) AddOrganization(login string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addAccount(s.orgs, login)
}

// AddEnterprise, to which all organizations belong.
func (s *Server) AddEnterprise(slug string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addAccount(s.enterprises, slug)
}

func (s *Server) addAccount(to map[string]*account, login string) *account {
	key := strings.ToLower(login)
	if to[key] == nil {
		to[key] = &account{id: s.newID(), login: login, groups: []*group{{id: defaultGroup, name: "Default", visibility: visibleToAll}}}
	}
	return to[key]
}

func (s *Server) repoOf(params map[string]string) *repository {
	return s.repos[strings.ToLower(params["owner"]+"/"+params["repo"])]
}
