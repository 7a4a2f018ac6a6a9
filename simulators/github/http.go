package github

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// reply is an answer to be written.
type reply struct {
	status int
	body   any
	header http.Header
	// raw is a body that is not JSON.
	raw []byte
}

func ok(body any) reply { return reply{status: http.StatusOK, body: body} }

// refuse as GitHub does.
func refuse(status int, message string, details ...string) reply {
	body := map[string]any{"message": message, "documentation_url": "https://docs.github.com/rest", "status": fmt.Sprint(status)}
	if len(details) > 0 {
		var errors []any
		for _, d := range details {
			errors = append(errors, d)
		}
		body["errors"] = errors
	}
	return reply{status: status, body: body}
}

func notFound() reply { return refuse(http.StatusNotFound, "Not Found") }

// ServeHTTP answers every request.
func (s *Server) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch {
	case strings.HasPrefix(req.URL.Path, "/_runner/"):
		s.serveRunner(w, req)
	case strings.HasPrefix(req.URL.Path, "/downloads/"):
		write(w, reply{status: http.StatusOK, raw: runnerArchive()})
	case strings.HasPrefix(req.URL.Path, "/api/v3/"):
		s.serveREST(w, req)
	default:
		http.NotFound(w, req)
	}
}

// serveREST answers one call of the API, with whatever goes wrong around it.
func (s *Server) serveREST(w http.ResponseWriter, req *http.Request) {
	path := strings.TrimPrefix(req.URL.Path, "/api/v3")
	f := s.faultFor(req.Method, path)
	if f != nil && !f.before(w, req) {
		return
	}
	route, answer := s.answer(req, path)
	if f != nil && f.Hang {
		<-req.Context().Done()
		return
	}
	if f != nil && f.DropAnswer {
		panic(http.ErrAbortHandler)
	}
	if f != nil && f.Status != 0 {
		f.write(w)
		return
	}
	answer = conditional(req, answer)
	s.account(req, answer)
	s.mu.Lock()
	s.requests[fmt.Sprintf("%s %s %d", req.Method, route, answer.status)]++
	s.limitHeaders(req, &answer)
	s.mu.Unlock()
	write(w, answer)
}

// answer by the first route that fits.
func (s *Server) answer(req *http.Request, path string) (string, reply) {
	for _, r := range routes {
		if r.method != req.Method {
			continue
		}
		params, fits := r.match(path)
		if !fits {
			continue
		}
		if r.app {
			return r.pattern, r.handle(s, req, params)
		}
		if denied := s.authorize(req, params, r.admin); denied != nil {
			return r.pattern, *denied
		}
		if limited := s.limit(req); limited != nil {
			return r.pattern, *limited
		}
		return r.pattern, r.handle(s, req, params)
	}
	return "unknown", notFound()
}

// conditional turns an answer that the caller has already into a 304. The tag depends on who asks, as GitHub's does.
func conditional(req *http.Request, answer reply) reply {
	if req.Method != http.MethodGet || answer.status != http.StatusOK || answer.raw != nil {
		return answer
	}
	text, err := json.Marshal(answer.body)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(append(text, req.Header.Get("Authorization")...))
	tag := `W/"` + hex.EncodeToString(sum[:]) + `"`
	if answer.header == nil {
		answer.header = http.Header{}
	}
	answer.header.Set("ETag", tag)
	answer.header.Set("Cache-Control", "private, max-age=60, s-maxage=60")
	if req.Header.Get("If-None-Match") == tag {
		return reply{status: http.StatusNotModified, header: answer.header}
	}
	return answer
}

func write(w http.ResponseWriter, answer reply) {
	for name, values := range answer.header {
		w.Header()[name] = values
	}
	switch {
	case answer.raw != nil:
		w.Header().Set("Content-Type", "application/octet-stream")
		w.WriteHeader(answer.status)
		_, _ = w.Write(answer.raw)
	case answer.body == nil:
		w.WriteHeader(answer.status)
	default:
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(answer.status)
		_ = json.NewEncoder(w).Encode(answer.body)
	}
}

// route of the API. A part of its pattern in braces takes any one segment.
type route struct {
	method, pattern string
	// admin routes need a grant even on what is public.
	admin bool
	// app routes check who calls by themselves.
	app    bool
	handle func(*Server, *http.Request, map[string]string) reply
}

func (r route) match(path string) (map[string]string, bool) {
	want, have := strings.Split(r.pattern, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return nil, false
	}
	params := map[string]string{}
	for i := range want {
		if name, isParam := strings.CutPrefix(want[i], "{"); isParam {
			params[strings.TrimSuffix(name, "}")] = have[i]
		} else if want[i] != have[i] {
			return nil, false
		}
	}
	return params, true
}

var routes = func() []route {
	get, post, del := http.MethodGet, http.MethodPost, http.MethodDelete
	all := []route{
		{get, "/rate_limit", false, false, (*Server).getRateLimit},
		{get, "/repos/{owner}/{repo}/actions/runs", false, false, (*Server).listRuns},
		{get, "/repos/{owner}/{repo}/actions/runs/{run}", false, false, (*Server).getRun},
		{get, "/repos/{owner}/{repo}/actions/runs/{run}/jobs", false, false, (*Server).listJobs},
		{get, "/repos/{owner}/{repo}/actions/jobs/{job}", false, false, (*Server).getJob},
		{get, "/repos/{owner}/{repo}/installation", false, true, (*Server).getInstallation},
		{get, "/orgs/{org}/installation", false, true, (*Server).getInstallation},
		{post, "/app/installations/{installation}/access_tokens", false, true, (*Server).createInstallationToken},
	}
	for _, scope := range []string{"/repos/{owner}/{repo}", "/orgs/{org}", "/enterprises/{enterprise}"} {
		runners := scope + "/actions/runners"
		all = append(all,
			route{get, runners + "/downloads", true, false, (*Server).listDownloads},
			route{post, runners + "/generate-jitconfig", true, false, (*Server).generateJIT},
			route{get, runners, true, false, (*Server).listRunners},
			route{get, runners + "/{runner}", true, false, (*Server).getRunner},
			route{del, runners + "/{runner}", true, false, (*Server).deleteRunner},
		)
	}
	return all
}()
