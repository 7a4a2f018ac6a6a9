package github

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Hook is a webhook.
type Hook struct {
	ID int64
	// Target is a repository (owner/name), an organization, "enterprise:SLUG" or "app:ID", in lower case.
	Target, URL, Secret string
	Events              []string
	Active              bool
	// ContentType is json or form.
	ContentType string
	InsecureSSL bool
}

type hook struct {
	Hook
	queue    chan *Delivery
	gone     chan struct{}
	attempts []*Delivery // that are over, the oldest first

	createdAt, updatedAt time.Time
}

// AddWebhook for workflow_job with JSON to a repository (owner/name), an organization, an enterprise ("enterprise:SLUG"),
// which gets what happens in the repositories of its owners, or an App ("app:ID"). It gets a ping.
func (s *Server) AddWebhook(target, url, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addHook(Hook{Target: target, URL: url, Secret: secret, Events: []string{jobEvent}, Active: true, ContentType: "json"})
}

// AddAppWebhook to an App: it gets what happens in the repositories of its installations.
func (s *Server) AddAppWebhook(appID int64, url, secret string) {
	s.AddWebhook(fmt.Sprintf("app:%d", appID), url, secret)
}

// Hooks gives all webhooks, the oldest first.
func (s *Server) Hooks() []Hook {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Hook
	for _, h := range s.hooks {
		shown := h.Hook
		shown.Events = slices.Clone(h.Events)
		all = append(all, shown)
	}
	return all
}

// DeleteHook as a user does in the settings.
func (s *Server) DeleteHook(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeHook(id)
}

// ChangeHook as a user does in the settings.
func (s *Server) ChangeHook(id int64, change func(*Hook)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hooks {
		if h.ID == id {
			changed := h.Hook
			changed.Events = slices.Clone(h.Events)
			change(&changed)
			h.Hook, h.updatedAt = changed, s.clock.Now()
		}
	}
}

// addHook and ping it. The lock is held.
func (s *Server) addHook(made Hook) *hook {
	made.ID, made.Target = s.newID(), strings.ToLower(made.Target)
	h := &hook{
		Hook: made, queue: make(chan *Delivery, 1<<16), gone: make(chan struct{}), createdAt: s.clock.Now(), updatedAt: s.clock.Now(),
	}
	s.hooks = append(s.hooks, h)
	for range s.options.HookWorkers {
		go s.work(h)
	}
	s.ping(h)
	return h
}

func (s *Server) removeHook(id int64) {
	s.hooks = slices.DeleteFunc(s.hooks, func(h *hook) bool {
		if h.ID == id {
			close(h.gone)
		}
		return h.ID == id
	})
}

func (h *Hook) wants(event string) bool {
	return h.Active && (event == "ping" || slices.Contains(h.Events, event) || slices.Contains(h.Events, "*"))
}

// overlaps says whether two hooks would get the same event at the same URL.
func (h *Hook) overlaps(url string, events []string) bool {
	return h.URL == url && slices.ContainsFunc(events, func(e string) bool {
		return e == "*" || slices.Contains(h.Events, e) || slices.Contains(h.Events, "*")
	})
}

// kind of a hook in GitHub's words.
func (h *Hook) kind() string {
	switch {
	case strings.HasPrefix(h.Target, "app:"):
		return "App"
	case strings.HasPrefix(h.Target, "enterprise:"):
		return "Enterprise"
	case strings.Contains(h.Target, "/"):
		return "Repository"
	default:
		return "Organization"
	}
}

// configJSON never tells the secret.
func (h *Hook) configJSON() map[string]any {
	insecure := "0"
	if h.InsecureSSL {
		insecure = "1"
	}
	out := map[string]any{"url": h.URL, "content_type": h.ContentType, "insecure_ssl": insecure}
	if h.Secret != "" {
		out["secret"] = "********"
	}
	return out
}

func (s *Server) hookJSON(h *hook) map[string]any {
	events := h.Events
	if events == nil {
		events = []string{}
	}
	out := map[string]any{
		"type": h.kind(), "id": h.ID, "name": "web", "active": h.Active, "events": events, "config": h.configJSON(),
		"updated_at": stamp(h.updatedAt), "created_at": stamp(h.createdAt),
	}
	base := ""
	switch h.kind() {
	case "Repository":
		base = fmt.Sprintf("%s/api/v3/repos/%s/hooks/%d", s.url, h.Target, h.ID)
		out["test_url"], out["last_response"] = base+"/test", h.lastResponse()
	case "Organization":
		base = fmt.Sprintf("%s/api/v3/orgs/%s/hooks/%d", s.url, h.Target, h.ID)
	default:
		return out
	}
	out["url"], out["ping_url"], out["deliveries_url"] = base, base+"/pings", base+"/deliveries"
	return out
}

func (h *hook) lastResponse() map[string]any {
	if len(h.attempts) == 0 {
		return map[string]any{"code": nil, "status": "unused", "message": nil}
	}
	last := h.attempts[len(h.attempts)-1]
	status := "active"
	if !last.good() {
		status = "invalid_http_response"
	}
	return map[string]any{"code": last.Status, "status": status, "message": last.Result}
}

// validHookURL says whether GitHub would call it.
func validHookURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}
