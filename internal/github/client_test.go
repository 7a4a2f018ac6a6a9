package github

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	"github.com/modalrunner/modal-runner-controller/test/described"
)

// world is a simulated GitHub and a client for its one repository.
type world struct {
	github *githubsim.Server
	client *Client
	clock  *clocktesting.FakeClock
	scope  Scope
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{github: githubsim.New(githubsim.Options{Wrap: described.Calls(t)}), clock: clocktesting.NewFakeClock(time.Now())}
	if err := w.github.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.github.Close)
	w.github.AddRepository("octo/widgets", true)
	w.github.AddToken("token", "octo/widgets")
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "github"}, Data: map[string][]byte{"github_token": []byte("token")},
	}
	clients := NewClients(credentials.NewStore(fake.NewClientBuilder().WithObjects(secret).Build(), w.clock, time.Minute), w.clock, DefaultPointsPerMinute)
	w.scope = ScopeOf(w.github.URL(), v1alpha1.Scope{Repository: "octo/widgets"})
	var err error
	w.client, err = clients.For(t.Context(), "ci", v1alpha1.GitHub{URL: w.github.URL(), SecretName: "github"}, w.scope)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestARunnerIsRegisteredFoundAndRemoved(t *testing.T) {
	w := newWorld(t)
	made, err := w.client.CreateJITRunner(t.Context(), w.scope, "", "r-1", []string{"modal"})
	if err != nil || made.ID == 0 || made.Config == "" {
		t.Fatalf("made %v: %v", made, err)
	}
	if strings.Contains(strings.Join([]string{made.Config.String(), made.Config.GoString()}, ""), made.Config.Reveal()) {
		t.Error("the configuration shows itself")
	}
	if _, err := w.client.CreateJITRunner(t.Context(), w.scope, "", "r-1", []string{"modal"}); !fault.Is(err, fault.Conflict) {
		t.Errorf("a taken name gave %v", err)
	}
	found, err := w.client.FindRunner(t.Context(), w.scope, "r-1")
	if err != nil || found.ID != made.ID {
		t.Errorf("found %v: %v", found, err)
	}
	if err := w.client.DeleteRunner(t.Context(), w.scope, made.ID); err != nil {
		t.Error(err)
	}
	if err := w.client.DeleteRunner(t.Context(), w.scope, made.ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("a runner that is gone gave %v", err)
	}
	if _, err := w.client.FindRunner(t.Context(), w.scope, "r-1"); !fault.Is(err, fault.NotFound) {
		t.Errorf("finding one that is gone gave %v", err)
	}
}

// B42: a busy runner is refused, and told apart from one that is gone.
func TestABusyRunnerIsNotRemoved(t *testing.T) {
	w := newWorld(t)
	made, err := w.client.CreateJITRunner(t.Context(), w.scope, "", "r-1", []string{"modal"})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.github.TakeJob(w.github.AddQueuedJob("octo/widgets", "build", []string{"modal"}), "r-1"); err != nil {
		t.Fatal(err)
	}
	if err := w.client.DeleteRunner(t.Context(), w.scope, made.ID); !fault.Is(err, fault.Busy) {
		t.Errorf("a busy runner gave %v", err)
	}
}

func TestAllPagesAreListed(t *testing.T) {
	w := newWorld(t)
	for i := range 230 {
		w.github.AddForeignRunner("octo/widgets", "r"+strings.Repeat("x", i%7)+time.Duration(i).String(), "modal")
	}
	all, err := w.client.ListRunners(t.Context(), w.scope)
	if err != nil || len(all) != 230 {
		t.Fatalf("listed %d: %v", len(all), err)
	}
}

// B44: one page's error is the whole list's.
func TestAPagesErrorIsTheListsError(t *testing.T) {
	w := newWorld(t)
	for i := range 150 {
		w.github.AddForeignRunner("octo/widgets", "r"+time.Duration(i).String(), "modal")
	}
	w.github.Inject(githubsim.Fault{Delay: time.Nanosecond, Times: 1})
	w.github.Inject(githubsim.Fault{Status: http.StatusBadGateway, Times: 1})
	if all, err := w.client.ListRunners(t.Context(), w.scope); err == nil || all != nil {
		t.Errorf("listed %d: %v", len(all), err)
	}
}

func TestWhatHasNotChangedIsFree(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		if _, err := w.client.ActiveJobs(t.Context(), "octo", "widgets"); err != nil {
			t.Fatal(err)
		}
	}
	requests := w.github.Requests()
	const route = "GET /repos/{owner}/{repo}/actions/runs "
	if requests[route+"200"] != 2 || requests[route+"304"] != 4 {
		t.Errorf("requests: %v", requests)
	}
	w.github.AddQueuedJob("octo/widgets", "build", []string{"modal"})
	jobs, err := w.client.ActiveJobs(t.Context(), "octo", "widgets")
	if err != nil || len(jobs) != 1 || jobs[0].State != v1alpha1.JobQueued {
		t.Errorf("jobs: %v %v", jobs, err)
	}
}

