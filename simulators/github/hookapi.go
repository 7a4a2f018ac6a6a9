package github

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxHooksPerEvent is GitHub's. Source: docs.github.com/webhooks/types-of-webhooks.
const maxHooksPerEvent = 20

// hookEvents that a hook can subscribe to. Source: docs.github.com/webhooks/webhook-events-and-payloads.
var hookEvents = strings.Fields(`* branch_protection_configuration branch_protection_rule check_run check_suite code_scanning_alert
	commit_comment create custom_property custom_property_values delete dependabot_alert deploy_key deployment
	deployment_protection_rule deployment_review deployment_status discussion discussion_comment fork gollum issue_comment issues
	label member membership merge_group meta milestone org_block organization package page_build ping project project_card
	project_column projects_v2 projects_v2_item public pull_request pull_request_review pull_request_review_comment
	pull_request_review_thread push registry_package release repository repository_advisory repository_dispatch repository_import
	repository_ruleset repository_vulnerability_alert secret_scanning_alert secret_scanning_alert_location security_and_analysis
	sponsorship star status team team_add watch workflow_dispatch workflow_job workflow_run`)

// hookBody is what creating or editing a hook is sent.
type hookBody struct {
	Name         *string     `json:"name"`
	Config       *hookConfig `json:"config"`
	Events       *[]string   `json:"events"`
	AddEvents    []string    `json:"add_events"`
	RemoveEvents []string    `json:"remove_events"`
	Active       *bool       `json:"active"`
}

type hookConfig struct {
	URL         string `json:"url"`
	ContentType string `json:"content_type"`
	Secret      string `json:"secret"`
	// InsecureSSL is a text or a number.
	InsecureSSL any    `json:"insecure_ssl"`
	Username    string `json:"username"`
	Password    string `json:"password"`
}

// apply a config as a whole: what it leaves out is lost, the secret too, as at GitHub.
func (c *hookConfig) apply(h *Hook) *reply {
	insecure := ""
	if c.InsecureSSL != nil {
		insecure = fmt.Sprint(c.InsecureSSL)
	}
	var problem reply
	switch {
	case c.URL == "":
		problem = invalidHook("url", "missing_field", "url cannot be blank")
	case !validHookURL(c.URL):
		problem = invalidHook("url", "custom", "url is missing a scheme or is not http or https")
	case !slices.Contains([]string{"", "json", "form"}, c.ContentType):
		problem = invalidHook("content_type", "custom", "content_type must be json or form")
	case !slices.Contains([]string{"", "0", "1"}, insecure):
		problem = invalidHook("insecure_ssl", "custom", "insecure_ssl must be 0 or 1")
	default:
		h.URL, h.Secret, h.ContentType, h.InsecureSSL = c.URL, c.Secret, c.ContentType, insecure == "1"
		if h.ContentType == "" {
			h.ContentType = "form"
		}
		return nil
	}
	return &problem
}

// invalidHook refuses one field, or the whole when it is empty.
func invalidHook(field, code, message string) reply {
	problem := map[string]any{"resource": "Hook", "code": code}
	if field != "" {
		problem["field"] = field
	}
	if message != "" {
		problem["message"] = message
	}
	answer := refuse(http.StatusUnprocessableEntity, "Validation Failed")
	answer.body.(map[string]any)["errors"] = []any{problem}
	return answer
}

func (s *Server) listHooks(req *http.Request, params map[string]string) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []any
	for _, h := range s.hooks {
		if h.Target == scopeOf(params) {
			all = append(all, s.hookJSON(h))
		}
	}
	return s.pagedBare(req, all)
}

// hookOf the call, nil when there is none. The lock is held.
func (s *Server) hookOf(params map[string]string) *hook {
	id, err := strconv.ParseInt(params["hook"], 10, 64)
	for _, h := range s.hooks {
		if err == nil && h.ID == id && h.Target == scopeOf(params) {
			return h
		}
	}
	return nil
}

func (s *Server) createHook(req *http.Request, params map[string]string) reply {
	var body hookBody
	if refused := decode(req, &body); refused != nil {
		return *refused
	}
	switch {
	case body.Name == nil && params["org"] != "":
		return invalidHook("name", "missing_field", "")
	case body.Name != nil && *body.Name != "web":
		return invalidHook("name", "custom", "name must be web")
	case body.Config == nil:
		return invalidHook("config", "missing_field", "")
	case body.AddEvents != nil || body.RemoveEvents != nil:
		return refuse(http.StatusUnprocessableEntity, "Invalid request.\n\nadd_events and remove_events are not permitted keys.")
	}
	made := Hook{Target: scopeOf(params), Events: []string{"push"}, Active: true}
	s.mu.Lock()
	defer s.mu.Unlock()
	if refused := s.edit(&made, body); refused != nil {
		return *refused
	}
	return reply{status: http.StatusCreated, body: s.hookJSON(s.addHook(made))}
}

// edit a hook as the body says, or say why not. The lock is held.
func (s *Server) edit(h *Hook, body hookBody) *reply {
	if body.Config != nil {
		if refused := body.Config.apply(h); refused != nil {
			return refused
		}
	}
	if body.Events != nil {
		h.Events = *body.Events
	}
	events := slices.Concat(h.Events, body.AddEvents)
	h.Events = nil
	for _, event := range events {
		if !slices.Contains(h.Events, event) && !slices.Contains(body.RemoveEvents, event) {
			h.Events = append(h.Events, event)
		}
	}
	if body.Active != nil {
		h.Active = *body.Active
	}
	return s.clash(h)
}

// clash says what speaks against a hook beside the others of its target.
func (s *Server) clash(h *Hook) *reply {
	same := map[string]int{}
	for _, other := range s.hooks {
		if other.Target != h.Target || other.ID == h.ID {
			continue
		}
		if other.overlaps(h.URL, h.Events) {
			refused := invalidHook("", "custom", "Hook already exists on this "+strings.ToLower(h.kind()))
			return &refused
		}
		for _, event := range other.Events {
			same[event]++
		}
	}
	for _, event := range h.Events {
		if !slices.Contains(hookEvents, event) {
			refused := invalidHook("events", "custom", "These events are not allowed for this hook: "+event)
			return &refused
		}
		if same[event] >= maxHooksPerEvent {
			refused := invalidHook("", "custom", fmt.Sprintf("The %q event cannot have more than %d hooks", event, maxHooksPerEvent))
			return &refused
		}
	}
	return nil
}

func (s *Server) getHook(_ *http.Request, params map[string]string) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.hookOf(params); h != nil {
		return ok(s.hookJSON(h))
	}
	return notFound()
}

func (s *Server) editHook(req *http.Request, params map[string]string) reply {
	var body hookBody
	if refused := decode(req, &body); refused != nil {
		return *refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hookOf(params)
	if h == nil {
		return notFound()
	}
	changed := h.Hook
	if refused := s.edit(&changed, body); refused != nil {
		return *refused
	}
	h.Hook, h.updatedAt = changed, s.clock.Now()
	return ok(s.hookJSON(h))
}

func (s *Server) deleteHook(_ *http.Request, params map[string]string) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hookOf(params)
	if h == nil {
		return notFound()
	}
	s.removeHook(h.ID)
	return reply{status: http.StatusNoContent}
}

func (s *Server) pingHook(_ *http.Request, params map[string]string) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hookOf(params)
	if h == nil {
		return notFound()
	}
	s.ping(h)
	return reply{status: http.StatusNoContent}
}
