package github

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
)

const (
	// DefaultPointsPerMinute and maxConcurrent are GitHub's secondary limits for one credential, with some room left for
	// whoever else uses it. Source: docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api.
	DefaultPointsPerMinute = 850
	maxConcurrent          = 90
	// MinPointsPerMinute is what one call that writes takes: with less no runner could ever be registered.
	MinPointsPerMinute = write
	// holdConcurrent is how long a call waits that found too many in flight.
	holdConcurrent = time.Second
	// window in seconds: a minute, and one more since the seconds are whole.
	window = 61
)

// shares of GitHub's limits that a use may have, in percent.
var shares = map[use]struct {
	// points of a minute, and those that are left to it while waiting jobs are held back.
	points, pressed int
	// calls at once, of all that are in flight.
	calls int
	// leave of the hourly limit to those above it.
	leave int
}{
	housekeeping: {points: 30, pressed: 5, calls: 50, leave: 20},
	watching:     {points: 60, pressed: 20, calls: 80, leave: 5},
	servingJobs:  {points: 100, pressed: 100, calls: 100, leave: 0},
}

// budget is what one credential may still ask of GitHub, shared by all callers. It never makes a caller wait: who is over
// it is told when to come back.
type budget struct {
	// name of the credential in the metrics.
	name      string
	clock     clock.PassiveClock
	perMinute int // points; 0 is no limit
	// public says that the server is GitHub's own, which always limits. A GitHub Enterprise Server does not by default.
	public bool

	mu       sync.Mutex
	spent    [window]second
	inFlight int
	// pressedUntil is when the others have their shares again, after waiting jobs were held back.
	pressedUntil time.Time
	// primary limit, once GitHub has told of one.
	limit, remaining int
	reset            time.Time
}

// second of the last minute, and the points that each use has spent in it.
type second struct {
	at     int64 // Unix time
	points map[use]int
}

func newBudget(name, server string, perMinute int, clock clock.PassiveClock) *budget {
	return &budget{name: name, clock: clock, perMinute: perMinute, public: isPublic(server)}
}

// Budget is what is left of GitHub's primary limit.
type Budget struct {
	// Limit of requests an hour, and how many of them remain until Reset. Limit is 0 while GitHub has told of none.
	Limit, Remaining int
	Reset            time.Time
	// ThrottledUntil is when GitHub may be asked again, zero when it may be now.
	ThrottledUntil time.Time
}

// Low says that housekeeping waits, so that jobs do not have to.
func (b Budget) Low() bool {
	return b.Limit > 0 && b.Remaining <= b.Limit*shares[housekeeping].leave/100
}

// Budget of the client's credential.
func (c *Client) Budget() Budget {
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	now := c.clock.Now()
	b.renew(now)
	return Budget{Limit: b.limit, Remaining: b.remaining, Reset: b.reset, ThrottledUntil: c.gate.closedUntil(now)}
}

// enter admits one request, or says until when it is held back. Who entered has to leave.
func (b *budget) enter(op operation) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, share := b.clock.Now(), shares[op.use]
	b.renew(now)
	switch {
	case b.limit > 0 && share.leave > 0 && b.remaining <= b.limit*share.leave/100:
		return held(op, b.reset, "GitHub's hourly limit is nearly used up, and what is left is kept for waiting jobs")
	case b.perMinute > 0 && b.inFlight >= maxConcurrent*share.calls/100:
		return held(op, now.Add(holdConcurrent), "as many calls are in flight as GitHub allows at once")
	}
	if b.perMinute > 0 && (b.public || b.limit > 0) {
		own := share.points
		if now.Before(b.pressedUntil) {
			own = share.pressed
		}
		until := b.room(now, op.points, b.perMinute, func(s second) int { return s.points[housekeeping] + s.points[watching] + s.points[servingJobs] })
		if op.use != servingJobs {
			// At least one call a minute, however small the budget is.
			ofItsUse := b.room(now, op.points, max(op.points, b.perMinute*own/100), func(s second) int { return s.points[op.use] })
			until = later(until, ofItsUse)
		}
		if until.After(now) {
			if op.use == servingJobs {
				b.pressedUntil = until.Add(window * time.Second)
			}
			return held(op, until, "held back to stay within what GitHub allows in a minute")
		}
	}
	b.spend(now, op)
	b.inFlight++
	return nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func held(op operation, until time.Time, why string) error {
	return &fault.Error{Op: op.name, Class: fault.Held, RetryAt: until, Message: why}
}

