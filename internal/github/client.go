// Package github is the only one that talks to GitHub: runners, jobs, downloads. It speaks in the project's words, gives
// every call a deadline and classifies every error (package fault).
package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"
	"k8s.io/utils/clock"

	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
	"github.com/modalrunner/modal-runner-controller/internal/tracing"
	"github.com/modalrunner/modal-runner-controller/internal/version"
)

const (
	// callTimeout bounds one HTTP exchange with GitHub.
	callTimeout = 30 * time.Second
	// defaultThrottle is the wait when GitHub throttles without saying for how long; platform-facts: 60 s and doubling.
	defaultThrottle = time.Minute
	maxThrottle     = 15 * time.Minute
	pageSize        = 100
	// maxErrorBody is how much is read of an error answer.
	maxErrorBody = 16 << 10
)

// Client calls GitHub with one credential. While GitHub throttles it, or its budget is used up, calls fail at once with the
// time to wait for, so that no worker sleeps and other credentials go on.
type Client struct {
	rest   *gh.Client
	clock  clock.PassiveClock
	gate   gate
	budget *budget
	// asApp is nil when the credentials are not those of an App.
	asApp  *app
	groups groups
	denied denials
}

// newClient for a server whose requests are authenticated by the transport, within a budget.
func newClient(server string, authenticated http.RoundTripper, budget *budget) (*Client, error) {
	rest := gh.NewClient(&http.Client{Transport: newConditional(budgeted{budget: budget, next: authenticated}), Timeout: callTimeout})
	base, err := url.Parse(apiURL(server))
	if err != nil {
		return nil, fmt.Errorf("parsing GitHub server %q: %w", server, err)
	}
	rest.BaseURL = base
	rest.UserAgent = version.UserAgent("modal-runner-controller")
	return &Client{rest: rest, clock: budget.clock, budget: budget}, nil
}

// do runs one operation behind the throttling gate and classifies what GitHub answers. The call gets the context that its
// requests must be made with.
func (c *Client) do(ctx context.Context, op operation, call func(context.Context) (*gh.Response, error)) error {
	if until := c.gate.closedUntil(c.clock.Now()); !until.IsZero() {
		return throttled(op, until, nil)
	}
	begun := c.clock.Now()
	ctx, end := tracing.Call(ctx, "GitHub", op.name)
	resp, err := call(withOperation(ctx, op))
	err = c.classify(op, resp, err)
	code := outcome(resp, err)
	end(class(err), code)
	if err == nil {
		c.gate.opened()
	}
	metrics.GitHubCall(op.name, code, c.clock.Since(begun))
	return err
}

// class of an error in traces.
func class(err error) string {
	if err == nil {
		return ""
	}
	return string(fault.ClassOf(err))
}

// outcome of a call in the metrics.
func outcome(resp *gh.Response, err error) string {
	switch {
	case resp != nil && resp.Response != nil && resp.Header.Get(fromCacheHeader) != "":
		return strconv.Itoa(http.StatusNotModified)
	case resp != nil && resp.Response != nil:
		return strconv.Itoa(resp.StatusCode)
	case fault.Is(err, fault.Held):
		return metrics.GitHubHeld
	case err != nil:
		return "none"
	default:
		return strconv.Itoa(http.StatusOK)
	}
}

func throttled(op operation, until time.Time, err error) *fault.Error {
	return &fault.Error{
		Op: op.name, Class: fault.Throttled, RetryAt: until, Err: err,
		Message: "GitHub asks to wait until " + until.UTC().Format(time.RFC3339),
	}
}

func (c *Client) classify(op operation, resp *gh.Response, err error) error {
	if err == nil {
		return nil
	}
	if until, ok := c.throttledUntil(resp, err); ok {
		c.gate.close(until)
		return throttled(op, until, err)
	}
	var classified *fault.Error
	if errors.As(err, &classified) {
		// The budget or the App's authentication, on the way to GitHub.
		if classified.Class == fault.Throttled {
			c.gate.close(classified.RetryAt)
		}
		return classified
	}
	if resp == nil || resp.Response == nil {
		return fault.FromContext(op.name, stripURL(err))
	}
	return &fault.Error{Op: op.name, Class: classOf(resp.StatusCode), Message: messageOf(err, resp) + missing(resp.Header), Err: err}
}

func classOf(status int) fault.Class {
	switch status {
	case http.StatusUnauthorized:
		return fault.Unauthorized
	case http.StatusForbidden:
		return fault.Forbidden
	case http.StatusNotFound, http.StatusGone:
		return fault.NotFound
	case http.StatusConflict:
		return fault.Conflict
	case http.StatusUnprocessableEntity, http.StatusBadRequest:
		return fault.Invalid
	default:
		return fault.Transient
	}
}

// throttledUntil tells a primary or secondary rate limit, on 403 and 429 alike, and when to go on. go-github v60 knows them
// on 403 only.
func (c *Client) throttledUntil(resp *gh.Response, err error) (time.Time, bool) {
	var primary *gh.RateLimitError
	if errors.As(err, &primary) {
		return primary.Rate.Reset.Time, true
	}
	if resp == nil || resp.Response == nil {
		return time.Time{}, false
	}
	var secondary *gh.AbuseRateLimitError
	limited := errors.As(err, &secondary) || limits(resp.StatusCode, resp.Header)
	if !limited {
		return time.Time{}, false
	}
	now := c.clock.Now()
	return waitFor(resp.Header, now, func() time.Duration { return c.gate.nextWait(now) }), true
}

// limits says whether an answer refuses for a rate limit.
func limits(status int, header http.Header) bool {
	return status == http.StatusTooManyRequests ||
		status == http.StatusForbidden && (header.Get("Retry-After") != "" || header.Get("X-RateLimit-Remaining") == "0")
}

// waitFor gives when to go on: Retry-After, else the reset time, else what otherwise says.
// Source: docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api.
func waitFor(header http.Header, now time.Time, otherwise func() time.Duration) time.Time {
	if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil {
		return now.Add(time.Duration(seconds) * time.Second)
	}
	if reset, err := strconv.ParseInt(header.Get("X-RateLimit-Reset"), 10, 64); err == nil && header.Get("X-RateLimit-Remaining") == "0" {
		return time.Unix(reset, 0)
	}
	return now.Add(otherwise())
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

// messageIn the body of an error answer.
func messageIn(body []byte) string {
	var answer struct{ Message string }
	if err := json.Unmarshal(body, &answer); err != nil || answer.Message == "" {
		return "no message"
	}
	return answer.Message
}

// stripURL takes the URL and the addresses out of an error of net/http, for messages that stay the same from one call to the
// next.
func stripURL(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err
	}
	var withAddresses *net.OpError
	if errors.As(err, &withAddresses) {
		return fmt.Errorf("%s: %w", withAddresses.Op, withAddresses.Err)
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

// lower compares GitHub's case-insensitive names.
func lower(s string) string { return strings.ToLower(s) }
