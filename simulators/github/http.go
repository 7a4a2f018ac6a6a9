package github

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

const jsonType = "application/json; charset=utf-8"

// reply is an answer to be written.
type reply struct {
	status int
	body   any
	header http.Header
	// raw is a body that is written as it is.
	raw []byte
	// limited says that it was refused for a rate limit.
	limited bool
}

func ok(body any) reply { return reply{status: http.StatusOK, body: body} }

// refuse as GitHub does.
func refuse(status int, message string, details ...string) reply {
	body := map[string]any{"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status)}
	if len(details) > 0 {
		body["errors"] = details
	}
	return reply{status: status, body: body}
}

func notFound() reply { return refuse(http.StatusNotFound, "Not Found") }

func invalid(details ...string) reply {
	return refuse(http.StatusUnprocessableEntity, "Validation Failed", details...)
}

// with adds a header.
func (r reply) with(name, value string) reply {
	if r.header == nil {
		r.header = http.Header{}
	}
	r.header.Set(name, value)
	return r
}

func (s *Server) serve(w http.ResponseWriter, req *http.Request) {
	switch {
	case strings.HasPrefix(req.URL.Path, runnerService):
		s.serveRunner(w, req)
	case strings.HasPrefix(req.URL.Path, "/downloads/"):
		s.serveDownload(w, req)
	case strings.HasPrefix(req.URL.Path, "/api/v3/"):
		s.serveREST(w, req)
	default:
		http.NotFound(w, req)
	}
}

// serveREST answers one call of the API, with whatever goes wrong around it.
func (s *Server) serveREST(w http.ResponseWriter, req *http.Request) {
	path := strings.TrimPrefix(req.URL.Path, "/api/v3")
	call := &call{Request: req, path: path, credential: credential(req)}
	call.find()
	s.enter(call)
	defer s.leave(call)
	fault := s.faults.of(req.Method, path, false)
	var answer *reply
	if fault != nil {
		instead, work := fault.before(s.clock, req)
		if !work {
			return
		}
		answer = instead
	}
	if answer == nil {
		done := s.answer(call)
		answer = &done
	}
	if fault != nil && fault.DropAnswer {
		panic(http.ErrAbortHandler)
	}
	if fault != nil && fault.Status != 0 {
		answer = fault.answer()
	}
	write(w, s.finish(call, *answer))
}

// call of the API.
type call struct {
	*http.Request
	path       string
	credential string
	route      *route // nil: unknown
	params     map[string]string
	token      *token // nil: unknown
	granted    bool   // the token was granted what the call is about
}

func (c *call) find() {
	for i := range routes {
		if params, fits := routes[i].match(c.path); fits && routes[i].method == c.Method {
			c.route, c.params = &routes[i], params
			return
		}
	}
}

func (c *call) pattern() string {
	if c.route == nil {
		return "unknown"
	}
	return c.route.pattern
}

// answer a call, by its route.
func (s *Server) answer(c *call) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.route != nil && c.route.app {
		return c.route.handle(s, c)
	}
	if denied := s.authenticate(c); denied != nil {
		return *denied
	}
	if limited := s.limit(c); limited != nil {
		return *limited
	}
	if c.route == nil {
		return notFound()
	}
	if denied := s.authorize(c); denied != nil {
		return *denied
	}
	return c.route.handle(s, c)
}

// finish an answer: what the caller has already becomes a 304, and what it costs is accounted and told.
func (s *Server) finish(c *call, answer reply) reply {
	answer = conditional(c, answer)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account(c, answer)
	s.limitHeaders(c, &answer)
	s.count(c.Method, c.pattern(), answer.status)
	return answer.with("X-Github-Request-Id", fmt.Sprintf("%04X:%X", s.stats.Total, s.options.Seed)).
		with("X-Github-Enterprise-Version", enterpriseVersion)
}

// conditional turns an answer that the caller has already into a 304. The tag depends on who asks, as GitHub's does.
func conditional(c *call, answer reply) reply {
	if c.Method != http.MethodGet || answer.status != http.StatusOK || answer.raw != nil {
		return answer
	}
	text, err := json.Marshal(answer.body)
	if err != nil {
		panic(err)
	}
	sum := sha256.New()
	_, _ = sum.Write(text)
	_, _ = sum.Write([]byte("\x00" + c.credential))
	// The links to other pages are part of what a caller relies on.
	_, _ = sum.Write([]byte("\x00" + answer.header.Get("Link")))
	tag := `"` + hex.EncodeToString(sum.Sum(nil)) + `"`
	answer.raw = text
	answer = answer.with("Content-Type", jsonType).with("Etag", "W/"+tag).
		with("Cache-Control", "private, max-age=60, s-maxage=60").with("Vary", "Accept, Authorization, Cookie, X-GitHub-OTP")
	for _, have := range strings.Split(c.Header.Get("If-None-Match"), ",") {
		if strings.TrimPrefix(strings.TrimSpace(have), "W/") == tag {
			answer.header.Del("Content-Type")
			return reply{status: http.StatusNotModified, header: answer.header}
		}
	}
	return answer
}

func write(w http.ResponseWriter, answer reply) {
	for name, values := range answer.header {
		w.Header()[name] = values
	}
	switch {
	case answer.raw != nil:
		w.WriteHeader(answer.status)
		_, _ = w.Write(answer.raw)
	case answer.body == nil:
		w.WriteHeader(answer.status)
	default:
		w.Header().Set("Content-Type", jsonType)
		w.WriteHeader(answer.status)
		_ = json.NewEncoder(w).Encode(answer.body)
	}
}
