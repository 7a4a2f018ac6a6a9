package openapi_test

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/modalrunner/modal-runner-controller/simulators/github"
	"github.com/modalrunner/modal-runner-controller/simulators/github/openapi"
)

func TestParametersThatGitHubDoesNotKnowAreViolations(t *testing.T) {
	folder, err := exec.CommandContext(t.Context(), "../../../hack/openapi/fetch.sh").Output()
	if err != nil {
		t.Fatalf("GitHub's OpenAPI description is needed: run hack/openapi/fetch.sh, which needs npm: %v", err)
	}
	validator, err := openapi.Load(strings.TrimSpace(string(folder)), github.DocumentedPaths()...)
	if err != nil {
		t.Fatal(err)
	}
	handler := validator.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"total_count":0,"workflow_runs":[],"jobs":[]}`))
	}))
	const runs = "/api/v3/repos/octo/widgets/actions/runs"
	for request, want := range map[string]string{
		runs + "?status=queued&per_page=100&page=2&created=%3E%3D2026-01-01": "",
		runs + "?status=done":          "status=done",
		runs + "?per_page=101":         "per_page=101",
		runs + "?per_page=many":        "per_page=many",
		runs + "?page=0":               "page=0",
		runs + "?name=x":               "name is not documented",
		runs + "/x/jobs":               "path parameter run_id=x",
		runs + "/1/jobs?filter=latest": "",
		runs + "/1/jobs?filter=newest": "filter=newest",
	} {
		before := len(validator.Violations())
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, request, nil))
		found := strings.Join(validator.Violations()[before:], "\n")
		if want == "" && found != "" || !strings.Contains(found, want) {
			t.Errorf("%s: %q, want %q", request, found, want)
		}
	}
}