func TestErrorsAreClassified(t *testing.T) {
	for name, test := range map[string]struct {
		fault githubsim.Fault
		class fault.Class
	}{
		"refused credentials": {githubsim.Fault{Status: http.StatusUnauthorized}, fault.Unauthorized},
		"no permission":       {githubsim.Fault{Status: http.StatusForbidden}, fault.Forbidden},
		"no access at all":    {githubsim.Fault{Status: http.StatusNotFound}, fault.Forbidden},
		"a conflict":          {githubsim.Fault{Status: http.StatusConflict}, fault.Conflict},
		"invalid":             {githubsim.Fault{Status: http.StatusUnprocessableEntity}, fault.Invalid},
		"an outage":           {githubsim.Fault{Status: http.StatusBadGateway}, fault.Transient},
		"a lost answer":       {githubsim.Fault{DropAnswer: true}, fault.Transient},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.github.Inject(test.fault)
			_, err := w.client.CreateJITRunner(t.Context(), w.scope, "", "r-1", []string{"modal"})
			if !fault.Is(err, test.class) {
				t.Errorf("class %s of %v, want %s", fault.ClassOf(err), err, test.class)
			}
			if err != nil && strings.Contains(err.Error(), "http") {
				t.Errorf("the message has a URL: %v", err)
			}
		})
	}
}

// B50: 403 and 429, primary and secondary, each wait as told, and nothing is sent meanwhile.
func TestThrottlingWaitsAsToldAndSendsNothingMeanwhile(t *testing.T) {
	reset := time.Now().Add(90 * time.Second)
	resetHeader := http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {strconv.FormatInt(reset.Unix(), 10)}}
	for name, test := range map[string]struct {
		fault githubsim.Fault
		wait  time.Duration
	}{
		"secondary, 429 with Retry-After": {githubsim.Fault{Status: 429, Header: http.Header{"Retry-After": {"30"}}}, 30 * time.Second},
		"secondary, 403 with Retry-After": {githubsim.Fault{Status: 403, Header: http.Header{"Retry-After": {"45"}}}, 45 * time.Second},
		"primary, 403 with a reset":       {githubsim.Fault{Status: 403, Header: resetHeader}, 90 * time.Second},
		"429 without a time":              {githubsim.Fault{Status: 429}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			test.fault.Times = 1
			w.github.Inject(test.fault)
			_, err := w.client.ListRunners(t.Context(), w.scope)
			var classified *fault.Error
			if !errors.As(err, &classified) || classified.Class != fault.Throttled {
				t.Fatalf("gave %v", err)
			}
			if wait := classified.RetryAt.Sub(w.clock.Now()); wait < test.wait-5*time.Second || wait > test.wait+5*time.Second {
				t.Errorf("waits %s, want %s", wait, test.wait)
			}
			before := len(w.github.Requests())
			if _, err := w.client.ListRunners(t.Context(), w.scope); !fault.Is(err, fault.Throttled) {
				t.Errorf("a call while throttled gave %v", err)
			}
			if len(w.github.Requests()) != before {
				t.Error("a call was sent while throttled")
			}
		})
	}
}

// Calls that were in flight together meet one throttling, not one each.
func TestB50_OneThrottlingIsOneHoweverManyCallsMeetIt(t *testing.T) {
	var g gate
	for range 8 {
		if wait := g.nextWait(noon); wait != time.Minute {
			t.Errorf("waits %s", wait)
		}
	}
	if wait := g.nextWait(noon.Add(time.Minute)); wait != 2*time.Minute {
		t.Errorf("the next one waits %s", wait)
	}
}

// I4: to credentials that may not see the scope, everything in it is not found. That proves nothing.
func TestI4_WhatIsHiddenIsNotGone(t *testing.T) {
	w := newWorld(t)
	made, err := w.client.CreateJITRunner(t.Context(), w.scope, "", "r-1", []string{"modal"})
	if err != nil {
		t.Fatal(err)
	}
	w.github.AddTokenWith("token", githubsim.FineGrainedToken, []string{"octo/other"}, map[string]string{"administration": "write"})
	_, byName := w.client.FindRunner(t.Context(), w.scope, "r-1")
	_, byID := w.client.GetRunner(t.Context(), w.scope, made.ID)
	for what, err := range map[string]error{"finding": byName, "getting": byID, "removing": w.client.DeleteRunner(t.Context(), w.scope, made.ID)} {
		if !fault.Is(err, fault.Forbidden) {
			t.Errorf("%s it gave %v", what, err)
		}
	}
}

