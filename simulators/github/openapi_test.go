package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gh "github.com/google/go-github/v60/github"

	"github.com/modalrunner/modal-runner-controller/simulators/github/openapi"
)

// octokit gives the folder with GitHub's own description and examples.
func octokit(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "../../hack/openapi/fetch.sh").Output()
	if err != nil {
		t.Fatalf("GitHub's OpenAPI description is needed: run hack/openapi/fetch.sh, which needs npm: %v", err)
	}
	return strings.TrimSpace(string(out))
}

func newOcto(t *testing.T) *Server {
	t.Helper()
	s := New(Options{})
	if err := s.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.AddRepository("octo/widgets", true)
	s.AddToken("t", "octo", "inc")
	return s
}

// TestEveryAnswerFitsGitHubsDescription drives every route of the API.
func TestEveryAnswerFitsGitHubsDescription(t *testing.T) {
	s := newOcto(t)
	paths := DocumentedPaths()
	validator, err := openapi.Load(octokit(t), paths...)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(validator.Middleware(s))
	t.Cleanup(front.Close)
	client, err := gh.NewClient(nil).WithAuthToken("t").WithEnterpriseURLs(front.URL, front.URL)
	if err != nil {
		t.Fatal(err)
	}
	drive(t, s, client)
	driveHooks(t, s, client)
	driveApp(t, s, front.URL)
	for _, violation := range validator.Violations() {
		t.Error(violation)
	}
	for _, path := range paths {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(validator.Checked())), func(k string) bool { return strings.Contains(k, " "+path+" ") }) {
			t.Errorf("%s was never asked", path)
		}
	}
}

// drive the API through the calls that the product makes, and some that must fail.
func drive(t *testing.T, s *Server, client *gh.Client) {
	t.Helper()
	ctx := t.Context()
	id := s.AddQueuedJob("octo/widgets", "build", []string{"modal"}, "exit 0")
	run := s.Jobs()[0].RunID
	request := &gh.GenerateJITConfigRequest{Name: "r-1", RunnerGroupID: 1, Labels: []string{"modal"}}
	made, _, err := client.Actions.GenerateRepoJITConfig(ctx, "octo", "widgets", request)
	must(t, err)
	_, _, err = client.Actions.GenerateRepoJITConfig(ctx, "octo", "widgets", request)
	mustStatus(t, err, http.StatusConflict)
	_, _, err = client.Actions.GenerateRepoJITConfig(ctx, "octo", "widgets", &gh.GenerateJITConfigRequest{Name: "bad name", RunnerGroupID: 1, Labels: []string{"x"}})
	mustStatus(t, err, http.StatusUnprocessableEntity)
	request.Name = "r-2"
	org, _, err := client.Actions.GenerateOrgJITConfig(ctx, "octo", request)
	must(t, err)
	enterprise, _, err := client.Enterprise.GenerateEnterpriseJITConfig(ctx, "inc", request)
	must(t, err)
	must(t, s.TakeJob(id, "r-1"))
	for _, call := range []func() error{
		func() error { _, _, err := client.Actions.ListRunners(ctx, "octo", "widgets", nil); return err },
		func() error { _, _, err := client.Actions.ListOrganizationRunners(ctx, "octo", nil); return err },
		func() error { _, _, err := client.Enterprise.ListRunners(ctx, "inc", nil); return err },
		func() error {
			_, _, err := client.Actions.GetRunner(ctx, "octo", "widgets", made.Runner.GetID())
			return err
		},
		func() error {
			_, _, err := client.Actions.ListRunnerApplicationDownloads(ctx, "octo", "widgets")
			return err
		},
		func() error {
			_, _, err := client.Actions.ListOrganizationRunnerApplicationDownloads(ctx, "octo")
			return err
		},
		func() error { _, _, err := client.Enterprise.ListRunnerApplicationDownloads(ctx, "inc"); return err },
		func() error {
			_, _, err := client.Actions.ListRepositoryWorkflowRuns(ctx, "octo", "widgets", nil)
			return err
		},
		func() error { _, _, err := client.Actions.GetWorkflowRunByID(ctx, "octo", "widgets", run); return err },
		func() error {
			_, _, err := client.Actions.ListWorkflowJobs(ctx, "octo", "widgets", run, nil)
			return err
		},
		func() error { _, _, err := client.Actions.GetWorkflowJobByID(ctx, "octo", "widgets", id); return err },
		func() error { _, _, err := client.RateLimit.Get(ctx); return err },
		func() error { _, _, err := client.Actions.ListOrganizationRunnerGroups(ctx, "octo", nil); return err },
		func() error { _, _, err := client.Enterprise.ListRunnerGroups(ctx, "inc", nil); return err },
		func() error { _, _, err := client.Repositories.ListByOrg(ctx, "octo", nil); return err },
		func() error {
			_, err := client.Actions.RemoveOrganizationRunner(ctx, "octo", org.Runner.GetID())
			return err
		},
		func() error {
			_, err := client.Enterprise.RemoveRunner(ctx, "inc", enterprise.Runner.GetID())
			return err
		},
	} {
		must(t, call())
	}
	_, err = client.Actions.RemoveRunner(ctx, "octo", "widgets", made.Runner.GetID())
	mustStatus(t, err, http.StatusUnprocessableEntity)
	must(t, s.CompleteJob(id, "success"))
	_, err = client.Actions.RemoveRunner(ctx, "octo", "widgets", made.Runner.GetID())
	mustStatus(t, err, http.StatusNotFound)
	for _, path := range []string{"orgs/octo/actions/runners/1", "enterprises/inc/actions/runners/1"} {
		mustStatus(t, ask(ctx, client, path), http.StatusNotFound)
	}
}

