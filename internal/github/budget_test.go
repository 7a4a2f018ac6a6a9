package github

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/modalrunner/modal-runner-controller/internal/fault"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func testBudget(perMinute int) (*budget, *clocktesting.FakeClock) {
	clock := clocktesting.NewFakeClock(noon)
	return newBudget("ci/github", "https://github.com", perMinute, clock), clock
}

// primary limit as GitHub tells it.
func primary(limit, remaining int, reset time.Time) http.Header {
	header := http.Header{}
	header.Set("X-RateLimit-Limit", strconv.Itoa(limit))
	header.Set("X-RateLimit-Remaining", strconv.Itoa(remaining))
	header.Set("X-RateLimit-Reset", strconv.FormatInt(reset.Unix(), 10))
	header.Set("X-RateLimit-Resource", "core")
	return header
}

// Whatever is asked when, no 60 s hold more points than GitHub allows, and who is held back gets in when it was told to.
func TestB50_NoMinuteHoldsMoreThanItsPoints(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const allowed = 100
		b, clock := testBudget(allowed)
		type spent struct {
			at     time.Time
			points int
		}
		var all []spent
		for range rapid.IntRange(1, 300).Draw(t, "calls") {
			clock.Step(time.Duration(rapid.IntRange(0, 3000).Draw(t, "pause ms")) * time.Millisecond)
			op := rapid.SampledFrom([]operation{mintJIT, listRuns, listHooks, redeliver}).Draw(t, "operation")
			err := b.enter(op)
			if err != nil {
				var held *fault.Error
				if !errors.As(err, &held) || held.Class != fault.Held || !held.RetryAt.After(clock.Now()) || held.RetryAt.After(clock.Now().Add(window*time.Second)) {
					t.Fatalf("held back as %#v", err)
				}
				clock.SetTime(held.RetryAt)
				if err := b.enter(op); err != nil {
					t.Fatalf("came back when told to, and was held back again: %v", err)
				}
			}
			b.leave()
			all = append(all, spent{clock.Now(), op.points})
			sum := 0
			for _, s := range all {
				if clock.Since(s.at) < time.Minute {
					sum += s.points
				}
			}
			if sum > allowed {
				t.Fatalf("%d points in a minute", sum)
			}
		}
	})
}

func TestNoUseTakesTheMinuteFromTheWaitingJobs(t *testing.T) {
	b, clock := testBudget(100)
	spend := func(op operation) (calls int) {
		for b.enter(op) == nil {
			b.leave()
			calls++
		}
		return calls
	}
	if got := spend(listHooks); got != 30 {
		t.Errorf("housekeeping made %d calls of 1 point", got)
	}
	if got := spend(listRuns); got != 60 {
		t.Errorf("watching made %d calls of 1 point", got)
	}
	if got := spend(mintJIT); got != 2 {
		t.Errorf("waiting jobs got %d calls of 5 points out of what was left", got)
	}
	// Jobs wait now: in the next minute they come first.
	clock.Step(window * time.Second)
	if got := spend(listHooks) + spend(listRuns); got != 5+20 {
		t.Errorf("while jobs wait the others made %d calls", got)
	}
	if got := spend(mintJIT); got != 15 {
		t.Errorf("waiting jobs got %d calls of 5 points", got)
	}
	// None waits any more.
	clock.Step(3 * window * time.Second)
	if got := spend(listHooks); got != 30 {
		t.Errorf("then housekeeping made %d calls", got)
	}
}

func TestWhatIsLeftOfTheHourIsKeptForWaitingJobs(t *testing.T) {
	b, clock := testBudget(0)
	reset := noon.Add(40 * time.Minute)
	b.learn(primary(5000, 900, reset))
	if err := b.enter(listHooks); fault.RetryAfter(err, clock.Now(), 0) != 40*time.Minute {
		t.Errorf("housekeeping with 900 of 5000 left: %v", err)
	}
	if err := b.enter(listRuns); err != nil {
		t.Errorf("watching with 900 of 5000 left: %v", err)
	}
	b.learn(primary(5000, 200, reset))
	if err := b.enter(listRuns); !fault.Is(err, fault.Held) {
		t.Errorf("watching with 200 of 5000 left: %v", err)
	}
	if err := b.enter(mintJIT); err != nil {
		t.Errorf("a waiting job with 200 of 5000 left: %v", err)
	}
	clock.SetTime(reset)
	if err := b.enter(listHooks); err != nil {
		t.Errorf("housekeeping in the next hour: %v", err)
	}
}

