package github

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	gh "github.com/google/go-github/v60/github"
	"k8s.io/utils/clock"

	"github.com/modalrunner/modal-runner-controller/internal/fault"
)

// app authenticates requests as a GitHub App's installation. The installation that covers the scope is looked up with the
// first request, unless the Secret names one, so that making a client never waits for GitHub. Tokens are refreshed a minute
// before they expire, by the library.
type app struct {
	id    int64
	asApp *ghinstallation.AppsTransport
	// lookup authenticates as the App itself.
	lookup *gh.Client
	scope  Scope
	given  int64
	clock  clock.PassiveClock

	mu           sync.Mutex
	installation *ghinstallation.Transport
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
		id = found.GetID()
	}
	a.installation = ghinstallation.NewFromAppsTransport(a.asApp, id)
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

func (a *app) find(ctx context.Context) (found *gh.Installation, err error) {
	ctx = withOperation(ctx, findInstall)
	var resp *gh.Response
	switch {
	case a.scope.Repository != "":
		found, resp, err = a.lookup.Apps.FindRepositoryInstallation(ctx, a.scope.Owner, a.scope.Repository)
	case a.scope.Enterprise != "":
		found, resp, err = a.findEnterprise(ctx)
	default:
		found, resp, err = a.lookup.Apps.FindOrganizationInstallation(ctx, a.scope.Owner)
	}
	if err == nil {
		return found, nil
	}
	if resp == nil || resp.Response == nil {
		return nil, fault.FromContext(findInstall.name, stripURL(err))
	}
	return nil, &appError{op: findInstall, status: resp.StatusCode, header: resp.Header, message: messageOf(err, resp)}
}

// findEnterprise: go-github v60 does not know this call.
// Source: docs.github.com/enterprise-cloud@latest/rest/apps/apps#get-an-enterprise-installation-for-the-authenticated-app.
func (a *app) findEnterprise(ctx context.Context) (*gh.Installation, *gh.Response, error) {
	req, err := a.lookup.NewRequest(http.MethodGet, "enterprises/"+a.scope.Enterprise+"/installation", nil)
	if err != nil {
		return nil, nil, err
	}
	found := new(gh.Installation)
	resp, err := a.lookup.Do(ctx, req, found)
	return found, resp, err
}

// appError is an answer of GitHub to the App itself.
type appError struct {
	op      operation
	status  int
	header  http.Header
	message string
}

func (e *appError) Error() string { return e.message }

// explain what an answer to the App itself means for who uses its installation.
func (a *app) explain(err error) error {
	answer := new(appError)
	var refused *ghinstallation.HTTPError
	switch {
	case errors.As(err, &answer):
	case errors.As(err, &refused) && refused.Response != nil:
		text, _ := io.ReadAll(io.LimitReader(refused.Response.Body, maxErrorBody))
		_ = refused.Response.Body.Close()
		answer = &appError{
			op: mintToken, status: refused.Response.StatusCode, header: refused.Response.Header,
			message: fmt.Sprintf("GitHub answered %d: %s", refused.Response.StatusCode, messageIn(text)),
		}
	case errors.As(err, &refused):
		return fault.FromContext(mintToken.name, stripURL(refused.RootCause))
	default:
		return err
	}
	return a.classify(answer)
}

func (a *app) classify(answer *appError) error {
	refusal := &fault.Error{Op: answer.op.name, Class: fault.Transient, Message: answer.message}
	if limits(answer.status, answer.header) {
		return throttled(answer.op, waitFor(answer.header, a.clock.Now(), func() time.Duration { return defaultThrottle }), answer)
	}
	say := func(class fault.Class, what string) error {
		refusal.Class, refusal.Message = class, answer.message+"; "+what
		return refusal
	}
	switch answer.status {
	case http.StatusUnauthorized:
		return say(fault.Unauthorized, fmt.Sprintf("check %s and %s: the key must be one of this App's", KeyAppID, KeyPrivateKey))
	case http.StatusForbidden:
		return say(fault.Forbidden, "if the App's installation on "+a.scope.String()+" is suspended, unsuspend it")
	case http.StatusNotFound:
		if a.given != 0 {
			return say(fault.Forbidden, fmt.Sprintf("the App has no installation %d: correct %s, or remove it to have the installation found", a.given, KeyInstallationID))
		}
		return say(fault.Forbidden, "the GitHub App is not installed on "+a.scope.String()+": install it there")
	}
	return refusal
}
