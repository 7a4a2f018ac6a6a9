package ingress

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"

	gh "github.com/google/go-github/v60/github"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/github"
)

// sighting is what a workflow_job event tells.
type sighting struct {
	origin Origin
	job    github.Job
}

// payloadOf a delivery: its body, or the field of a form, which is what GitHub sends where nobody chose JSON.
func payloadOf(req *http.Request, body []byte) ([]byte, error) {
	if kind, _, _ := mime.ParseMediaType(req.Header.Get("Content-Type")); kind != "application/x-www-form-urlencoded" {
		return body, nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || form.Get("payload") == "" {
		return nil, errors.New("the form has no field payload")
	}
	return []byte(form.Get("payload")), nil
}

// parse a workflow_job event, or say how to answer it.
func (w *Webhook) parse(payload []byte) (sighting, answer) {
	parsed, err := gh.ParseWebHook("workflow_job", payload)
	if err != nil {
		return sighting{}, answer{http.StatusBadRequest, "rejected", "the payload is not the JSON of a workflow_job event"}
	}
	event := parsed.(*gh.WorkflowJobEvent)
	switch event.GetAction() {
	case "queued", "waiting", "in_progress", "completed":
	default:
		return sighting{}, answer{http.StatusAccepted, "ignored", fmt.Sprintf("action %q is ignored", event.GetAction())}
	}
	job, ok := github.JobFrom(event.GetRepo().GetFullName(), event.GetWorkflowJob())
	origin := originOf(event, payload)
	if !ok || job.ID == 0 || job.Repository == "" || origin.Server == "" {
		return sighting{}, answer{http.StatusBadRequest, "rejected", "the payload lacks the job's id or status, or the repository"}
	}
	repo := event.GetRepo()
	job.Public = !repo.GetPrivate()
	if repo.ForksCount != nil && *repo.ForksCount == 0 && !repo.GetFork() {
		// Code can come from no fork where there is none.
		job.HeadRepository = job.Repository
	}
	since := job.CreatedAt
	if job.State == v1alpha1.JobInProgress {
		since = job.StartedAt
	}
	job.Confirmed = w.Clock.Since(since) < w.Fresh
	return sighting{origin: origin, job: job}, answer{}
}

// originOf an event. go-github v60 leaves out the enterprise.
func originOf(event *gh.WorkflowJobEvent, payload []byte) Origin {
	var more struct {
		Enterprise struct {
			Slug string `json:"slug"`
		} `json:"enterprise"`
	}
	// The payload was parsed as JSON before; an event without an enterprise leaves it empty.
	_ = json.Unmarshal(payload, &more)
	return Origin{
		Server:       github.ServerOf(event.GetRepo().GetHTMLURL()),
		Organization: event.GetOrg().GetLogin(),
		Enterprise:   more.Enterprise.Slug,
	}
}
