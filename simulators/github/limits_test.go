package github

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"
)

func TestAServerWithoutRateLimitsSaysNothingOfThem(t *testing.T) {
	s := New(Options{RateLimit: -1})
	must(t, s.Start("127.0.0.1:0"))
	t.Cleanup(s.Close)
	s.AddRepository("octo/widgets", true)
	s.AddToken("t", "octo")
	client := newClient(t, s, "t")
	_, resp, err := client.Actions.ListRepositoryWorkflowRuns(t.Context(), "octo", "widgets", nil)
	must(t, err)
	if _, has := resp.Header["X-Ratelimit-Limit"]; has {
		t.Errorf("answered with %v", resp.Header)
	}
	_, _, err = client.RateLimit.Get(t.Context())
	mustStatus(t, err, http.StatusNotFound)
}

func TestAskingForTheRateLimitIsFree(t *testing.T) {
	s := newOcto(t)
	client := newClient(t, s, "t")
	must(t, calls["runs"](t.Context(), client))
	for range 2 {
		limits, _, err := client.RateLimit.Get(t.Context())
		must(t, err)
		if limits.Core.Remaining != 4999 {
			t.Errorf("%d are left", limits.Core.Remaining)
		}
	}
}

func TestPointsAreCountedOverAnyMinute(t *testing.T) {
	clock := testclock.NewFakeClock(time.Now())
	s := New(Options{Clock: clock})
	must(t, s.Start("127.0.0.1:0"))
	t.Cleanup(s.Close)
	s.AddRepository("octo/widgets", true)
	s.AddToken("t", "octo")
	client := newClient(t, s, "t")
	for range 3 {
		must(t, calls["runs"](t.Context(), client))
		mustStatus(t, calls["mint"](t.Context(), client), http.StatusNotFound)
		clock.Step(40 * time.Second)
	}
	if got := s.MaxPointsInAMinute()["t"]; got != 12 {
		t.Errorf("%d points in the worst minute, want 12", got)
	}
	if got := s.MaxConcurrent()["t"]; got != 1 {
		t.Errorf("%d at once", got)
	}
}

func TestMoreThanAHundredConcurrentRequestsAreTooMany(t *testing.T) {
	s := New(Options{SecondaryLimits: true})
	must(t, s.Start("127.0.0.1:0"))
	t.Cleanup(s.Close)
	s.AddRepository("octo/widgets", true)
	s.AddToken("t", "octo")
	// A hundred that hang, so that one more is too many.
	s.Inject(Fault{Hang: true, Times: maxConcurrent})
	client := newClient(t, s, "t")
	var hanging sync.WaitGroup
	t.Cleanup(hanging.Wait)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range maxConcurrent {
		hanging.Go(func() { _ = calls["runs"](ctx, client) })
	}
	eventually(t, func() bool { return s.MaxConcurrent()["t"] == maxConcurrent && s.FaultHits()[""] == maxConcurrent })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+"/api/v3/repos/octo/widgets/actions/runs", nil)
	must(t, err)
	req.Header.Set("Authorization", "Bearer t")
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	must(t, resp.Body.Close())
	if resp.StatusCode != http.StatusForbidden || resp.Header.Get("Retry-After") == "" {
		t.Errorf("answered %d %v", resp.StatusCode, resp.Header)
	}
	cancel()
}
