// Package github is the only one that talks to GitHub: runners, jobs, downloads. It speaks in the project's words, gives
// every call a deadline and classifies every error (package fault).
package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"
	"k8s.io/utils/clock"

	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
)

const (
	// callTimeout bounds one HTTP exchange with GitHub.
	callTimeout = 30 * time.Second
	// defaultThrottle is the wait when GitHub throttles without saying for how long; platform-facts: 60 s and doubling.
	defaultThrottle = time.Minute
	maxThrottle     = 15 * time.Minute
	pageSize        = 100
)

// Client calls GitHub with one credential. While GitHub throttles it, calls fail at once with the time to wait for, so
// that no worker sleeps and other credentials go on.
type Client struct {
	rest  *gh.Client
	clock clock.PassiveClock
	gate  gate
}

// newClient for a server whose requests are authenticated by the transport.
func newClient(server string, authenticated http.RoundTripper, clock clock.PassiveClock) (*Client, error) {
	rest := gh.NewClient(&http.Client{Transport: newConditional(authenticated), Timeout: callTimeout})
	base, err := url.Parse(apiURL(server))
	if err != nil {
		return nil, fmt.Errorf("parsing GitHub server %q: %w", server, err)
	}
	rest.BaseURL = base
	rest.UserAgent = "modal-runner-controller"
	return &Client{rest: rest, clock: clock}, nil
}

// do runs one call of the SDK behind the throttling gate and classifies what it answers.
func (c *Client) do(op string, call func() (*gh.Response, error)) error {
	if until := c.gate.closedUntil(c.clock.Now()); !until.IsZero() {
		return throttled(op, until, nil)
	}
	resp, err := call()
	err = c.classify(op, resp, err)
	if err == nil {
		c.gate.opened()
	}
	metrics.GitHubCall(op, outcome(resp, err))
	return err
}

func outcome(resp *gh.Response, err error) string {
	if resp != nil && resp.Response != nil {
		if resp.Header.Get(fromCacheHeader) != "" {
			return strconv.Itoa(http.StatusNotModified)
		}
		return strconv.Itoa(resp.StatusCode)
	}
	if err != nil {
		return "none"
	}
	return strconv.Itoa(http.StatusOK)
}

func throttled(op string, until time.Time, err error) *fault.Error {
	return &fault.Error{
		Op: op, Class: fault.Throttled, RetryAt: until, Err: err,
		Message: "GitHub asks to wait until " + until.UTC().Format(time.RFC3339),
	}
}

func (c *Client) classify(op string, resp *gh.Response, err error) error {
	if err == nil {
		return nil
	}
	if until, ok := c.throttledUntil(resp, err); ok {
		c.gate.close(until)
		return throttled(op, until, err)
	}
	if resp == nil || resp.Response == nil {
		return fault.FromContext(op, stripURL(err))
	}
	message := messageOf(err, resp)
	class := fault.Transient
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		class = fault.Unauthorized
	case http.StatusForbidden:
		class = fault.Forbidden
	case http.StatusNotFound, http.StatusGone:
		class = fault.NotFound
	case http.StatusConflict:
		class = fault.Conflict
	case http.StatusUnprocessableEntity, http.StatusBadRequest:
		class = fault.Invalid
	}
	return &fault.Error{Op: op, Class: class, Message: message, Err: err}
}

// throttledUntil tells a primary or secondary rate limit, on 403 and 429 alike, and when to go on: Retry-After, else the
// reset time, else a minute and doubling. go-github v60 knows them on 403 only.
// Source: docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api.
func (c *Client) throttledUntil(resp *gh.Response, err error) (time.Time, bool) {
	var primary *gh.RateLimitError
	if errors.As(err, &primary) {
		return primary.Rate.Reset.Time, true
	}
	var secondary *gh.AbuseRateLimitError
	isSecondary := errors.As(err, &secondary)
	if resp == nil || resp.Response == nil {
		return time.Time{}, false
	}
	limited := isSecondary || resp.StatusCode == http.StatusTooManyRequests ||
		resp.StatusCode == http.StatusForbidden && (resp.Header.Get("Retry-After") != "" || resp.Header.Get("X-RateLimit-Remaining") == "0")
	if !limited {
		return time.Time{}, false
	}
	now := c.clock.Now()
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		return now.Add(time.Duration(seconds) * time.Second), true
	}
	if reset, err := strconv.ParseInt(resp.Header.Get("X-RateLimit-Reset"), 10, 64); err == nil && resp.Header.Get("X-RateLimit-Remaining") == "0" {
		return time.Unix(reset, 0), true
	}
	return now.Add(c.gate.nextWait()), true
}

// messageOf an error answer: GitHub's own words, without the URL.
func messageOf(err error, resp *gh.Response) string {
	var answer *gh.ErrorResponse
	if errors.As(err, &answer) && answer.Message != "" {
		message := answer.Message
		for _, e := range answer.Errors {
			if e.Message != "" {
				message += "; " + e.Message
			}
		}
		return fmt.Sprintf("GitHub answered %d: %s", resp.StatusCode, message)
	}
	return fmt.Sprintf("GitHub answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
}

// stripURL takes the URL out of an error of net/http, for messages that stay the same from one call to the next.
func stripURL(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		return withURL.Err
	}
	return err
}

// pages calls list for page after page until the last. An error on any page is the whole list's.
func pages(list func(gh.ListOptions) (*gh.Response, error)) (*gh.Response, error) {
	opts := gh.ListOptions{PerPage: pageSize}
	for {
		resp, err := list(opts)
		if err != nil || resp.NextPage == 0 {
			return resp, err
		}
		opts.Page = resp.NextPage
	}
}

// CheckAccess asks for the first runner of the scope, which needs the same permission as registering one.
func (c *Client) CheckAccess(ctx context.Context, scope Scope) error {
	err := c.do("checking access to runners", func() (*gh.Response, error) {
		_, resp, err := c.listRunners(ctx, scope, gh.ListOptions{PerPage: 1}, "")
		return resp, err
	})
	var classified *fault.Error
	if errors.As(err, &classified) && (classified.Class == fault.Forbidden || classified.Class == fault.NotFound) {
		// GitHub answers 404 rather than 403 where the token may not even know that the scope exists.
		classified.Class = fault.Forbidden
		classified.Message += "; the credentials need " + permission(scope)
	}
	return err
}

// permission that registering runners in a scope needs.
// Source: docs.github.com/rest/actions/self-hosted-runners.
func permission(scope Scope) string {
	switch {
	case scope.Repository != "":
		return fmt.Sprintf("the repository permissions Administration (write) and Actions (read) on %s/%s", scope.Owner, scope.Repository)
	case scope.Enterprise != "":
		return "the scope manage_runners:enterprise on enterprise " + scope.Enterprise
	default:
		return "the organization permission Self-hosted runners (write) on " + scope.Owner
	}
}

// lower compares GitHub's case-insensitive names.
func lower(s string) string { return strings.ToLower(s) }
