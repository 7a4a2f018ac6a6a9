package github

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	gh "github.com/google/go-github/v60/github"
	testclock "k8s.io/utils/clock/testing"
)

// received is one delivery as its receiver sees it.
type received struct {
	header  http.Header
	body    []byte
	payload map[string]any
}

// receiver of deliveries that answers with a status.
func receiver(t *testing.T, status func() int) (string, chan received) {
	t.Helper()
	got := make(chan received, 64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r := received{header: req.Header, body: body}
		text := body
		if req.Header.Get("Content-Type") == "application/x-www-form-urlencoded" {
			form, _ := url.ParseQuery(string(body))
			text = []byte(form.Get("payload"))
		}
		if err := json.Unmarshal(text, &r.payload); err != nil {
			t.Error(err)
		}
		w.WriteHeader(status())
		got <- r
	}))
	t.Cleanup(server.Close)
	return server.URL, got
}

func always(status int) func() int { return func() int { return status } }

func webhook(url, secret, contentType string, events ...string) *gh.Hook {
	h := &gh.Hook{Events: events, Config: &gh.HookConfig{URL: &url}}
	if secret != "" {
		h.Config.Secret = &secret
	}
	if contentType != "" {
		h.Config.ContentType = &contentType
	}
	return h
}

func TestAHookIsMadeWithGitHubsDefaultsAndPinged(t *testing.T) {
	s := newOcto(t)
	to, got := receiver(t, always(200))
	made, _, err := newClient(t, s, "t").Repositories.CreateHook(t.Context(), "octo", "widgets", webhook(to, "", ""))
	must(t, err)
	if !slices.Equal(made.Events, []string{"push"}) || !made.GetActive() || made.Config.GetContentType() != "form" ||
		made.Config.GetInsecureSSL() != "0" || made.Config.Secret != nil {
		t.Errorf("made %v", made)
	}
	ping := <-got
	if ping.header.Get("X-GitHub-Event") != "ping" || ping.payload["hook_id"] != float64(made.GetID()) {
		t.Errorf("pinged with %v %v", ping.header, ping.payload)
	}
	if len(ping.header["X-Hub-Signature-256"])+len(ping.header["X-Hub-Signature"]) != 0 {
		t.Error("a hook without a secret signed its delivery")
	}
	s.AddQueuedJob("octo/widgets", "build", []string{"modal"})
	_, err = newClient(t, s, "t").Repositories.PingHook(t.Context(), "octo", "widgets", made.GetID())
	must(t, err)
	if next := <-got; next.header.Get("X-GitHub-Event") != "ping" {
		t.Errorf("a hook for push got %s", next.header.Get("X-GitHub-Event"))
	}
}

func TestAFormHookGetsItsPayloadEncodedAndSigned(t *testing.T) {
	s := newOcto(t)
	to, got := receiver(t, always(200))
	_, _, err := newClient(t, s, "t").Organizations.CreateHook(t.Context(), "octo", webhook(to, "secret", "form", "workflow_job"))
	must(t, err)
	<-got
	s.AddQueuedJob("octo/widgets", "build", []string{"modal"})
	job := <-got
	mac := hmac.New(sha256.New, []byte("secret"))
	_, _ = mac.Write(job.body)
	if job.payload["action"] != "queued" || job.header.Get("X-Hub-Signature-256") != "sha256="+hex.EncodeToString(mac.Sum(nil)) {
		t.Errorf("got %v %s", job.header, job.body)
	}
}

func TestAHookThatGitHubWouldRefuseIsRefused(t *testing.T) {
	s := newOcto(t)
	client := newClient(t, s, "t")
	create := func(body string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+"/api/v3/repos/octo/widgets/hooks", nil)
		must(t, err)
		req.Header.Set("Authorization", "Bearer t")
		req.Body = io.NopCloser(strings.NewReader(body))
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		must(t, resp.Body.Close())
		return resp.StatusCode
	}
	for _, body := range []string{
		`{"name":"email","config":{"url":"http://x"}}`, `{"name":"web"}`, `{"name":"web","config":{}}`, `{"name":"web","config":{"url":"ftp://x"}}`,
		`{"name":"web","config":{"url":"http://x","content_type":"xml"}}`, `{"name":"web","config":{"url":"http://x","insecure_ssl":"2"}}`,
		`{"name":"web","config":{"url":"http://x"},"events":["workflow_jobs"]}`, `{"name":"web","config":{"url":"http://x"},"evnts":[]}`,
	} {
		if status := create(body); status != http.StatusUnprocessableEntity {
			t.Errorf("answered %d to %s", status, body)
		}
	}
	_, _, err := client.Repositories.CreateHook(t.Context(), "octo", "widgets", webhook("http://127.0.0.1:1/", "", "json", "workflow_job"))
	must(t, err)
	_, _, err = client.Repositories.CreateHook(t.Context(), "octo", "widgets", webhook("http://127.0.0.1:1/", "s", "form", "workflow_job", "push"))
	mustStatus(t, err, http.StatusUnprocessableEntity)
	var answer *gh.ErrorResponse
	if !errors.As(err, &answer) {
		t.Fatal(err)
	}
	if problems := answer.Errors; len(problems) != 1 || problems[0].Message != "Hook already exists on this repository" ||
		problems[0].Resource != "Hook" || problems[0].Code != "custom" {
		t.Errorf("refused with %v", err)
	}
}

