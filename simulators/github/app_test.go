package github

import (
	"crypto/rsa"
	"net/http"
	"testing"
	"time"

	gh "github.com/google/go-github/v60/github"
)

// newApp 7, installed on octo as 70.
func newApp(t *testing.T) (*Server, *rsa.PrivateKey, *gh.Client) {
	t.Helper()
	s, key := newWorld(t), newKey(t)
	s.AddApp(7, &key.PublicKey, 70, "octo")
	return s, key, newClient(t, s, signed(t, key, "7"))
}

func installed(t *testing.T, s *Server, app *gh.Client, id int64) *gh.Client {
	t.Helper()
	token, _, err := app.Apps.CreateInstallationToken(t.Context(), id, nil)
	must(t, err)
	return newClient(t, s, token.GetToken())
}

func TestAnAppMayWhatItsPermissionsSay(t *testing.T) {
	s, _, app := newApp(t)
	token, _, err := app.Apps.CreateInstallationToken(t.Context(), 70, nil)
	must(t, err)
	if p := token.Permissions; p.GetAdministration() != "write" || p.GetActions() != "read" || p.GetOrganizationSelfHostedRunners() != "write" ||
		p.GetRepositoryHooks() != "write" || p.GetOrganizationHooks() != "write" || p.GetMetadata() != "read" {
		t.Errorf("the token has %v", p)
	}
	octo := newClient(t, s, token.GetToken())
	check(t, octo, map[string]refusal{"enterprise": {403, byApp, ""}})
	s.SetAppPermissions(7, map[string]string{"organization_self_hosted_runners": "write", "actions": "read", "repository_hooks": "read", "organization_hooks": "write"})
	few := map[string]refusal{
		"enterprise": {403, byApp, ""}, "list runners": {403, byApp, accepts + "administration=read"}, "mint": {403, byApp, accepts + "administration=write"},
		"mint public": {403, byApp, ""}, "delete hook": {403, byApp, accepts + "repository_hooks=write"},
	}
	check(t, octo, few)
	check(t, installed(t, s, app, 70), few)

	s.AddApp(7, s.apps[7].key, 71, "enterprise:inc")
	s.SetAppPermissions(7, allPermissions())
	must(t, calls["enterprise"](t.Context(), installed(t, s, app, 71)))
}

func TestASuspendedInstallationIsRefusedUntilItIsNot(t *testing.T) {
	s, _, app := newApp(t)
	octo := installed(t, s, app, 70)
	s.SuspendInstallation(70)
	_, _, err := app.Apps.CreateInstallationToken(t.Context(), 70, nil)
	mustStatus(t, err, http.StatusForbidden)
	mustStatus(t, calls["runs"](t.Context(), octo), http.StatusForbidden)
	s.UnsuspendInstallation(70)
	must(t, calls["runs"](t.Context(), octo))
}

func TestAnAppCanBeUninstalledAndInstalledAgain(t *testing.T) {
	s, _, app := newApp(t)
	octo := installed(t, s, app, 70)
	s.UninstallApp(7)
	_, _, err := app.Apps.FindOrganizationInstallation(t.Context(), "octo")
	mustStatus(t, err, http.StatusNotFound)
	_, _, err = app.Apps.CreateInstallationToken(t.Context(), 70, nil)
	mustStatus(t, err, http.StatusNotFound)
	mustStatus(t, calls["runs"](t.Context(), octo), http.StatusUnauthorized)
	s.ReinstallApp(7, 71)
	found, _, err := app.Apps.FindOrganizationInstallation(t.Context(), "octo")
	must(t, err)
	if found.GetID() != 71 {
		t.Errorf("installed as %d", found.GetID())
	}
	must(t, calls["runs"](t.Context(), installed(t, s, app, 71)))
	mustStatus(t, calls["runs"](t.Context(), octo), http.StatusUnauthorized)
}

func TestAnAppsSignatureIsCheckedAsGitHubDoes(t *testing.T) {
	s, key, _ := newApp(t)
	now := time.Now()
	for name, c := range map[string]struct {
		text string
		good bool
	}{
		"good":         {signed(t, key, "7"), true},
		"clock ahead":  {signedFor(t, key, "7", now.Add(50*time.Second), now.Add(9*time.Minute)), true},
		"future":       {signedFor(t, key, "7", now.Add(2*time.Minute), now.Add(9*time.Minute)), false},
		"expired":      {signedFor(t, key, "7", now.Add(-2*time.Minute), now.Add(-time.Minute)), false},
		"for too long": {signedFor(t, key, "7", now, now.Add(11*time.Minute)), false},
		"another key":  {signed(t, newKey(t), "7"), false},
		"another App":  {signed(t, key, "8"), false},
		"no signature": {"x", false},
	} {
		_, _, err := newClient(t, s, c.text).Apps.FindOrganizationInstallation(t.Context(), "octo")
		if c.good {
			must(t, err)
		} else if resp := refusalOf(t, err); resp == nil || resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnInstallationTokenCanBeForFewer(t *testing.T) {
	s, _, app := newApp(t)
	opts := &gh.InstallationTokenOptions{Repositories: []string{"open"}, Permissions: &gh.InstallationPermissions{Actions: gh.String("read")}}
	token, _, err := app.Apps.CreateInstallationToken(t.Context(), 70, opts)
	must(t, err)
	list, _, err := newClient(t, s, token.GetToken()).Apps.ListRepos(t.Context(), nil)
	must(t, err)
	if list.GetTotalCount() != 1 || list.Repositories[0].GetFullName() != "octo/open" {
		t.Errorf("the token sees %v", list)
	}
	mustStatus(t, calls["runs"](t.Context(), newClient(t, s, token.GetToken())), http.StatusNotFound)
	opts.Permissions.Actions = gh.String("write")
	_, _, err = app.Apps.CreateInstallationToken(t.Context(), 70, opts)
	mustStatus(t, err, http.StatusUnprocessableEntity)
}
