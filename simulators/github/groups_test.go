package github

import (
	"net/http"
	"testing"

	gh "github.com/google/go-github/v60/github"
)

// candidate registers a runner of an organization or enterprise in a group.
func candidate(t *testing.T, s *Server, name string, group int64) *runner {
	t.Helper()
	made, _, err := newClient(t, s, "t").Actions.GenerateOrgJITConfig(t.Context(), "octo",
		&gh.GenerateJITConfigRequest{Name: name, RunnerGroupID: group, Labels: []string{"modal"}})
	must(t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runners[made.Runner.GetID()]
}

func (s *Server) mayTake(r *runner, id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.matches(r, s.jobs[id])
}

func TestARunnerTakesJobsOfTheRepositoriesOfItsGroup(t *testing.T) {
	s := newOcto(t)
	s.AddRepository("octo/gears", true)
	s.AddRepository("octo/open", false)
	selected, all := s.AddRunnerGroup("octo", "Few", "octo/gears"), s.AddRunnerGroup("octo", "All")
	ofFew, ofAll, ofDefault := candidate(t, s, "few", selected), candidate(t, s, "all", all), candidate(t, s, "default", 1)
	widgets, gears, open := s.AddQueuedJob("octo/widgets", "a", []string{"modal"}), s.AddQueuedJob("octo/gears", "b", []string{"modal"}),
		s.AddQueuedJob("octo/open", "c", []string{"modal"})
	check := func(r *runner, want ...bool) {
		t.Helper()
		for i, id := range []int64{widgets, gears, open} {
			if got := s.mayTake(r, id); got != want[i] {
				t.Errorf("runner %s may take job %d: %v, want %v", r.name, i, got, want[i])
			}
		}
	}
	check(ofFew, false, true, false)
	check(ofAll, true, true, false)
	check(ofDefault, true, true, false)
	s.AllowPublicRepositories("octo", 1, true)
	s.AllowPublicRepositories("octo", all, true)
	check(ofAll, true, true, true)
	check(ofDefault, true, true, true)

	must(t, s.TakeJob(gears, "few"))
	job, _, err := newClient(t, s, "t").Actions.GetWorkflowJobByID(t.Context(), "octo", "gears", gears)
	must(t, err)
	if job.GetRunnerGroupID() != selected || job.GetRunnerGroupName() != "Few" {
		t.Errorf("the job ran in group %d %s", job.GetRunnerGroupID(), job.GetRunnerGroupName())
	}
	s.RemoveRunnerGroup(all)
	check(ofAll, true, true, true)
}

func TestAGroupMustExistAtTheScope(t *testing.T) {
	s := newOcto(t)
	group := s.AddRunnerGroup("octo", "Some", "octo/widgets")
	s.AddToEnterprise("inc", "octo")
	inherited := s.AddRunnerGroup("enterprise:inc", "Theirs")
	client := newClient(t, s, "t")
	request := &gh.GenerateJITConfigRequest{Name: "r", RunnerGroupID: group, Labels: []string{"modal"}}
	_, _, err := client.Actions.GenerateRepoJITConfig(t.Context(), "octo", "widgets", request)
	mustStatus(t, err, http.StatusNotFound)
	_, _, err = client.Enterprise.GenerateEnterpriseJITConfig(t.Context(), "inc", request)
	mustStatus(t, err, http.StatusNotFound)
	request.RunnerGroupID = inherited
	_, _, err = client.Actions.GenerateOrgJITConfig(t.Context(), "octo", request)
	mustStatus(t, err, http.StatusNotFound)
	_, _, err = client.Enterprise.GenerateEnterpriseJITConfig(t.Context(), "inc", request)
	must(t, err)

	groups, _, err := client.Actions.ListOrganizationRunnerGroups(t.Context(), "octo", nil)
	must(t, err)
	if groups.TotalCount != 3 || !groups.RunnerGroups[0].GetDefault() || groups.RunnerGroups[0].GetID() != 1 ||
		groups.RunnerGroups[1].GetVisibility() != "selected" || !groups.RunnerGroups[2].GetInherited() {
		t.Errorf("listed %v", groups)
	}
	s.RemoveRunnerGroup(group)
	request.RunnerGroupID = group
	_, _, err = client.Actions.GenerateOrgJITConfig(t.Context(), "octo", request)
	mustStatus(t, err, http.StatusNotFound)
}

func TestEnterpriseRunnersServeTheOwnersOfTheEnterprise(t *testing.T) {
	s := newOcto(t)
	s.AddRepository("other/things", true)
	ours, theirs := s.AddQueuedJob("octo/widgets", "a", []string{"modal"}), s.AddQueuedJob("other/things", "b", []string{"modal"})
	made, _, err := newClient(t, s, "t").Enterprise.GenerateEnterpriseJITConfig(t.Context(), "inc",
		&gh.GenerateJITConfigRequest{Name: "r", RunnerGroupID: 1, Labels: []string{"modal"}})
	must(t, err)
	r := s.runners[made.Runner.GetID()]
	if !s.mayTake(r, ours) || !s.mayTake(r, theirs) {
		t.Error("an enterprise that nobody was added to does not serve all")
	}
	s.AddToEnterprise("inc", "octo")
	if !s.mayTake(r, ours) || s.mayTake(r, theirs) {
		t.Error("the enterprise does not serve its owners only")
	}
}