func TestEditingAHookReplacesItsConfigWithItsSecret(t *testing.T) {
	s := newOcto(t)
	client := newClient(t, s, "t")
	made, _, err := client.Repositories.CreateHook(t.Context(), "octo", "widgets", webhook("http://127.0.0.1:1/", "secret", "json", "workflow_job"))
	must(t, err)
	if made.Config.GetSecret() != "********" {
		t.Errorf("the secret is shown as %q", made.Config.GetSecret())
	}
	edited, _, err := client.Repositories.EditHook(t.Context(), "octo", "widgets", made.GetID(), &gh.Hook{Active: gh.Bool(false)})
	must(t, err)
	if edited.Config.Secret == nil || edited.GetActive() || !slices.Equal(edited.Events, []string{"workflow_job"}) {
		t.Errorf("became %v", edited)
	}
	edited, _, err = client.Repositories.EditHook(t.Context(), "octo", "widgets", made.GetID(), webhook("http://127.0.0.1:2/", "", ""))
	must(t, err)
	if edited.Config.Secret != nil || edited.Config.GetContentType() != "form" || s.Hooks()[0].Secret != "" {
		t.Errorf("became %v", edited)
	}
	s.ChangeHook(made.GetID(), func(h *Hook) { h.Events = []string{"*"}; h.Active = true })
	found, _, err := client.Repositories.GetHook(t.Context(), "octo", "widgets", made.GetID())
	must(t, err)
	if !found.GetActive() || !slices.Equal(found.Events, []string{"*"}) {
		t.Errorf("found %v", found)
	}
	s.DeleteHook(made.GetID())
	_, err = client.Repositories.DeleteHook(t.Context(), "octo", "widgets", made.GetID())
	mustStatus(t, err, http.StatusNotFound)
}

func TestInactiveHooksGetNothing(t *testing.T) {
	s := newOcto(t)
	s.AddWebhook("octo/widgets", "http://127.0.0.1:1/", "secret")
	s.ChangeHook(s.Hooks()[0].ID, func(h *Hook) { h.Active = false })
	s.AddQueuedJob("octo/widgets", "build", []string{"modal"})
	if made := s.Deliveries(); len(made) != 1 || made[0].Event != "ping" {
		t.Errorf("made %v", made)
	}
}

func TestHooksAreListedByPages(t *testing.T) {
	s := newOcto(t)
	for i := range 31 {
		s.AddWebhook("octo", fmt.Sprintf("http://127.0.0.1:1/%d", i), "secret")
	}
	client := newClient(t, s, "t")
	first, resp, err := client.Organizations.ListHooks(t.Context(), "octo", nil)
	must(t, err)
	rest, last, err := client.Organizations.ListHooks(t.Context(), "octo", &gh.ListOptions{Page: resp.NextPage})
	must(t, err)
	if len(first) != 30 || len(rest) != 1 || last.NextPage != 0 {
		t.Errorf("pages of %d and %d", len(first), len(rest))
	}
}

