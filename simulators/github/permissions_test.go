package github

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	gh "github.com/google/go-github/v60/github"
)

// refusalOf a call, nil when it was allowed.
func refusalOf(t *testing.T, err error) *http.Response {
	t.Helper()
	var answer *gh.ErrorResponse
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &answer):
		t.Fatal(err)
	}
	return answer.Response
}

// calls that tokens are tried with.
var calls = map[string]func(context.Context, *gh.Client) error{
	"list runners": func(ctx context.Context, c *gh.Client) error {
		_, _, err := c.Actions.ListRunners(ctx, "octo", "widgets", nil)
		return err
	},
	"mint": func(ctx context.Context, c *gh.Client) error {
		_, err := c.Actions.RemoveRunner(ctx, "octo", "widgets", 1)
		return err
	},
	"mint public": func(ctx context.Context, c *gh.Client) error {
		_, err := c.Actions.RemoveRunner(ctx, "octo", "open", 1)
		return err
	},
	"org runners": func(ctx context.Context, c *gh.Client) error {
		_, _, err := c.Actions.ListOrganizationRunners(ctx, "octo", nil)
		return err
	},
	"groups": func(ctx context.Context, c *gh.Client) error {
		_, _, err := c.Actions.ListOrganizationRunnerGroups(ctx, "octo", nil)
		return err
	},
	"enterprise": func(ctx context.Context, c *gh.Client) error {
		_, _, err := c.Enterprise.ListRunners(ctx, "inc", nil)
		return err
	},
	"runs": func(ctx context.Context, c *gh.Client) error {
		_, _, err := c.Actions.ListRepositoryWorkflowRuns(ctx, "octo", "widgets", nil)
		return err
	},
	"public runs": func(ctx context.Context, c *gh.Client) error {
		_, _, err := c.Actions.ListRepositoryWorkflowRuns(ctx, "octo", "open", nil)
		return err
	},
	"hooks": func(ctx context.Context, c *gh.Client) error {
		_, _, err := c.Repositories.ListHooks(ctx, "octo", "widgets", nil)
		return err
	},
	"delete hook": func(ctx context.Context, c *gh.Client) error {
		_, err := c.Repositories.DeleteHook(ctx, "octo", "widgets", 1)
		return err
	},
	"org hooks": func(ctx context.Context, c *gh.Client) error {
		_, _, err := c.Organizations.ListHooks(ctx, "octo", nil)
		return err
	},
	"installation": func(ctx context.Context, c *gh.Client) error {
		_, _, err := c.Apps.ListRepos(ctx, nil)
		return err
	},
}

// refusal that is wanted: a part of the message, and a header. What a call does not find is allowed to be looked for.
type refusal struct {
	status          int
	message, header string
}

