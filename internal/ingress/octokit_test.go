package ingress

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// example of a workflow_job event that GitHub's own package publishes.
type example struct {
	Action string `json:"action"`
	Job    struct {
		ID     int64    `json:"id"`
		Status string   `json:"status"`
		Labels []string `json:"labels"`
	} `json:"workflow_job"`
	Repository struct {
		FullName string `json:"full_name"`
		HTMLURL  string `json:"html_url"`
	} `json:"repository"`

	body string
}

// examples of all servers that the package has, github.com and those of the GitHub Enterprise Servers.
func examples(t testing.TB) []example {
	t.Helper()
	out, err := exec.Command("../../hack/openapi/fetch.sh").Output()
	if err != nil {
		t.Fatalf("GitHub's example payloads are needed: run hack/openapi/fetch.sh, which needs npm: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "examples", "*", "index.json"))
	if err != nil || len(files) < 2 {
		t.Fatalf("found %d files of examples: %v", len(files), err)
	}
	var all []example
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var kinds []struct {
			Name     string            `json:"name"`
			Examples []json.RawMessage `json:"examples"`
		}
		if err := json.Unmarshal(text, &kinds); err != nil {
			t.Fatal(err)
		}
		for _, kind := range kinds {
			for _, raw := range kind.Examples {
				if kind.Name != "workflow_job" {
					continue
				}
				e := example{body: string(raw)}
				if err := json.Unmarshal(raw, &e); err != nil {
					t.Fatal(err)
				}
				all = append(all, e)
			}
		}
	}
	if len(all) < 8 {
		t.Fatalf("found %d examples of workflow_job", len(all))
	}
	return all
}

// poolFor serves the job of an example.
func poolFor(e example, name string) *v1alpha1.RunnerPool {
	p := repositoryPool("ci", name, "", func(s *v1alpha1.RunnerPoolSpec) {
		s.Repository, s.Labels = e.Repository.FullName, nil
		for _, label := range e.Job.Labels {
			s.Labels = append(s.Labels, v1alpha1.RunnerLabel(label))
		}
		s.GitHub.URL = strings.TrimSuffix(e.Repository.HTMLURL, "/"+e.Repository.FullName)
	})
	return p
}

var stateOf = map[string]v1alpha1.JobState{
	"queued": v1alpha1.JobQueued, "waiting": v1alpha1.JobWaiting, "in_progress": v1alpha1.JobInProgress, "completed": v1alpha1.JobCompleted,
}

func TestEveryExampleThatGitHubPublishesIsUnderstood(t *testing.T) {
	for i, e := range examples(t) {
		t.Run(fmt.Sprintf("%d %s", i, e.Action), func(t *testing.T) {
			r := newReceiver(t, poolFor(e, "p"))
			if code, text := r.deliver(Path, e.body, sharedSecret); code != http.StatusAccepted {
				t.Fatalf("answered %d %s", code, text)
			}
			jobs := r.jobs()
			if len(jobs) != 1 || jobs[0].Spec.ID != e.Job.ID || jobs[0].Spec.Repository != e.Repository.FullName || jobs[0].Status.State != stateOf[e.Job.Status] {
				t.Errorf("stored %+v", jobs)
			}
		})
	}
}

// B03: the examples of one job, in any order and any number, end the same.
func TestB03_ThePermutationsOfTheExamplesEndTheSame(t *testing.T) {
	all := examples(t)
	var pools []client.Object
	known := map[string]bool{}
	for i, e := range all {
		scope := fmt.Sprint(e.Repository, e.Job.Labels)
		if !known[scope] {
			known[scope] = true
			pools = append(pools, poolFor(e, fmt.Sprintf("p%d", i)))
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		r := newReceiver(t, copies(pools)...)
		sent := map[string]v1alpha1.JobState{}
		for _, e := range rapid.SliceOfN(rapid.SampledFrom(all), 1, 24).Draw(rt, "deliveries") {
			key := objectName(poolFor(e, "").Spec.GitHub.URL, e.Job.ID)
			if code, text := r.deliver(Path, e.body, sharedSecret); code != http.StatusAccepted {
				rt.Fatalf("answered %d %s", code, text)
			}
			if state := stateOf[e.Job.Status]; rank[state] >= rank[sent[key]] {
				sent[key] = state
			}
			r.clock.Step(time.Second)
		}
		stored := r.jobs()
		if len(stored) != len(sent) {
			rt.Fatalf("%d jobs are stored of %d", len(stored), len(sent))
		}
		for _, job := range stored {
			if job.Status.State != sent[job.Name] {
				rt.Errorf("%s is %s, want %s", job.Name, job.Status.State, sent[job.Name])
			}
		}
	})
}

func copies(objects []client.Object) []client.Object {
	var all []client.Object
	for _, o := range objects {
		all = append(all, o.DeepCopyObject().(client.Object))
	}
	return all
}