func ask(ctx context.Context, client *gh.Client, path string) error {
	req, err := client.NewRequest(http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	_, err = client.Do(ctx, req, nil)
	return err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustStatus(t *testing.T, err error, status int) {
	t.Helper()
	var answer *gh.ErrorResponse
	if !errors.As(err, &answer) || answer.Response.StatusCode != status {
		t.Fatalf("answered %v, want %d", err, status)
	}
}

// TestWebhooksHaveTheFormOfGitHubsExamples compares the keys of every workflow_job that GitHub publishes with ours.
func TestWebhooksHaveTheFormOfGitHubsExamples(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(octokit(t), "examples", "api.github.com", "index.json"))
	must(t, err)
	var events []struct {
		Name     string           `json:"name"`
		Examples []map[string]any `json:"examples"`
	}
	must(t, json.Unmarshal(text, &events))
	theirs := map[string]bool{}
	for _, event := range events {
		for _, example := range event.Examples {
			if job, ok := example["workflow_job"].(map[string]any); ok && event.Name == "workflow_job" {
				for key := range job {
					theirs[key] = true
				}
			}
		}
	}
	if len(theirs) == 0 {
		t.Fatal("there are no examples of workflow_job")
	}
	s := newOcto(t)
	s.AddWebhook("octo/widgets", "http://127.0.0.1:1/", "secret")
	id := s.AddQueuedJob("octo/widgets", "build", []string{"modal"}, "exit 0")
	must(t, s.TakeJob(id, s.AddForeignRunner("octo/widgets", "elsewhere", "modal")))
	must(t, s.CompleteJob(id, "success"))
	for _, d := range s.Deliveries() {
		if d.Event != "workflow_job" {
			continue
		}
		var payload map[string]any
		must(t, json.Unmarshal(d.Body, &payload))
		if _, has := payload["workflow_run"]; has {
			t.Error("the payload has a workflow_run, which GitHub's has not")
		}
		ours := payload["workflow_job"].(map[string]any)
		for key := range theirs {
			if _, has := ours[key]; !has {
				t.Errorf("%s lacks %s", d.Action, key)
			}
		}
		for key := range ours {
			if !theirs[key] {
				t.Errorf("%s has %s, which GitHub's has not", d.Action, key)
			}
		}
		if d.Action == "queued" && ours["runner_name"] != nil {
			t.Error("a queued job has a runner")
		}
	}
	if fmt.Sprint(len(s.Deliveries())) != "4" {
		t.Errorf("%d deliveries: a ping, queued, in_progress and completed were due", len(s.Deliveries()))
	}
}
