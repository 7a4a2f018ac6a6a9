package github

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	gh "github.com/google/go-github/v60/github"

	"github.com/modalrunner/modal-runner-controller/internal/fault"
)

// app authenticates requests as a GitHub App's installation. The installation is looked up with the first request, unless
// the Secret names one, so that making a client never waits for GitHub. Tokens are refreshed a minute before they expire, by
// the library.
type app struct {
	id    int64
	given int64
	asApp *ghinstallation.AppsTransport
	// self calls GitHub as the App itself, which has limits of its own.
	self *Client

	mu sync.Mutex
	// scopes that are served by the installation: it is found by any that it covers.
	scopes       []Scope
	installation *ghinstallation.Transport
}

// serve a scope too.
func (a *app) serve(scope Scope) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Contains(a.scopes, scope) {
		a.scopes = append(a.scopes, scope)
	}
}

// ofEnterprise says whether the App is used as installed on an enterprise.
func (a *app) ofEnterprise() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.scopes, func(s Scope) bool { return s.Enterprise != "" })
}

// RoundTrip implements http.RoundTripper.
func (a *app) RoundTrip(req *http.Request) (*http.Response, error) {
	installation, err := a.installed(req.Context())
	if err == nil {
		_, err = installation.Token(req.Context())
	}
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		a.forget(installation)
		return nil, a.explain(err)
	}
	resp, err := installation.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		// The token was revoked before its time, as when the App is uninstalled: the next call asks for all anew.
		a.forget(installation)
	}
	return resp, err
}

// installed gives the installation, which is looked up once.
func (a *app) installed(ctx context.Context) (*ghinstallation.Transport, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.installation != nil {
		return a.installation, nil
	}
	id := a.given
	if id == 0 {
		found, err := a.find(ctx)
		if err != nil {
			return nil, err
		}
		id = found
	}
	// The library changes what it is given.
	own := *a.asApp
	a.installation = ghinstallation.NewFromAppsTransport(&own, id)
	return a.installation, nil
}

// forget an installation that was refused, unless another has taken its place.
func (a *app) forget(refused *ghinstallation.Transport) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if refused != nil && a.installation == refused {
		a.installation = nil
	}
}

// find the installation by the first scope that it covers: an App may be installed on some repositories of an owner only.
// The lock is held.
func (a *app) find(ctx context.Context) (int64, error) {
	var refused []string
	for _, scope := range a.scopes {
		id, err := a.findFor(ctx, scope)
		if err == nil {
			return id, nil
		}
		if !fault.Is(err, fault.NotFound) {
			return 0, err
		}
		refused = append(refused, scope.String())
	}
	return 0, &fault.Error{
		Op: findInstall.name, Class: fault.Forbidden,
		Message: "the GitHub App is not installed on " + strings.Join(refused, " or ") + ": install it there",
	}
}

func (a *app) findFor(ctx context.Context, scope Scope) (int64, error) {
	var found *gh.Installation
	err := a.self.do(ctx, findInstall, func(ctx context.Context) (resp *gh.Response, err error) {
		switch {
		case scope.Repository != "":
			found, resp, err = a.self.rest.Apps.FindRepositoryInstallation(ctx, scope.Owner, scope.Repository)
		case scope.Enterprise != "":
			found, resp, err = a.findEnterprise(ctx, scope.Enterprise)
		default:
			found, resp, err = a.self.rest.Apps.FindOrganizationInstallation(ctx, scope.Owner)
		}
		return resp, err
	})
	var refusal *fault.Error
	if errors.As(err, &refusal) && refusal.Class == fault.Unauthorized {
		refusal.Message += wrongKey
	}
	return found.GetID(), err
}

// findEnterprise: go-github v60 does not know this call.
// Source: docs.github.com/enterprise-cloud@latest/rest/apps/apps#get-an-enterprise-installation-for-the-authenticated-app.
func (a *app) findEnterprise(ctx context.Context, enterprise string) (*gh.Installation, *gh.Response, error) {
	req, err := a.self.rest.NewRequest(http.MethodGet, "enterprises/"+enterprise+"/installation", nil)
	if err != nil {
		return nil, nil, err
	}
	found := new(gh.Installation)
	resp, err := a.self.rest.Do(ctx, req, found)
	return found, resp, err
}

// wrongKey is what a refusal of the App itself means.
var wrongKey = fmt.Sprintf("; check %s and %s: the key must be one of this App's", KeyAppID, KeyPrivateKey)

// explain why there is no token of the installation.
func (a *app) explain(err error) error {
	var refused *ghinstallation.HTTPError
	switch {
	case !errors.As(err, &refused):
		return err
	case refused.Response == nil:
		return fault.FromContext(mintToken.name, stripURL(refused.RootCause))
	}
	text, _ := io.ReadAll(io.LimitReader(refused.Response.Body, maxErrorBody))
	_ = refused.Response.Body.Close()
	status, header := refused.Response.StatusCode, refused.Response.Header
	if limits(status, header) || strings.Contains(string(text), "secondary rate limit") {
		return throttled(mintToken, waitFor(header, a.self.clock.Now(), func() time.Duration { return defaultThrottle }), nil)
	}
	refusal := &fault.Error{Op: mintToken.name, Class: classOf(status), Message: fmt.Sprintf("GitHub answered %d: %s", status, messageIn(text))}
	switch status {
	case http.StatusUnauthorized:
		refusal.Message += wrongKey
	case http.StatusForbidden:
		refusal.Message += "; if the App's installation is suspended, unsuspend it"
	case http.StatusNotFound:
		refusal.Class = fault.Forbidden
		if a.given != 0 {
			refusal.Message += fmt.Sprintf("; the App has no installation %d: correct %s, or remove it to have the installation found", a.given, KeyInstallationID)
		} else {
			refusal.Message += "; the App's installation is gone: install it again"
		}
	}
	return refusal
}
