package github

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gh "github.com/google/go-github/v60/github"
	. "github.com/onsi/gomega"

	runnersim "github.com/modalrunner/modal-runner-controller/simulators/runner"
)

const workflow = `
name: CI
on: push
jobs:
  test:
    runs-on: [self-hosted, modal]
    strategy:
      matrix:
        os: [a, b]
        n: [1]
    steps:
      - run: exit 0
  broken:
    runs-on: modal
    steps:
      - run: exit 3
      - run: exit 0
  never:
    needs: broken
    runs-on: modal
    steps: [{run: exit 0}]
  last:
    needs: [test]
    runs-on: modal
    steps: [{run: exit 0}]
`

// run a runner of the labels until it ends, as a sandbox does.
func runOne(t *testing.T, client *gh.Client, name string, labels ...string) int {
	t.Helper()
	made, _, err := client.Actions.GenerateRepoJITConfig(t.Context(), "octo", "widgets",
		&gh.GenerateJITConfigRequest{Name: name, RunnerGroupID: 1, Labels: labels})
	must(t, err)
	return runnersim.Run(t.Context(), runnersim.Config{
		Env: map[string]string{runnersim.JITVariable: made.GetEncodedJITConfig()}, Stdout: io.Discard,
	})
}

func newClient(t *testing.T, s *Server, token string) *gh.Client {
	t.Helper()
	client, err := gh.NewClient(nil).WithAuthToken(token).WithEnterpriseURLs(s.URL(), s.URL())
	must(t, err)
	return client
}

func TestAWorkflowRunsThroughItsNeedsAndMatrix(t *testing.T) {
	s := newOcto(t)
	client := newClient(t, s, "t")
	if _, err := s.Push("octo/widgets", "ci.yml", []byte(workflow)); err != nil {
		t.Fatal(err)
	}
	var runners sync.WaitGroup
	for i := range 4 {
		runners.Go(func() { runOne(t, client, fmt.Sprintf("r-%d", i), "self-hosted", "Modal") })
	}
	runners.Wait()
	got := map[string]string{}
	for _, j := range s.Jobs() {
		got[j.Name] = j.Conclusion
	}
	want := map[string]string{"test (1, a)": "success", "test (1, b)": "success", "broken": "failure", "never": "skipped", "last": "success"}
	NewWithT(t).Expect(got).To(Equal(want))
	if left := s.Runners(); len(left) != 0 {
		t.Errorf("%d ephemeral runners outlived their jobs", len(left))
	}
}

func TestAWorkflowThatGitHubWouldRefuseIsRefused(t *testing.T) {
	s := newOcto(t)
	for _, text := range []string{"jobs: [", "on: push\njobs:\n  a:\n    steps: [{run: x}]\n", "on: push\njobs:\n  a:\n    runs-on: x\n    stepz: []\n"} {
		if _, err := s.Push("octo/widgets", "ci.yml", []byte(text)); err == nil {
			t.Errorf("accepted %q", text)
		}
	}
}

func TestAJITConfigWorksOnceAndNotAfterItsRunnerIsGone(t *testing.T) {
	s := newOcto(t)
	client := newClient(t, s, "t")
	made, _, err := client.Actions.GenerateRepoJITConfig(t.Context(), "octo", "widgets", &gh.GenerateJITConfigRequest{Name: "r", RunnerGroupID: 1, Labels: []string{"modal"}})
	must(t, err)
	_, err = client.Actions.RemoveRunner(t.Context(), "octo", "widgets", made.Runner.GetID())
	must(t, err)
	var said bytes.Buffer
	runnersim.Run(t.Context(), runnersim.Config{Env: map[string]string{runnersim.JITVariable: made.GetEncodedJITConfig()}, Stdout: &said})
	if !strings.Contains(said.String(), "Failed to create a session") {
		t.Errorf("the runner said %q", said.String())
	}
}

func TestARunnerThatIsLostFailsItsJob(t *testing.T) {
	s := New(Options{LostAfter: 200 * time.Millisecond, OfflineAfter: 100 * time.Millisecond})
	must(t, s.Start("127.0.0.1:0"))
	t.Cleanup(s.Close)
	s.AddRepository("octo/widgets", true)
	s.AddToken("t", "octo")
	client := newClient(t, s, "t")
	id := s.AddQueuedJob("octo/widgets", "long", []string{"modal"}, "sleep 60")
	made, _, err := client.Actions.GenerateRepoJITConfig(t.Context(), "octo", "widgets", &gh.GenerateJITConfigRequest{Name: "r", RunnerGroupID: 1, Labels: []string{"modal"}})
	must(t, err)
	ctx, kill := context.WithCancel(t.Context())
	go runnersim.Run(ctx, runnersim.Config{Env: map[string]string{runnersim.JITVariable: made.GetEncodedJITConfig()}, Stdout: io.Discard})
	status := func() string { j, _ := s.Job(id); return j.Status + " " + j.Conclusion }
	NewWithT(t).Eventually(status, "20s").Should(Equal("in_progress "))
	kill()
	NewWithT(t).Eventually(status, "20s").Should(Equal("completed failure"))
}

func TestTheRateLimitIsPrimaryThenReset(t *testing.T) {
	s := New(Options{RateLimit: 2})
	must(t, s.Start("127.0.0.1:0"))
	t.Cleanup(s.Close)
	s.AddRepository("octo/widgets", true)
	s.AddToken("t", "octo")
	statuses := []int{}
	for range 3 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+"/api/v3/repos/octo/widgets/actions/runs", nil)
		must(t, err)
		req.Header.Set("Authorization", "Bearer t")
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		must(t, resp.Body.Close())
		statuses = append(statuses, resp.StatusCode)
	}
	if !slices.Equal(statuses, []int{200, 200, 403}) {
		t.Errorf("answered %v", statuses)
	}
}

func TestWebhooksAreSignedAndKeepTheirGUIDWhenRedelivered(t *testing.T) {
	s := newOcto(t)
	type seen struct{ guid, action string }
	got := make(chan seen, 16)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		mac := hmac.New(sha256.New, []byte("secret"))
		_, _ = mac.Write(body)
		if req.Header.Get("X-Hub-Signature-256") != "sha256="+hex.EncodeToString(mac.Sum(nil)) {
			t.Error("the signature is wrong")
		}
		var payload struct{ Action string }
		_ = json.Unmarshal(body, &payload)
		got <- seen{req.Header.Get("X-GitHub-Delivery"), payload.Action}
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(receiver.Close)
	s.AddWebhook("octo/widgets", receiver.URL, "secret")
	<-got
	s.AddQueuedJob("octo/widgets", "build", []string{"modal"})
	first := <-got
	s.Redeliver(first.guid)
	if again := <-got; again != first || first.action != "queued" {
		t.Errorf("delivered %v, then %v", first, again)
	}
}