func TestAnAnswerThatWasOvertakenDoesNotGiveBackWhatIsSpent(t *testing.T) {
	b, _ := testBudget(0)
	c := &Client{budget: b, clock: b.clock}
	b.learn(primary(5000, 100, noon.Add(time.Minute)))
	b.learn(primary(5000, 110, noon.Add(time.Minute)))
	b.learn(primary(5000, 4000, noon.Add(-time.Hour)))
	if got := c.Budget(); got.Remaining != 100 || !got.Low() {
		t.Errorf("budget %+v", got)
	}
}

// A credential that is refused has no limit of its own: the one that is told is that of the address, which is low.
func TestB51_ARefusalOfTheCredentialSaysNothingOfItsLimit(t *testing.T) {
	for status, want := range map[int]int{http.StatusUnauthorized: 5000, http.StatusOK: 60, http.StatusNotFound: 60} {
		b, _ := testBudget(0)
		b.learn(primary(5000, 4000, noon.Add(time.Hour)))
		transport := budgeted{budget: b, next: roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: primary(60, 0, noon.Add(2*time.Hour)), Body: http.NoBody}, nil
		})}
		resp, err := transport.RoundTrip(httptest.NewRequest(http.MethodGet, "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if got := (&Client{budget: b, clock: b.clock}).Budget(); got.Limit != want {
			t.Errorf("after a %d the budget is %+v", status, got)
		}
	}
}

// gauge gives a metric's value for a credential.
func gauge(t *testing.T, name, credential string) float64 {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && m.GetLabel()[0].GetValue() == credential {
				return m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("there is no %s of %s", name, credential)
	return 0
}

func TestWhatIsLeftOfTheLimitIsAMetric(t *testing.T) {
	b := newBudget("ci/shown", "https://github.com", 0, clocktesting.NewFakeClock(noon))
	b.learn(primary(5000, 4321, noon.Add(time.Hour)))
	if got := gauge(t, "modalrunner_github_rate_limit_remaining", "ci/shown"); got != 4321 {
		t.Errorf("%v remain", got)
	}
	if got := gauge(t, "modalrunner_github_rate_limit", "ci/shown"); got != 5000 {
		t.Errorf("the limit is %v", got)
	}
}

func TestNoMoreCallsAreInFlightThanGitHubAllows(t *testing.T) {
	b, clock := testBudget(1 << 20)
	for range maxConcurrent {
		if err := b.enter(mintJIT); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.enter(mintJIT); fault.RetryAfter(err, clock.Now(), 0) != holdConcurrent {
		t.Errorf("one more: %v", err)
	}
	b.leave()
	if err := b.enter(mintJIT); err != nil {
		t.Errorf("after one had left: %v", err)
	}
}

// A GitHub Enterprise Server limits nothing by default, and says nothing of limits then.
func TestAServerWithoutLimitsIsNotPaced(t *testing.T) {
	clock := clocktesting.NewFakeClock(noon)
	b := newBudget("ci/github", "https://ghe.example.com", 10, clock)
	for range 100 {
		if err := b.enter(mintJIT); err != nil {
			t.Fatal(err)
		}
		b.leave()
	}
	b.learn(primary(5000, 4999, noon.Add(time.Hour)))
	if err := b.enter(mintJIT); !fault.Is(err, fault.Held) {
		t.Errorf("once it tells of a limit: %v", err)
	}
}

// An answer that is an error takes no place in flight for ever: GitHub says 404 of each runner that is gone by itself.
func TestErrorsLeaveTheirPlaceInFlight(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"message": "as it is"}`))
	}))
	defer server.Close()
	b, _ := testBudget(DefaultPointsPerMinute)
	c, err := newClient(server.URL, http.DefaultTransport, b)
	if err != nil {
		t.Fatal(err)
	}
	for _, status = range []int{http.StatusOK, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity, http.StatusBadGateway, http.StatusUnauthorized, http.StatusNoContent} {
		for range 3 {
			_, _ = c.GetRunner(t.Context(), Scope{Owner: "octo", Repository: "widgets"}, 1)
			_ = c.DeleteRunner(t.Context(), Scope{Owner: "octo", Repository: "widgets"}, 1)
		}
		if b.inFlight != 0 {
			t.Errorf("%d calls are still in flight after answers %d", b.inFlight, status)
		}
	}
}
