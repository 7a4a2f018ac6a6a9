package github

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // GitHub sends this signature too
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"
	"time"
)

// deliveryTimeout is GitHub's. Source: docs.github.com/webhooks/using-webhooks/best-practices-for-using-webhooks.
const deliveryTimeout = 10 * time.Second

type hook struct {
	id     int64
	target string
	url    string
	secret string
	queue  chan *Delivery
}

// Delivery is one that was made, or tried.
type Delivery struct {
	GUID, Event, Action string
	// Status of the answer, 0 when there was none; Answer is its text.
	Status int
	Answer string
	// Dropped by a fault, so that it was never sent.
	Dropped bool
	Body    []byte

	hook *hook
}

// WebhookFaults are the probabilities with which a delivery is lost, made twice, or overtaken by the next.
type WebhookFaults struct{ Drop, Duplicate, Reorder float64 }

// SetWebhookFaults from now on.
func (s *Server) SetWebhookFaults(f WebhookFaults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.webhooks = f
}

// AddWebhook to a repository (owner/name) or an organization, which gets a ping.
func (s *Server) AddWebhook(target, url, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &hook{id: s.newID(), target: strings.ToLower(target), url: url, secret: secret, queue: make(chan *Delivery, 1<<16)}
	s.hooks = append(s.hooks, h)
	go s.work(h)
	s.enqueue(h, "ping", "", map[string]any{"zen": "Keep it logically awesome.", "hook_id": h.id, "hook": map[string]any{"type": "Repository", "events": []string{"workflow_job"}}})
}

// deliverJob tells all hooks of the job's repository and organization. The lock is held.
func (s *Server) deliverJob(j *job, action string) {
	repo := j.run.repo
	for _, h := range s.hooks {
		if h.target != strings.ToLower(repo.fullName) && h.target != strings.ToLower(repo.owner()) {
			continue
		}
		repository := s.repoJSON(repo)
		repository["default_branch"] = "main"
		s.enqueue(h, "workflow_job", action, map[string]any{
			"action": action, "workflow_job": s.jobJSON(j), "repository": repository,
			"organization": map[string]any{"login": repo.owner(), "id": 1}, "sender": s.ownerJSON(repo),
		})
	}
}

func (s *Server) enqueue(h *hook, event, action string, payload map[string]any) {
	body, err := json.Marshal(payload)
	if err != nil {
		panic(err)
	}
	d := &Delivery{GUID: fmt.Sprintf("%08x-0000-4000-8000-%012x", s.random.Uint32(), s.newID()), Event: event, Action: action, Body: body, hook: h}
	s.deliveries = append(s.deliveries, d)
	f := s.webhooks
	if s.random.Float64() < f.Drop {
		d.Dropped = true
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

func (s *Server) send(d *Delivery) {
	req, err := http.NewRequestWithContext(s.context, http.MethodPost, d.hook.url, bytes.NewReader(d.Body))
	if err != nil {
		return
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "GitHub-Hookshot/044aadd", "X-GitHub-Event": d.Event, "X-GitHub-Delivery": d.GUID,
		"X-GitHub-Hook-ID":    fmt.Sprint(d.hook.id),
		"X-Hub-Signature":     "sha1=" + sign(sha1.New, d.hook.secret, d.Body),
		"X-Hub-Signature-256": "sha256=" + sign(sha256.New, d.hook.secret, d.Body),
	} {
		req.Header.Set(name, value)
	}
	client := http.Client{Timeout: deliveryTimeout}
	status, text := 0, ""
	resp, err := client.Do(req)
	if err == nil {
		answer, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
		_ = resp.Body.Close()
		status, text = resp.StatusCode, string(answer)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.Status, d.Answer = status, text
}

func sign(algorithm func() hash.Hash, secret string, body []byte) string {
	mac := hmac.New(algorithm, []byte(secret))
	_, _ = mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// Deliveries gives all that were made or tried, the oldest first.
func (s *Server) Deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Delivery
	for _, d := range s.deliveries {
		all = append(all, *d)
	}
	return all
}

// Redeliver a delivery, with the same GUID and body, as GitHub does when asked to.
func (s *Server) Redeliver(guid string) {
	s.mu.Lock()
	var again []*Delivery
	for _, d := range s.deliveries {
		if d.GUID == guid {
			again = append(again, d)
		}
	}
	s.mu.Unlock()
	for _, d := range again {
		s.send(d)
	}
}