func check(t *testing.T, client *gh.Client, want map[string]refusal) {
	t.Helper()
	for name, call := range calls {
		err := call(t.Context(), client)
		resp := refusalOf(t, err)
		w, refused := want[name]
		if !refused {
			mayBeMissing := strings.HasPrefix(name, "mint") || name == "delete hook"
			if resp != nil && (resp.StatusCode != http.StatusNotFound || !mayBeMissing) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if resp == nil || resp.StatusCode != w.status || !strings.Contains(err.Error(), w.message) {
			t.Errorf("%s: %v, want %v", name, err, w)
			continue
		}
		header, value, _ := strings.Cut(w.header, ": ")
		if header != "" && resp.Header.Get(header) != value {
			t.Errorf("%s: %s is %q, want %q", name, header, resp.Header.Get(header), value)
		}
	}
}

const (
	byToken = "Resource not accessible by personal access token"
	byApp   = "Resource not accessible by integration"
	notApp  = "You must authenticate with an installation access token"
	accepts = "X-Accepted-GitHub-Permissions: "
	scopes  = "X-Accepted-OAuth-Scopes: "
)

func newWorld(t *testing.T) *Server {
	t.Helper()
	s := newOcto(t)
	s.AddRepository("octo/open", false)
	return s
}

func TestAFineGrainedTokenMayWhatItsPermissionsSay(t *testing.T) {
	s := newWorld(t)
	s.AddTokenWith("all", FineGrainedToken, []string{"octo", "inc"}, allPermissions())
	check(t, newClient(t, s, "all"), map[string]refusal{
		"enterprise": {403, byToken, ""}, "installation": {403, notApp, ""},
	})
	s.AddTokenWith("few", FineGrainedToken, []string{"octo"}, map[string]string{"administration": "read"})
	check(t, newClient(t, s, "few"), map[string]refusal{
		"mint": {403, byToken, accepts + "administration=write"}, "mint public": {403, byToken, accepts + "administration=write"},
		"org runners": {403, byToken, accepts + "organization_self_hosted_runners=read"},
		"groups":      {403, byToken, accepts + "organization_self_hosted_runners=read"},
		"runs":        {403, byToken, accepts + "actions=read"}, "hooks": {403, byToken, accepts + "repository_hooks=read"},
		"delete hook": {403, byToken, accepts + "repository_hooks=write"}, "org hooks": {403, byToken, accepts + "organization_hooks=read"},
		"enterprise": {403, byToken, ""}, "installation": {403, notApp, ""},
	})
}

func TestATokenOfOthersSeesOnlyWhatIsPublic(t *testing.T) {
	s := newWorld(t)
	s.AddTokenWith("fine", FineGrainedToken, []string{"other"}, allPermissions())
	hidden := refusal{404, "Not Found", ""}
	check(t, newClient(t, s, "fine"), map[string]refusal{
		"list runners": hidden, "mint": hidden, "mint public": {403, byToken, ""}, "org runners": {403, byToken, ""}, "groups": {403, byToken, ""},
		"enterprise": {403, byToken, ""}, "runs": hidden, "hooks": hidden, "delete hook": hidden, "org hooks": {403, byToken, ""},
		"installation": {403, notApp, ""},
	})
	s.AddTokenWith("classic", ClassicToken, []string{"other"}, map[string]string{"repo": "", "admin:org": ""})
	check(t, newClient(t, s, "classic"), map[string]refusal{
		"list runners": hidden, "mint": hidden, "mint public": {403, "Must have admin rights to Repository.", scopes + "repo"},
		"org runners": hidden, "groups": hidden, "enterprise": hidden, "runs": hidden, "hooks": hidden, "delete hook": hidden, "org hooks": hidden,
		"installation": {403, notApp, ""},
	})
}

func TestAClassicTokenMayWhatItsScopesSay(t *testing.T) {
	s := newWorld(t)
	s.AddTokenWith("repo", ClassicToken, []string{"octo", "inc"}, map[string]string{"repo": "", "workflow": ""})
	missing := func(accepted string) refusal { return refusal{404, "Not Found", scopes + accepted} }
	check(t, newClient(t, s, "repo"), map[string]refusal{
		"org runners": missing("admin:org, manage_runners:org"), "groups": missing("admin:org, manage_runners:org"),
		"enterprise": missing("admin:enterprise, manage_runners:enterprise"), "org hooks": missing("admin:org_hook"),
		"installation": {403, notApp, "X-OAuth-Scopes: repo, workflow"},
	})
	s.AddTokenWith("none", ClassicToken, []string{"octo"}, map[string]string{"read:repo_hook": ""})
	check(t, newClient(t, s, "none"), map[string]refusal{
		"list runners": missing("repo"), "mint": missing("repo"), "mint public": {403, "Must have admin rights", scopes + "repo"},
		"org runners": missing("admin:org, manage_runners:org"), "groups": missing("admin:org, manage_runners:org"),
		"enterprise": missing("admin:enterprise, manage_runners:enterprise"), "runs": missing("repo"), "org hooks": missing("admin:org_hook"),
		"delete hook": missing("admin:repo_hook, repo"), "installation": {403, notApp, ""},
	})
	_, resp, err := newClient(t, s, "repo").RateLimit.Get(t.Context())
	must(t, err)
	if resp.Header.Get("X-OAuth-Scopes") != "repo, workflow" {
		t.Errorf("an answer to a classic token has the headers %v", resp.Header)
	}
}

func TestCredentialsCanBeRefusedByTheOrganization(t *testing.T) {
	s := newWorld(t)
	s.AddTokenWith("classic", ClassicToken, []string{"octo"}, map[string]string{"repo": ""})
	client := newClient(t, s, "classic")
	runs := func() (*http.Response, error) {
		err := calls["runs"](t.Context(), client)
		return refusalOf(t, err), err
	}
	s.RequireSSO("octo", "classic")
	resp, err := runs()
	if resp.StatusCode != http.StatusForbidden || !strings.HasPrefix(resp.Header.Get("X-GitHub-SSO"), "required; url=https://github.com/orgs/octo/sso?authorization_request=") ||
		!strings.Contains(err.Error(), "SAML enforcement") {
		t.Errorf("refused with %v %v", err, resp.Header)
	}
	s.RequireSSO("octo")
	s.RefuseIP("octo")
	if resp, err = runs(); resp.StatusCode != http.StatusForbidden || !strings.Contains(err.Error(), "`octo` organization has an IP allow list enabled") {
		t.Errorf("refused with %v", err)
	}
	s.AllowIP("octo")
	if resp, err = runs(); resp != nil {
		t.Error(err)
	}
	s.ExpireToken("classic")
	if resp, err = runs(); resp.StatusCode != http.StatusUnauthorized || !strings.Contains(err.Error(), "Bad credentials") {
		t.Errorf("refused with %v", err)
	}
}