func TestDeliveriesAreListedByCursorAndMadeAgain(t *testing.T) {
	clock := testclock.NewFakeClock(time.Now())
	s := New(Options{Clock: clock})
	must(t, s.Start("127.0.0.1:0"))
	t.Cleanup(s.Close)
	s.AddRepository("octo/widgets", true)
	s.AddToken("t", "octo")
	status := make(chan int, 16)
	to, got := receiver(t, func() int { return <-status })
	for _, code := range []int{200, 503, 200, 200} {
		status <- code
	}
	s.AddWebhook("octo/widgets", to, "secret")
	id := s.Hooks()[0].ID
	<-got
	s.AddQueuedJob("octo/widgets", "one", []string{"modal"})
	lost := <-got
	s.AddQueuedJob("octo/widgets", "two", []string{"modal"})
	<-got
	client := newClient(t, s, "t").Repositories
	list := func(cursor string) ([]*gh.HookDelivery, *gh.Response) {
		all, resp, err := client.ListHookDeliveries(t.Context(), "octo", "widgets", id, &gh.ListCursorOptions{PerPage: 2, Cursor: cursor})
		must(t, err)
		return all, resp
	}
	var page []*gh.HookDelivery
	var resp *gh.Response
	eventually(t, func() bool { page, resp = list(""); return len(page) == 2 && page[0].GetStatusCode() == 200 })
	failed := page[1]
	if failed.GetStatus() != "Invalid HTTP Response: 503" || failed.GetGUID() != lost.header.Get("X-GitHub-Delivery") || failed.GetEvent() != "workflow_job" {
		t.Errorf("listed %v", page)
	}
	if rest, last := list(resp.Cursor); len(rest) != 1 || rest[0].GetEvent() != "ping" || last.Cursor != "" {
		t.Errorf("then %v", rest)
	}
	s.ChangeHook(id, func(h *Hook) { h.Secret = "new" })
	_, _, err := client.RedeliverHookDelivery(t.Context(), "octo", "widgets", id, failed.GetID())
	mustBeAccepted(t, err)
	again := <-got
	if string(again.body) != string(lost.body) || again.header.Get("X-GitHub-Delivery") != lost.header.Get("X-GitHub-Delivery") ||
		again.header.Get("X-Hub-Signature-256") == lost.header.Get("X-Hub-Signature-256") {
		t.Error("the delivery is not the same, but for its signature")
	}
	eventually(t, func() bool { page, _ = list(""); return page[0].GetRedelivery() })
	if page[0].GetID() == failed.GetID() || page[0].GetGUID() != failed.GetGUID() || page[0].GetStatus() != "OK" {
		t.Errorf("listed %v", page)
	}
	clock.Step(redeliveryWindow + time.Second)
	if page, _ = list(""); len(page) != 0 {
		t.Errorf("%d deliveries are kept for too long", len(page))
	}
	_, _, err = client.RedeliverHookDelivery(t.Context(), "octo", "widgets", id, failed.GetID())
	mustStatus(t, err, http.StatusNotFound)
}

func TestALostDeliveryShowsAsFailed(t *testing.T) {
	s := newOcto(t)
	s.AddWebhook("octo/widgets", "http://127.0.0.1:1/", "secret")
	s.SetWebhookFaults(WebhookFaults{Drop: 1})
	s.AddQueuedJob("octo/widgets", "build", []string{"modal"})
	eventually(t, func() bool { return s.Deliveries()[0].ID != 0 })
	failed := map[string]int{}
	all, _, err := newClient(t, s, "t").Repositories.ListHookDeliveries(t.Context(), "octo", "widgets", s.Hooks()[0].ID, nil)
	must(t, err)
	for _, d := range all {
		failed[d.GetStatus()] = d.GetStatusCode()
	}
	if len(failed) != 2 || failed["Invalid HTTP Response: 502"] != 502 || failed["failed to connect to host"] != 0 {
		t.Errorf("listed %v", failed)
	}
}

func TestAppsAndEnterprisesHearOfTheirRepositories(t *testing.T) {
	s := newOcto(t)
	s.AddRepository("other/things", true)
	s.AddApp(7, &newKey(t).PublicKey, 70, "octo")
	s.AddToEnterprise("inc", "octo")
	app, toApp := receiver(t, always(200))
	enterprise, toEnterprise := receiver(t, always(200))
	s.AddAppWebhook(7, app, "secret")
	s.AddWebhook("enterprise:inc", enterprise, "secret")
	<-toApp
	<-toEnterprise
	s.AddQueuedJob("other/things", "not theirs", []string{"modal"})
	s.AddQueuedJob("octo/widgets", "theirs", []string{"modal"})
	got := <-toApp
	if installation, _ := got.payload["installation"].(map[string]any); installation["id"] != 70.0 {
		t.Errorf("the App got %v", got.payload)
	}
	got = <-toEnterprise
	if owner, _ := got.payload["enterprise"].(map[string]any); owner["slug"] != "inc" || got.payload["installation"] != nil {
		t.Errorf("the enterprise got %v", got.payload)
	}
	if repo := got.payload["repository"].(map[string]any); repo["visibility"] != "private" || repo["default_branch"] != "main" || repo["archived"] != false {
		t.Errorf("the repository is %v", repo)
	}
}
