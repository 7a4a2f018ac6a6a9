package github

import (
	"testing"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
)

func TestARunnerGroupIsAskedForOnceAndAgainWhenItIsGone(t *testing.T) {
	for name, at := range map[string]struct {
		scope    v1alpha1.Scope
		simulate string
		list     string
	}{
		"of an organization": {ofOcto, "octo", "GET /orgs/{org}/actions/runner-groups 200"},
		"of an enterprise":   {v1alpha1.Scope{Enterprise: "inc"}, "enterprise:inc", "GET /enterprises/{enterprise}/actions/runner-groups 200"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSecretWorld(t, map[string]string{KeyToken: "token"})
			w.github.AddToken("token", "octo", "inc")
			group := w.github.AddRunnerGroup(at.simulate, "Modal")
			scope := ScopeOf(w.github.URL(), at.scope)
			client, err := w.clients.For(t.Context(), "ci", v1alpha1.GitHub{URL: w.github.URL(), SecretName: "github"}, scope)
			if err != nil {
				t.Fatal(err)
			}
			mint := func(runner string) error {
				_, err := client.CreateJITRunner(t.Context(), scope, "modal", runner, []string{"x"})
				return err
			}
			for _, runner := range []string{"r-1", "r-2", "r-3"} {
				if err := mint(runner); err != nil {
					t.Fatal(err)
				}
			}
			if got := w.github.Requests()[at.list]; got != 1 {
				t.Errorf("it was asked for %d times", got)
			}
			w.github.RemoveRunnerGroup(group)
			if err := mint("r-4"); !fault.Is(err, fault.Forbidden) {
				t.Errorf("in a group that is gone: %v", err)
			}
			if err := client.CheckAccess(t.Context(), scope, ""); err != nil {
				t.Errorf("what was refused in one group is held against another: %v", err)
			}
			if err := mint("r-4"); !fault.Is(err, fault.NoRunnerGroup) {
				t.Errorf("then: %v", err)
			}
			w.github.AddRunnerGroup(at.simulate, "MODAL")
			if err := mint("r-4"); err != nil {
				t.Errorf("in the group that was made again: %v", err)
			}
		})
	}
}
