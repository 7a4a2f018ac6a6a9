package github

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// firstRunnerVersion is what the simulator offers until another is released.
const firstRunnerVersion = "2.330.0"

// ReleaseRunner offers another version of the runner as the latest.
func (s *Server) ReleaseRunner(version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runnerVersion = version
}

var validRunnerName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// runner is a registration.
type runner struct {
	id     int64
	name   string
	scope  string // "owner/repo", "owner" or "enterprise:slug", in lower case
	group  int64
	labels []string
	busy   bool

	credential string
	used       bool
	expires    time.Time
	createdAt  time.Time
	session    *session
	lastSeen   time.Time
}

// Runner is what the simulator tells tests of a registration.
type Runner struct {
	ID           int64
	Name         string
	Labels       []string
	Online, Busy bool
	// Listening says that the runner program is asking for a job.
	Listening bool
	Scope     string
}

// Runners gives all registrations.
func (s *Server) Runners() []Runner {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Runner
	for _, r := range s.sortedRunners() {
		all = append(all, Runner{ID: r.id, Name: r.name, Labels: r.labels, Online: s.online(r), Busy: r.busy, Listening: r.session != nil && r.session.polling, Scope: r.scope})
	}
	return all
}

// register a runner. The lock is held.
func (s *Server) register(r *runner) {
	s.runners[r.id], s.byName[nameKey(r.scope, r.name)] = r, r
	if r.credential != "" {
		s.byKey[r.credential] = r
	}
}

// forget a registration. The lock is held.
func (s *Server) forget(r *runner) {
	delete(s.runners, r.id)
	delete(s.byName, nameKey(r.scope, r.name))
	delete(s.byKey, r.credential)
}

func nameKey(scope, name string) string { return scope + "\n" + strings.ToLower(name) }

func (s *Server) sortedRunners() []*runner {
	all := make([]*runner, 0, len(s.runners))
	for _, r := range s.runners {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *runner) int { return int(a.id - b.id) })
	return all
}

// online says whether a runner has shown life lately. The lock is held.
func (s *Server) online(r *runner) bool {
	return r.session != nil && (r.session.polling || s.clock.Since(r.lastSeen) < s.options.OfflineAfter)
}

// ForgetRunner loses a registration while its runner goes on listening, as has happened at GitHub (actions/runner#4617).
func (s *Server) ForgetRunner(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.runners[id]; ok {
		s.forget(r)
		s.note("runner forgotten", nil, r)
	}
}

func scopeOf(params map[string]string) string {
	switch {
	case params["repo"] != "":
		return strings.ToLower(params["owner"] + "/" + params["repo"])
	case params["enterprise"] != "":
		return "enterprise:" + strings.ToLower(params["enterprise"])
	default:
		return strings.ToLower(params["org"])
	}
}

