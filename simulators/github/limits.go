package github

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// The secondary limits. Source: docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api.
const (
	pointsPerMinute = 900
	maxConcurrent   = 100

	secondaryMessage = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
)

// usage of a token's budget, or of an installation's: its tokens share one.
type usage struct {
	window time.Time
	used   int

	minute time.Time
	points int

	concurrent, mostConcurrent int
	// spent in the last minute, and in the worst.
	spent             []spending
	inMinute, inWorst int
}

type spending struct {
	at     time.Time
	points int
}

// usageOf a token. The lock is held.
func (s *Server) usageOf(t *token) *usage {
	key := t.value
	if t.installation != nil {
		key = fmt.Sprintf("installation:%d", t.installation.id)
	}
	if s.usage[key] == nil {
		s.usage[key] = &usage{}
	}
	return s.usage[key]
}

func pointsOf(req *http.Request) int {
	if req.Method == http.MethodGet || req.Method == http.MethodHead {
		return 1
	}
	return 5
}

// enter notes a request that comes in, whatever becomes of it; what it gives back notes that it has left.
func (s *Server) enter(req *http.Request) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, known := s.tokens[credential(req)]
	if !known {
		return func() {}
	}
	u := s.usageOf(t)
	u.concurrent++
	u.mostConcurrent = max(u.mostConcurrent, u.concurrent)
	u.spend(s.clock.Now(), pointsOf(req))
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		u.concurrent--
	}
}

// spend points, and keep the sum of the last minute.
func (u *usage) spend(now time.Time, points int) {
	for len(u.spent) > 0 && now.Sub(u.spent[0].at) >= time.Minute {
		u.inMinute -= u.spent[0].points
		u.spent = u.spent[1:]
	}
	u.spent = append(u.spent, spending{now, points})
	u.inMinute += points
	u.inWorst = max(u.inWorst, u.inMinute)
}

// MaxPointsInAMinute gives the most points that were spent within any 60 seconds, by token; those of an App's installation
// are together, as "installation:ID". They are counted whether limits are on or not.
func (s *Server) MaxPointsInAMinute() map[string]int {
	return s.usages(func(u *usage) int { return u.inWorst })
}

// MaxConcurrent gives the most requests that were under way at the same time, by token as MaxPointsInAMinute.
func (s *Server) MaxConcurrent() map[string]int {
	return s.usages(func(u *usage) int { return u.mostConcurrent })
}

func (s *Server) usages(of func(*usage) int) map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]int, len(s.usage))
	for key, u := range s.usage {
		all[key] = of(u)
	}
	return all
}

// limit refuses a request over the primary or a secondary rate limit.
func (s *Server) limit(req *http.Request, t *token, n need) *reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, now := s.usageOf(t), s.clock.Now()
	u.renew(now)
	if s.options.RateLimit >= 0 && u.used >= s.options.RateLimit && !n.free {
		limited := refuse(http.StatusForbidden, "API rate limit exceeded for user ID 1.")
		return &limited
	}
	if !s.options.SecondaryLimits {
		return nil
	}
	if u.concurrent > maxConcurrent {
		limited := refuse(http.StatusForbidden, secondaryMessage)
		limited.header = http.Header{"Retry-After": {"60"}}
		return &limited
	}
	if now.Sub(u.minute) >= time.Minute {
		u.minute, u.points = now, 0
	}
	u.points += pointsOf(req)
	if u.points <= pointsPerMinute {
		return nil
	}
	wait := u.minute.Add(time.Minute).Sub(now)
	limited := refuse(http.StatusTooManyRequests, secondaryMessage)
	limited.header = http.Header{"Retry-After": {strconv.Itoa(int(wait/time.Second) + 1)}}
	return &limited
}

// renew the budget when its hour is over.
func (u *usage) renew(now time.Time) {
	if now.Sub(u.window) >= time.Hour {
		u.window, u.used = now, 0
	}
}

// account a request to its budget; what had not changed is free.
func (u *usage) account(now time.Time, status int) {
	u.renew(now)
	if status != http.StatusNotModified {
		u.used++
	}
}

// limitHeaders tell what is left. The lock is held.
func (s *Server) limitHeaders(u *usage, header http.Header) {
	if s.options.RateLimit < 0 {
		return
	}
	for name, value := range map[string]int{
		"X-Ratelimit-Limit": s.options.RateLimit, "X-Ratelimit-Remaining": max(0, s.options.RateLimit-u.used),
		"X-Ratelimit-Used": u.used, "X-Ratelimit-Reset": int(u.window.Add(time.Hour).Unix()),
	} {
		header.Set(name, strconv.Itoa(value))
	}
	header.Set("X-Ratelimit-Resource", "core")
}

func (s *Server) getRateLimit(req *http.Request, _ map[string]string) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.options.RateLimit < 0 {
		return refuse(http.StatusNotFound, "Rate limiting is not enabled.")
	}
	u := s.usageOf(s.tokenOf(req))
	rate := map[string]any{
		"limit": s.options.RateLimit, "used": u.used, "remaining": max(0, s.options.RateLimit-u.used), "reset": u.window.Add(time.Hour).Unix(),
	}
	return ok(map[string]any{"resources": map[string]any{"core": rate, "search": rate}, "rate": rate})
}
