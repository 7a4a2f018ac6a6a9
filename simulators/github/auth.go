package github

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

type token struct {
	grants  []string
	expires time.Time // zero: never

	window time.Time
	used   int
	minute time.Time
	points int
}

// AddToken that may administer the runners of what is granted: owners (organizations or enterprises) or repositories.
func (s *Server) AddToken(value string, grants ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[value] = &token{grants: grants}
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

// authorize a request, or say how it is denied.
func (s *Server) authorize(req *http.Request, params map[string]string, admin bool) *reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, known := s.tokens[credential(req)]
	if !known || !t.expires.IsZero() && s.clock.Now().After(t.expires) {
		denied := refuse(http.StatusUnauthorized, "Bad credentials")
		return &denied
	}
	owner, public := params["org"]+params["enterprise"]+params["owner"], true
	if owner == "" {
		return nil
	}
	full := owner
	if name := params["repo"]; name != "" {
		full += "/" + name
		repo, exists := s.repos[strings.ToLower(full)]
		if !exists {
			denied := notFound()
			return &denied
		}
		public = !repo.private
	}
	for _, grant := range t.grants {
		if strings.EqualFold(grant, owner) || strings.EqualFold(grant, full) {
			return nil
		}
	}
	switch {
	case !public:
		denied := notFound()
		return &denied
	case admin:
		denied := refuse(http.StatusForbidden, "Resource not accessible by personal access token")
		return &denied
	default:
		return nil
	}
}

// pointsPerMinute is the secondary limit. Source: docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api.
const pointsPerMinute = 900

// limit refuses a request over the primary or the secondary rate limit.
func (s *Server) limit(req *http.Request) *reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, now := s.tokens[credential(req)], s.clock.Now()
	if now.Sub(t.window) >= time.Hour {
		t.window, t.used = now, 0
	}
	if t.used >= s.options.RateLimit {
		limited := refuse(http.StatusForbidden, "API rate limit exceeded for user ID 1.")
		return &limited
	}
	if !s.options.SecondaryLimits {
		return nil
	}
	if now.Sub(t.minute) >= time.Minute {
		t.minute, t.points = now, 0
	}
	t.points += 5
	if req.Method == http.MethodGet {
		t.points -= 4
	}
	if t.points <= pointsPerMinute {
		return nil
	}
	wait := t.minute.Add(time.Minute).Sub(now)
	limited := refuse(http.StatusTooManyRequests, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.")
	limited.header = http.Header{"Retry-After": {strconv.Itoa(int(wait/time.Second) + 1)}}
	return &limited
}

// account a request to its token's budget; what had not changed is free.
func (s *Server) account(req *http.Request, answer reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, known := s.tokens[credential(req)]; known && answer.status != http.StatusNotModified && answer.status != http.StatusUnauthorized {
		t.used++
	}
}

// limitHeaders tell what is left. The lock is held.
func (s *Server) limitHeaders(req *http.Request, answer *reply) {
	t, known := s.tokens[credential(req)]
	if !known {
		return
	}
	if answer.header == nil {
		answer.header = http.Header{}
	}
	for name, value := range map[string]int{
		"X-Ratelimit-Limit": s.options.RateLimit, "X-Ratelimit-Remaining": max(0, s.options.RateLimit-t.used),
		"X-Ratelimit-Used": t.used, "X-Ratelimit-Reset": int(t.window.Add(time.Hour).Unix()),
	} {
		answer.header.Set(name, strconv.Itoa(value))
	}
	answer.header.Set("X-Ratelimit-Resource", "core")
}

func (s *Server) getRateLimit(req *http.Request, _ map[string]string) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[credential(req)]
	rate := map[string]any{
		"limit": s.options.RateLimit, "used": t.used, "remaining": max(0, s.options.RateLimit-t.used), "reset": t.window.Add(time.Hour).Unix(),
	}
	return ok(map[string]any{"resources": map[string]any{"core": rate, "search": rate}, "rate": rate})
}
