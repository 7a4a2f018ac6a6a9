package ingress

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/github"
)

// B03: whatever the order and repetition of sightings, the end is the same once the last state was among them.
func TestAdvanceEndsTheSameInAnyOrder(t *testing.T) {
	begun := time.Unix(1_700_000_000, 0)
	sightings := []github.Job{
		{State: v1alpha1.JobQueued, CreatedAt: begun, StartedAt: begun},
		{State: v1alpha1.JobInProgress, CreatedAt: begun, StartedAt: begun.Add(time.Minute), RunnerName: "r"},
		{State: v1alpha1.JobCompleted, CreatedAt: begun, StartedAt: begun.Add(time.Minute), CompletedAt: begun.Add(time.Hour), RunnerName: "r", Conclusion: "success"},
	}
	rapid.Check(t, func(t *rapid.T) {
		order := rapid.Permutation(append(sightings, rapid.SliceOf(rapid.SampledFrom(sightings)).Draw(t, "repeats")...)).Draw(t, "order")
		var status v1alpha1.WorkflowJobStatus
		for _, seen := range order {
			before := rank[status.State]
			status = advance(status, seen)
			if rank[status.State] < before {
				t.Fatalf("went back to %s", status.State)
			}
		}
		if status.State != v1alpha1.JobCompleted || status.Conclusion != "success" || status.RunnerName != "r" ||
			!status.StartedAt.Time.Equal(begun.Add(time.Minute)) || !status.CompletedAt.Time.Equal(begun.Add(time.Hour)) {
			t.Fatalf("ended as %+v", status)
		}
	})
}

func TestAdvanceLetsAGateCloseAndOpen(t *testing.T) {
	var status v1alpha1.WorkflowJobStatus
	for _, state := range []v1alpha1.JobState{v1alpha1.JobQueued, v1alpha1.JobWaiting, v1alpha1.JobQueued} {
		if status = advance(status, github.Job{State: state}); status.State != state {
			t.Fatalf("is %s after %s", status.State, state)
		}
	}
	status = advance(status, github.Job{State: v1alpha1.JobInProgress})
	if status = advance(status, github.Job{State: v1alpha1.JobWaiting}); status.State != v1alpha1.JobInProgress {
		t.Errorf("a job in progress became %s", status.State)
	}
}

func pool(name string, change func(*v1alpha1.RunnerPoolSpec)) v1alpha1.RunnerPool {
	p := v1alpha1.RunnerPool{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name}}
	p.Spec.GitHub.URL = "https://github.com"
	p.Spec.Labels = []v1alpha1.RunnerLabel{"modal"}
	change(&p.Spec)
	return p
}

// B10: narrower scope, then fewer spare labels, then priority, then name.
func TestChoose(t *testing.T) {
	ofRepository := func(s *v1alpha1.RunnerPoolSpec) { s.Repository = "octo/widgets" }
	ofOrganization := func(s *v1alpha1.RunnerPoolSpec) { s.Organization = "Octo" }
	ofEnterprise := func(s *v1alpha1.RunnerPoolSpec) { s.Enterprise = "inc" }
	job := github.Job{Repository: "octo/Widgets", Labels: []string{"Modal"}}
	for name, test := range map[string]struct {
		pools []v1alpha1.RunnerPool
		want  string
	}{
		"the narrower scope": {[]v1alpha1.RunnerPool{pool("a", ofEnterprise), pool("b", ofOrganization), pool("c", ofRepository)}, "c"},
		"the organization's": {[]v1alpha1.RunnerPool{pool("a", ofEnterprise), pool("b", ofOrganization)}, "b"},
		"the enterprise's":   {[]v1alpha1.RunnerPool{pool("a", ofEnterprise)}, "a"},
		"fewer spare labels": {[]v1alpha1.RunnerPool{pool("a", func(s *v1alpha1.RunnerPoolSpec) {
			ofRepository(s)
			s.Labels = append(s.Labels, "gpu")
			s.Priority = 9
		}), pool("b", ofRepository)}, "b"},
		"the higher priority": {[]v1alpha1.RunnerPool{pool("a", ofRepository), pool("b", func(s *v1alpha1.RunnerPoolSpec) {
			ofRepository(s)
			s.Priority = 1
		})}, "b"},
		"the first name":       {[]v1alpha1.RunnerPool{pool("b", ofRepository), pool("a", ofRepository)}, "a"},
		"another repository":   {[]v1alpha1.RunnerPool{pool("a", func(s *v1alpha1.RunnerPoolSpec) { s.Repository = "octo/gadgets" })}, ""},
		"another organization": {[]v1alpha1.RunnerPool{pool("a", func(s *v1alpha1.RunnerPoolSpec) { s.Organization = "other" })}, ""},
		"another server": {[]v1alpha1.RunnerPool{pool("a", func(s *v1alpha1.RunnerPoolSpec) {
			ofRepository(s)
			s.GitHub.URL = "https://ghe.example.com"
		})}, ""},
		"other labels": {[]v1alpha1.RunnerPool{pool("a", func(s *v1alpha1.RunnerPoolSpec) {
			ofRepository(s)
			s.Labels = []v1alpha1.RunnerLabel{"other"}
		})}, ""},
		"a pool that is being deleted": {[]v1alpha1.RunnerPool{func() v1alpha1.RunnerPool {
			p := pool("a", ofRepository)
			now := metav1.Now()
			p.DeletionTimestamp = &now
			return p
		}()}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if p := choose(test.pools, Origin{Server: "https://github.com", Organization: "octo", Enterprise: "inc"}, job); p != nil {
				got = p.Name
			}
			if got != test.want {
				t.Errorf("chose %q, want %q", got, test.want)
			}
		})
	}
}

func TestObjectNamesOfTwoServersDiffer(t *testing.T) {
	a, b, c := objectName("https://github.com", 1), objectName("https://ghe.example.com", 1), objectName("https://other.example.com", 1)
	if a != "job-1" || b == a || c == a || b == c {
		t.Errorf("%s %s %s", a, b, c)
	}
	// 32 bits of a host are soon met by another that is looked for: at least 64 have to be in the name.
	if digits := len(b) - len("job--1"); digits < 16 {
		t.Errorf("%s tells %d hexadecimal digits of its host", b, digits)
	}
}
