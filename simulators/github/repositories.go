package github

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Repository is what tests may change of one.
type Repository struct {
	Private, Archived, Fork bool
	ForksCount              int
	PushedAt                time.Time
	// PushedAtStays says that new runs leave PushedAt as it is, as those do that a schedule or a user starts.
	PushedAtStays bool
}

type repository struct {
	Repository
	id        int64
	fullName  string
	createdAt time.Time
	updatedAt time.Time
}

func (r *repository) owner() string { owner, _, _ := strings.Cut(r.fullName, "/"); return owner }
func (r *repository) name() string  { _, name, _ := strings.Cut(r.fullName, "/"); return name }

func (r *repository) pushed(now time.Time) {
	if !r.PushedAtStays {
		r.PushedAt = now
	}
}

func (r *repository) visibility() string {
	if r.Private {
		return "private"
	}
	return "public"
}

// AddRepository and, with it, its owner.
func (s *Server) AddRepository(fullName string, private bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	s.repos[strings.ToLower(fullName)] = &repository{
		id: s.newID(), fullName: fullName, Repository: Repository{Private: private, PushedAt: now}, createdAt: now, updatedAt: now,
	}
}

// ChangeRepository that was added. Jobs that wait for a runner are looked at anew.
func (s *Server) ChangeRepository(fullName string, change func(*Repository)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, known := s.repos[strings.ToLower(fullName)]
	if !known {
		panic("no repository " + fullName)
	}
	change(&r.Repository)
	r.updatedAt = s.clock.Now()
	s.dispatch()
}

// listOrgRepositories gives those that the caller may see.
func (s *Server) listOrgRepositories(req *http.Request, params map[string]string) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	query := req.URL.Query()
	sort, kind, direction := query.Get("sort"), query.Get("type"), query.Get("direction")
	t := s.tokenOf(req)
	var found []*repository
	known := false
	for _, r := range s.repos {
		if !strings.EqualFold(r.owner(), params["org"]) {
			continue
		}
		known = true
		if (!r.Private || t.sees(r)) && r.is(kind) {
			found = append(found, r)
		}
	}
	if !known && !s.isOwner(params["org"]) {
		return notFound()
	}
	compare, fits := repositoryOrders[sort]
	if !fits || !slices.Contains([]string{"", "asc", "desc"}, direction) {
		return refuse(http.StatusUnprocessableEntity, "Validation Failed", "sort or direction")
	}
	slices.SortFunc(found, func(a, b *repository) int {
		// GitHub's default is to ascend by name, and else to descend.
		if direction == "desc" || direction == "" && sort != "full_name" {
			a, b = b, a
		}
		if c := compare(a, b); c != 0 {
			return c
		}
		return int(a.id - b.id)
	})
	var all []any
	for _, r := range found {
		all = append(all, s.fullRepoJSON(r))
	}
	return s.pagedBare(req, all)
}

var repositoryOrders = map[string]func(a, b *repository) int{
	"":        func(a, b *repository) int { return a.createdAt.Compare(b.createdAt) },
	"created": func(a, b *repository) int { return a.createdAt.Compare(b.createdAt) },
	"updated": func(a, b *repository) int { return a.updatedAt.Compare(b.updatedAt) },
	"pushed":  func(a, b *repository) int { return a.PushedAt.Compare(b.PushedAt) },
	"full_name": func(a, b *repository) int {
		return strings.Compare(strings.ToLower(a.fullName), strings.ToLower(b.fullName))
	},
}

// is says whether the repository is of a type that one can ask for.
func (r *repository) is(kind string) bool {
	switch kind {
	case "", "all", "member":
		return true
	case "public":
		return !r.Private
	case "private":
		return r.Private
	case "forks":
		return r.Fork
	case "sources":
		return !r.Fork
	default:
		return false
	}
}

func (s *Server) listInstallationRepositories(req *http.Request, _ map[string]string) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokenOf(req)
	var found []*repository
	for _, r := range s.repos {
		if t.sees(r) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b *repository) int { return int(a.id - b.id) })
	var all []any
	for _, r := range found {
		all = append(all, s.fullRepoJSON(r))
	}
	answer := s.paged(req, "repositories", all)
	answer.body.(map[string]any)["repository_selection"] = t.selection()
	return answer
}

// fullRepoJSON is a repository in the long form of lists and webhooks.
func (s *Server) fullRepoJSON(r *repository) map[string]any {
	out := s.repoJSON(r)
	page := s.url + "/" + r.fullName
	for name, value := range map[string]any{
		"git_url": page + ".git", "ssh_url": fmt.Sprintf("git@localhost:%s.git", r.fullName), "clone_url": page + ".git", "svn_url": page,
		"mirror_url": nil, "homepage": nil, "language": nil, "license": nil, "forks_count": r.ForksCount, "forks": r.ForksCount,
		"stargazers_count": 0, "watchers_count": 0, "watchers": 0, "size": 1, "default_branch": "main", "open_issues_count": 0,
		"open_issues": 0, "is_template": false, "topics": []string{}, "has_issues": true, "has_projects": true, "has_wiki": true,
		"has_pages": false, "has_downloads": true, "has_discussions": false, "archived": r.Archived, "disabled": false,
		"visibility": r.visibility(), "allow_forking": true, "web_commit_signoff_required": false,
		"pushed_at": stampOrNull(r.PushedAt), "created_at": stamp(r.createdAt), "updated_at": stamp(r.updatedAt),
	} {
		out[name] = value
	}
	return out
}