// B50: what ended a list decides how long to wait, whatever went wrong before.
func TestB50_AThrottledListIsThrottledWhateverElseFailed(t *testing.T) {
	w := newWorld(t)
	w.github.AddQueuedJob("octo/widgets", "build", []string{"modal"})
	w.github.Inject(githubsim.Fault{Path: regexp.MustCompile("/jobs$"), Status: http.StatusBadGateway})
	w.github.Inject(githubsim.Fault{Path: regexp.MustCompile("/runs$"), Skip: 1, Status: 429, Header: http.Header{"Retry-After": {"600"}}})
	if _, err := w.client.ActiveJobs(t.Context(), "octo", "widgets"); fault.RetryAfter(err, w.clock.Now(), 0) < 9*time.Minute {
		t.Errorf("gave %v", err)
	}
}

func TestWhatIsKeptOfEarlierAnswersIsBounded(t *testing.T) {
	body := strings.Repeat("x", 500<<10)
	c := newConditional(roundTripper(func(req *http.Request) (*http.Response, error) {
		header := http.Header{"Etag": {`"` + req.URL.Path + `"`}}
		if req.Header.Get("If-None-Match") != "" {
			return &http.Response{StatusCode: http.StatusNotModified, Header: header, Body: http.NoBody}, nil
		}
		return &http.Response{StatusCode: http.StatusOK, Header: header, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1}, nil
	}))
	get := func(i int) string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://x/%d", i), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		if string(text) != body {
			t.Fatalf("%d bytes", len(text))
		}
		return resp.Header.Get(fromCacheHeader)
	}
	for i := range 200 {
		get(i)
		get(i % 7)
	}
	if kept := c.kept; kept > conditionalTotal || kept < conditionalTotal/2 || int(kept) != c.seen.Len()*len(body) {
		t.Errorf("%d bytes are kept of %d answers", kept, c.seen.Len())
	}
	if get(199) == "" {
		t.Error("the latest answer is not kept")
	}
}

// A thousand pools ask three questions each in turn: the answers must not push each other out before they are asked again.
func TestTheAnswersOfAThousandPoolsStayFree(t *testing.T) {
	c := newConditional(roundTripper(func(req *http.Request) (*http.Response, error) {
		answer := &http.Response{
			StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("[]")),
			Header: http.Header{"Etag": {"1"}, "Link": {`<http://x/next>; rel="next"`}, "X-Ratelimit-Remaining": {"10"}},
		}
		if req.Header.Get("If-None-Match") == "1" {
			answer.StatusCode, answer.Body, answer.Header = http.StatusNotModified, http.NoBody, http.Header{"Etag": {"1"}, "X-Ratelimit-Remaining": {"9"}}
		}
		return answer, nil
	}))
	ask := func(i int) http.Header {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://x/%d", i), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.Header
	}
	const questions = 3000
	for i := range questions {
		ask(i)
	}
	for i := range questions {
		again := ask(i)
		if again.Get(fromCacheHeader) == "" || again.Get("Link") == "" || again.Get("X-Ratelimit-Remaining") != "9" {
			t.Fatalf("question %d was answered with %v", i, again)
		}
	}
}

// Answers to the same question that arrive together are counted once.
func TestAnswersThatArriveTogetherLeaveNothingBehind(t *testing.T) {
	c := newConditional(nil)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for range 500 {
				c.keep("same", &seenAnswer{body: make([]byte, i)})
			}
		})
	}
	all.Wait()
	hit, _ := c.seen.Get("same")
	if got, want := c.kept, int64(len(hit.(*seenAnswer).body)); got != want {
		t.Errorf("%d bytes are kept, and %d are counted", want, got)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestTheLatestReleaseHasItsChecksum(t *testing.T) {
	w := newWorld(t)
	release, err := w.client.LatestRelease(t.Context(), w.scope)
	if err != nil || release.Version != "2.330.0" || len(release.SHA256) != 64 || !strings.HasPrefix(release.URL, w.github.URL()) {
		t.Errorf("release %+v: %v", release, err)
	}
}

func TestAPIURL(t *testing.T) {
	for server, want := range map[string]string{
		"https://github.com":        "https://api.github.com/",
		"https://octo.ghe.com/":     "https://api.octo.ghe.com/",
		"https://ghe.example.com":   "https://ghe.example.com/api/v3/",
		"http://127.0.0.1:8080":     "http://127.0.0.1:8080/api/v3/",
		"https://GHE.example.com/":  "https://GHE.example.com/api/v3/",
		"https://notgithub.com.io/": "https://notgithub.com.io/api/v3/",
	} {
		if got := apiURL(server); got != want {
			t.Errorf("%s has its API at %s, want %s", server, got, want)
		}
	}
}
