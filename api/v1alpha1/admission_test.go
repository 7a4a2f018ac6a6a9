package v1alpha1

import "testing"

func TestRepositoryFilter(t *testing.T) {
	for name, test := range map[string]struct {
		filter *RepositoryFilter
		yes    []string
		no     []string
	}{
		"none":           {nil, []string{"octo/widgets"}, nil},
		"empty":          {&RepositoryFilter{}, []string{"octo/widgets"}, nil},
		"by name":        {&RepositoryFilter{Include: []RepositoryPattern{"Widgets"}}, []string{"octo/widgets", "other/WIDGETS"}, []string{"octo/gadgets"}},
		"by owner":       {&RepositoryFilter{Include: []RepositoryPattern{"octo/*"}}, []string{"Octo/widgets"}, []string{"other/widgets"}},
		"with wildcards": {&RepositoryFilter{Include: []RepositoryPattern{"svc-*", "lib-?"}}, []string{"octo/svc-a", "octo/lib-1"}, []string{"octo/lib-10", "octo/a-svc-"}},
		"exclude":        {&RepositoryFilter{Exclude: []RepositoryPattern{"*-public"}}, []string{"octo/widgets"}, []string{"octo/docs-public"}},
		"exclude wins":   {&RepositoryFilter{Include: []RepositoryPattern{"octo/*"}, Exclude: []RepositoryPattern{"octo/secret"}}, []string{"octo/widgets"}, []string{"octo/secret"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, repository := range test.yes {
				if !test.filter.Covers(repository) {
					t.Errorf("%s is not covered", repository)
				}
			}
			for _, repository := range test.no {
				if test.filter.Covers(repository) {
					t.Errorf("%s is covered", repository)
				}
			}
		})
	}
}

func TestWants(t *testing.T) {
	queued := func(change func(*WorkflowJob)) *WorkflowJob {
		job := &WorkflowJob{
			Spec:   WorkflowJobSpec{Repository: "octo/widgets"},
			Status: WorkflowJobStatus{State: JobQueued, HeadRepository: "Octo/Widgets"},
		}
		change(job)
		return job
	}
	open := RunnerPoolSpec{AllowForks: true, AllowPublicRepositories: true}
	for name, test := range map[string]struct {
		change       func(*WorkflowJob)
		strict, open bool
	}{
		"the repository's own":   {func(*WorkflowJob) {}, true, true},
		"from a fork":            {func(j *WorkflowJob) { j.Status.HeadRepository = "mallory/widgets" }, false, true},
		"from who knows where":   {func(j *WorkflowJob) { j.Status.HeadRepository = "" }, false, true},
		"of a public repository": {func(j *WorkflowJob) { j.Spec.Public = true }, false, true},
		"unconfirmed":            {func(j *WorkflowJob) { j.Status.Unconfirmed = true }, false, false},
		"in progress":            {func(j *WorkflowJob) { j.Status.State = JobInProgress }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			for pool, want := range map[*RunnerPool]bool{{}: test.strict, {Spec: open}: test.open} {
				if got := pool.Wants(queued(test.change)); got != want {
					t.Errorf("with %+v it is wanted: %v", pool.Spec, got)
				}
			}
		})
	}
}
