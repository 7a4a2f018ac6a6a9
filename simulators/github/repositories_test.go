package github

import (
	"slices"
	"testing"
	"time"

	gh "github.com/google/go-github/v60/github"
	testclock "k8s.io/utils/clock/testing"
)

func TestRepositoriesAreListedToThoseWhoMaySeeThem(t *testing.T) {
	clock := testclock.NewFakeClock(time.Now())
	s := New(Options{Clock: clock})
	must(t, s.Start("127.0.0.1:0"))
	t.Cleanup(s.Close)
	for _, name := range []string{"octo/b", "octo/a", "octo/c", "other/d"} {
		s.AddRepository(name, name != "octo/c")
		clock.Step(time.Minute)
	}
	s.AddToken("all", "octo")
	s.AddToken("one", "octo/b")
	s.AddTokenWith("public", ClassicToken, []string{"octo"}, nil)
	list := func(token, sort, direction string) []string {
		found, _, err := newClient(t, s, token).Repositories.ListByOrg(t.Context(), "octo", &gh.RepositoryListByOrgOptions{Sort: sort, Direction: direction})
		must(t, err)
		var names []string
		for _, r := range found {
			names = append(names, r.GetName())
		}
		return names
	}
	s.AddQueuedJob("octo/b", "x", []string{"modal"})
	for _, c := range []struct {
		token, sort, direction string
		want                   []string
	}{
		{"all", "", "", []string{"c", "a", "b"}}, {"all", "full_name", "", []string{"a", "b", "c"}}, {"all", "full_name", "desc", []string{"c", "b", "a"}},
		{"all", "pushed", "", []string{"b", "c", "a"}}, {"one", "full_name", "", []string{"b", "c"}}, {"public", "", "", []string{"c"}},
	} {
		if got := list(c.token, c.sort, c.direction); !slices.Equal(got, c.want) {
			t.Errorf("%s by %s %s: %v, want %v", c.token, c.sort, c.direction, got, c.want)
		}
	}
	clock.Step(time.Minute)
	s.ChangeRepository("octo/a", func(r *Repository) { r.Archived, r.ForksCount, r.PushedAtStays = true, 3, true })
	s.AddQueuedJob("octo/a", "by a schedule", []string{"modal"})
	found, _, err := newClient(t, s, "all").Repositories.ListByOrg(t.Context(), "octo", &gh.RepositoryListByOrgOptions{Sort: "updated"})
	must(t, err)
	if r := found[0]; r.GetName() != "a" || !r.GetArchived() || r.GetForksCount() != 3 || r.GetVisibility() != "private" || clock.Since(r.GetPushedAt().Time) < time.Minute {
		t.Errorf("found %v", r)
	}
}

func TestARunOfAForkSaysSo(t *testing.T) {
	s := newOcto(t)
	s.AddForkJob("octo/widgets", "mallory/widgets", "build", []string{"modal"})
	runs, _, err := newClient(t, s, "t").Actions.ListRepositoryWorkflowRuns(t.Context(), "octo", "widgets", &gh.ListWorkflowRunsOptions{Event: "pull_request"})
	must(t, err)
	run, _, err := newClient(t, s, "t").Actions.GetWorkflowRunByID(t.Context(), "octo", "widgets", runs.WorkflowRuns[0].GetID())
	must(t, err)
	if head := run.HeadRepository; run.GetEvent() != "pull_request" || head.GetFullName() != "mallory/widgets" || !head.GetFork() || run.Repository.GetFork() {
		t.Errorf("the run is %v", run)
	}
}
