package github

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

const jobEvent = "workflow_job"

// WebhookFaults are the probabilities with which a delivery is lost, made twice, or overtaken by the next.
type WebhookFaults struct{ Drop, Duplicate, Reorder float64 }

// SetWebhookFaults from now on.
func (s *Server) SetWebhookFaults(f WebhookFaults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.webhooks = f
}

// ping a hook. The lock is held.
func (s *Server) ping(h *hook) {
	payload := map[string]any{"zen": "Keep it logically awesome.", "hook_id": h.ID, "hook": s.hookJSON(h)}
	d := &Delivery{Event: "ping"}
	switch h.kind() {
	case "Repository":
		if repo, known := s.repos[h.Target]; known {
			payload["repository"], payload["sender"], d.repository = s.fullRepoJSON(repo), s.ownerJSON(repo), repo.id
		}
	case "Organization":
		payload["organization"], payload["sender"] = map[string]any{"login": h.Target, "id": 1}, s.accountJSON(h.Target)
	}
	s.enqueue(h, d, payload)
}

// deliverJob tells all hooks that a job's repository concerns. The lock is held.
func (s *Server) deliverJob(j *job, action string) {
	repo := j.run.repo
	for _, h := range s.hooks {
		concerned, installed := s.concerns(h, repo)
		if !concerned {
			continue
		}
		payload := map[string]any{
			"action": action, "workflow_job": s.jobJSON(j), "repository": s.fullRepoJSON(repo),
			"organization": map[string]any{"login": repo.owner(), "id": 1}, "sender": s.ownerJSON(repo),
		}
		d := &Delivery{Event: jobEvent, Action: action, repository: repo.id}
		if e := s.enterpriseOf(repo); e != nil {
			payload["enterprise"] = s.enterpriseJSON(e)
		}
		if installed != nil {
			payload["installation"] = map[string]any{"id": installed.id, "node_id": fmt.Sprintf("I_%d", installed.id)}
			d.installation = installed.id
		}
		s.enqueue(h, d, payload)
	}
}

// concerns says whether a hook is told of a repository and, if it is an App's, by which installation. The lock is held.
func (s *Server) concerns(h *hook, repo *repository) (bool, *installation) {
	switch h.kind() {
	case "App":
		id, _ := strconv.ParseInt(strings.TrimPrefix(h.Target, "app:"), 10, 64)
		if a, known := s.apps[id]; known {
			for _, i := range a.installations {
				if i.covers(repo) && i.suspended.IsZero() {
					return true, i
				}
			}
		}
		return false, nil
	case "Enterprise":
		e := s.members[strings.TrimPrefix(h.Target, "enterprise:")]
		return e != nil && e.owns(repo.owner()), nil
	default:
		return h.Target == strings.ToLower(repo.fullName) || h.Target == strings.ToLower(repo.owner()), nil
	}
}

// enqueue a delivery for a hook, if that wants it. The lock is held.
func (s *Server) enqueue(h *hook, d *Delivery, payload map[string]any) {
	if !h.wants(d.Event) {
		return
	}
	body, err := json.Marshal(payload)
	if err != nil {
		panic(err)
	}
	d.GUID, d.Body = fmt.Sprintf("%08x-0000-4000-8000-%012x", s.random.Uint32(), s.newID()), body
	s.queue(h, d)
}

// queue a delivery, or lose it on the way: GitHub then has seen no proper answer. The lock is held.
func (s *Server) queue(h *hook, d *Delivery) {
	d.hook, d.HookID = h, h.ID
	s.deliveries = append(s.deliveries, d)
	f := s.webhooks
	if s.random.Float64() < f.Drop {
		d.Dropped = true
		s.over(d, result{status: 502, text: invalidAnswer(502)})
		return
	}
	h.queue <- d
	if s.random.Float64() < f.Duplicate {
		h.queue <- d
	}
}

// work sends a hook's deliveries, never twice by itself.
func (s *Server) work(h *hook) {
	for {
		select {
		case <-s.context.Done():
			return
		case <-h.gone:
			return
		case d := <-h.queue:
			s.mu.Lock()
			late := s.random.Float64() < s.webhooks.Reorder
			s.mu.Unlock()
			if late && len(h.queue) > 0 {
				overtaking := <-h.queue
				s.send(overtaking)
			}
			s.send(d)
		}
	}
}