// generateJIT registers an ephemeral runner. It adds no default labels.
func (s *Server) generateJIT(req *http.Request, params map[string]string) reply {
	var body struct {
		Name          *string  `json:"name"`
		RunnerGroupID *int64   `json:"runner_group_id"`
		Labels        []string `json:"labels"`
		WorkFolder    *string  `json:"work_folder"`
	}
	if refused := decode(req, &body); refused != nil {
		return *refused
	}
	switch {
	case body.Name == nil || !validRunnerName.MatchString(*body.Name):
		return refuse(http.StatusUnprocessableEntity, "Validation Failed", "name must be 1 to 64 characters of A-Z a-z 0-9 . _ -")
	case body.RunnerGroupID == nil:
		return refuse(http.StatusUnprocessableEntity, "Validation Failed", `"runner_group_id" wasn't supplied.`)
	case len(body.Labels) < 1 || len(body.Labels) > 100 || slices.ContainsFunc(body.Labels, badLabel):
		return refuse(http.StatusUnprocessableEntity, "Validation Failed", "labels must be 1 to 100 names")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	scope := scopeOf(params)
	if s.groupAt(scope, *body.RunnerGroupID) == nil {
		return notFound()
	}
	if s.byName[nameKey(scope, *body.Name)] != nil {
		return refuse(http.StatusConflict, "Already exists - A runner with the name "+*body.Name+" already exists.")
	}
	r := &runner{
		id: s.newID(), name: *body.Name, scope: scope, group: *body.RunnerGroupID, labels: body.Labels,
		createdAt: s.clock.Now(), expires: s.clock.Now().Add(s.options.JITTTL),
	}
	r.credential = fmt.Sprintf("cred-%d-%08x", r.id, s.random.Uint32())
	s.register(r)
	s.note("runner registered", nil, r)
	return reply{status: http.StatusCreated, body: map[string]any{"runner": s.runnerJSON(r), "encoded_jit_config": s.encode(r)}}
}

func badLabel(label string) bool {
	return strings.TrimSpace(label) == "" || strings.Contains(label, ",") || len(label) > 256
}

// encode the JIT config: the files of a configured runner, each encoded by itself, as GitHub does.
func (s *Server) encode(r *runner) string {
	file := func(content map[string]any) string {
		text, _ := json.Marshal(content)
		return base64.StdEncoding.EncodeToString(text)
	}
	files, _ := json.Marshal(map[string]string{
		".runner":      file(map[string]any{"AgentId": r.id, "AgentName": r.name, "Ephemeral": "true", "ServerUrl": s.url, "WorkFolder": "_work"}),
		".credentials": file(map[string]any{"Scheme": "OAuth", "Data": map[string]string{"ClientId": r.credential}}),
	})
	return base64.StdEncoding.EncodeToString(files)
}

func (s *Server) runnerJSON(r *runner) map[string]any {
	labels := []any{}
	for i, label := range r.labels {
		labels = append(labels, map[string]any{"id": i + 1, "name": label, "type": "custom"})
	}
	state := "offline"
	if s.online(r) {
		state = "online"
	}
	return map[string]any{
		"id": r.id, "runner_group_id": r.group, "name": r.name, "os": "linux", "status": state, "busy": r.busy,
		"labels": labels, "ephemeral": true, "version": s.runnerVersion,
	}
}

func (s *Server) listRunners(req *http.Request, params map[string]string) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	scope, name := scopeOf(params), req.URL.Query().Get("name")
	var all []any
	for _, r := range s.sortedRunners() {
		if r.scope == scope && (name == "" || r.name == name) {
			all = append(all, r)
		}
	}
	part, header := s.page(req, all)
	for i, r := range part {
		part[i] = s.runnerJSON(r.(*runner))
	}
	return reply{status: http.StatusOK, body: map[string]any{"total_count": len(all), "runners": part}, header: header}
}

func (s *Server) getRunner(_ *http.Request, params map[string]string) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.runnerOf(params); r != nil {
		return ok(s.runnerJSON(r))
	}
	return notFound()
}

// deleteRunner refuses while the runner has a job.
func (s *Server) deleteRunner(_ *http.Request, params map[string]string) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.runnerOf(params)
	if r == nil {
		return notFound()
	}
	if r.busy {
		return refuse(http.StatusUnprocessableEntity, fmt.Sprintf("Bad request - Runner \"%s\" is still running a job", r.name))
	}
	s.unregister(r, "runner removed")
	return reply{status: http.StatusNoContent}
}

// unregister a runner and end its session. The lock is held.
func (s *Server) unregister(r *runner, kind string) {
	s.forget(r)
	if r.session != nil {
		r.session.end()
	}
	s.note(kind, nil, r)
}

func (s *Server) runnerOf(params map[string]string) *runner {
	id, _ := strconv.ParseInt(params["runner"], 10, 64)
	if r, known := s.runners[id]; known && r.scope == scopeOf(params) {
		return r
	}
	return nil
}

// latestRunner is the version that is offered.
func (s *Server) latestRunner() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runnerVersion
}

// runnerArchive is what the download URL gives.
func runnerArchive(version string) []byte {
	return []byte("the archive of the runner, version " + version)
}

func (s *Server) listDownloads(*http.Request, map[string]string) reply {
	version := s.latestRunner()
	sum := sha256.Sum256(runnerArchive(version))
	name := "actions-runner-linux-x64-" + version + ".tar.gz"
	return ok([]any{map[string]any{
		"os": "linux", "architecture": "x64", "download_url": s.url + "/downloads/" + name, "filename": name,
		"sha256_checksum": hex.EncodeToString(sum[:]),
	}})
}
