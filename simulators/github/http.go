package github

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// reply is an answer to be written.
type reply struct {
	status int
	body   any
	header http.Header
	// text is the body as JSON, where that is known already.
	text []byte
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

// decode a body strictly. An empty one leaves the target as it is.
func decode(req *http.Request, target any) *reply {
	decoder := json.NewDecoder(req.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(target); err != nil && !errors.Is(err, io.EOF) {
		refused := refuse(http.StatusUnprocessableEntity, "Invalid request.\n\n"+err.Error())
		return &refused
	}
	return nil
}

// ServeHTTP answers every request.
func (s *Server) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch {
	case strings.HasPrefix(req.URL.Path, "/_runner/"):
		s.serveRunner(w, req)
	case strings.HasPrefix(req.URL.Path, "/downloads/"):
		write(w, reply{status: http.StatusOK, raw: runnerArchive(s.latestRunner())})
	case strings.HasPrefix(req.URL.Path, "/api/v3/"):
		s.serveREST(w, req)
	default:
		http.NotFound(w, req)
	}
}

// serveREST answers one call of the API, with whatever goes wrong around it.
func (s *Server) serveREST(w http.ResponseWriter, req *http.Request) {
	path := strings.TrimPrefix(req.URL.Path, "/api/v3")
	defer s.enter(req)()
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
	s.finish(req, route, &answer)
	write(w, answer)
}

// finish an answer: count it, and add what every answer tells of the credentials.
func (s *Server) finish(req *http.Request, r route, answer *reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[fmt.Sprintf("%s %s %d", req.Method, r.pattern, answer.status)]++
	if answer.header == nil {
		answer.header = http.Header{}
	}
	t, known := s.tokens[credential(req)]
	if !known || answer.status == http.StatusUnauthorized {
		return
	}
	t.tell(r.need, answer.header)
	u := s.usageOf(t)
	if !r.need.free {
		u.account(s.clock.Now(), answer.status)
	}
	s.limitHeaders(u, answer.header)
}

// answer by the first route that fits.
func (s *Server) answer(req *http.Request, path string) (route, reply) {
	for _, r := range routes {
		if r.method != req.Method {
			continue
		}
		params, fits := r.match(path)
		if !fits {
			continue
		}
		if r.need.app {
			return r, r.handle(s, req, params)
		}
		t, denied := s.identify(req)
		if denied == nil {
			denied = s.limit(req, t, r.need)
		}
		if denied == nil {
			denied = s.authorize(t, params, r.need)
		}
		if denied != nil {
			return r, *denied
		}
		return r, r.handle(s, req, params)
	}
	return route{pattern: "unknown"}, notFound()
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
	answer.text = text
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
		if answer.text != nil {
			_, _ = w.Write(answer.text)
			return
		}
		_ = json.NewEncoder(w).Encode(answer.body)
	}
}