func (b *budget) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inFlight--
}

// room gives the time at which points fit into what is allowed in any 60 s, as far as counted says; now when they do
// already. The lock is held.
func (b *budget) room(now time.Time, points, allowed int, counted func(second) int) time.Time {
	oldest := now.Unix() - window + 1
	sum := points
	for _, s := range b.spent {
		if s.at >= oldest {
			sum += counted(s)
		}
	}
	at := now
	for second := oldest; sum > allowed && second <= now.Unix(); second++ {
		if s := b.spent[second%window]; s.at == second {
			sum -= counted(s)
		}
		at = time.Unix(second+window, 0)
	}
	return at
}

func (b *budget) spend(now time.Time, op operation) {
	s := &b.spent[now.Unix()%window]
	if s.at != now.Unix() {
		*s = second{at: now.Unix(), points: map[use]int{}}
	}
	s.points[op.use] += op.points
}

// renew the primary limit when its hour is over. The lock is held.
func (b *budget) renew(now time.Time) {
	if b.limit > 0 && !b.reset.After(now) {
		b.remaining = b.limit
	}
}

// learn what is left from an answer. A GitHub Enterprise Server tells nothing by default, since it limits nothing.
func (b *budget) learn(header http.Header) {
	limit, err1 := strconv.Atoi(header.Get("X-RateLimit-Limit"))
	remaining, err2 := strconv.Atoi(header.Get("X-RateLimit-Remaining"))
	reset, err3 := strconv.ParseInt(header.Get("X-RateLimit-Reset"), 10, 64)
	if resource := header.Get("X-RateLimit-Resource"); err1 != nil || err2 != nil || err3 != nil || resource != "" && resource != "core" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	at := time.Unix(reset, 0)
	if at.Before(b.reset) {
		// The answer to an earlier request, overtaken by those of the next hour.
		return
	}
	if at.Equal(b.reset) {
		remaining = min(remaining, b.remaining)
	}
	b.limit, b.remaining, b.reset = limit, remaining, at
	metrics.GitHubBudget(b.name, b.limit, b.remaining, b.reset)
}

type operationKey struct{}

// budgeted sends a request when the credential's budget allows it.
type budgeted struct {
	budget *budget
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t budgeted) RoundTrip(req *http.Request) (*http.Response, error) {
	op, _ := req.Context().Value(operationKey{}).(operation)
	if err := t.budget.enter(op); err != nil {
		return nil, err
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		t.budget.leave()
		return nil, err
	}
	if resp.StatusCode != http.StatusUnauthorized {
		// Who is not known is told of the limit of the address that the request came from.
		t.budget.learn(resp.Header)
	}
	resp.Body = &leaving{ReadCloser: resp.Body, leave: sync.OnceFunc(t.budget.leave)}
	return resp, nil
}

// leaving the budget when the answer was read to its end or closed: go-github puts another body in the place of that of an error,
// and never closes this one.
type leaving struct {
	io.ReadCloser
	leave func()
}

// Read implements io.Reader.
func (l *leaving) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if err != nil {
		l.leave()
	}
	return n, err
}

// Close implements io.Closer.
func (l *leaving) Close() error {
	defer l.leave()
	return l.ReadCloser.Close()
}

// withOperation notes for the budget what a request is for.
func withOperation(ctx context.Context, op operation) context.Context {
	return context.WithValue(ctx, operationKey{}, op)
}
