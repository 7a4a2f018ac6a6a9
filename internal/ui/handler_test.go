package ui

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/test/samples"
)

// cached objects, as a manager's cache gives them.
type cached struct {
	client.Reader
	fleet *samples.Fleet
	reads atomic.Int64
}

func (c *cached) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	switch l := list.(type) {
	case *v1alpha1.RunnerPoolList:
		c.reads.Add(1)
		l.Items = c.fleet.Pools
	case *v1alpha1.RunnerList:
		l.Items = c.fleet.Runners
	case *v1alpha1.WorkflowJobList:
		l.Items = c.fleet.Jobs
	}
	return nil
}

func newServer(now clock.WithTicker) (*Server, *cached) {
	elected := make(chan struct{})
	close(elected)
	reader := &cached{fleet: samples.NewFleet()}
	return New(Options{Address: "127.0.0.1:8082", Reader: reader, Clock: now, Replica: "pod-1", Version: "v1", Elected: elected, Log: logr.Discard()}), reader
}

// ask the page for something.
func ask(s *Server, method, path string, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, "http://localhost:8082"+path, nil)
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	answer := httptest.NewRecorder()
	s.Handler().ServeHTTP(answer, req)
	return answer
}

func TestEveryAnswerIsGuarded(t *testing.T) {
	s, _ := newServer(clock.RealClock{})
	for path, want := range map[string]struct {
		code int
		kind string
	}{
		"/ui":                  {200, "text/html; charset=utf-8"},
		"/ui?namespace=ci":     {200, "text/html; charset=utf-8"},
		"/ui/api/state":        {200, "application/json"},
		"/ui/assets/main.js":   {200, "text/javascript; charset=utf-8"},
		"/ui/assets/page.css":  {200, "text/css; charset=utf-8"},
		"/ui/assets/icon.svg":  {200, "image/svg+xml"},
		"/ui/assets/nothing":   {404, "text/plain; charset=utf-8"},
		"/ui/assets/":          {404, "text/plain; charset=utf-8"},
		"/ui/assets/%2e%2e%2f": {404, "text/plain; charset=utf-8"},
		"/metrics":             {404, "text/plain; charset=utf-8"},
		"/":                    {302, "text/html; charset=utf-8"},
	} {
		g := NewWithT(t)
		answer := ask(s, http.MethodGet, path)
		g.Expect(answer.Code).To(Equal(want.code), path)
		g.Expect(answer.Header().Get("Content-Type")).To(Equal(want.kind), path)
		g.Expect(answer.Header()).To(And(
			HaveKeyWithValue("Content-Security-Policy", ConsistOf(And(ContainSubstring("default-src 'none'"), ContainSubstring("frame-ancestors 'none'"), Not(ContainSubstring("unsafe"))))),
			HaveKeyWithValue("X-Content-Type-Options", ConsistOf("nosniff")), HaveKeyWithValue("Referrer-Policy", ConsistOf("no-referrer")),
			HaveKeyWithValue("Cross-Origin-Resource-Policy", ConsistOf("same-origin")), HaveKey("Cache-Control"), Not(HaveKey("Set-Cookie")),
		), path)
	}
}

func TestNothingButReadingIsLetIn(t *testing.T) {
	s, _ := newServer(clock.RealClock{})
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch} {
		NewWithT(t).Expect(ask(s, method, "/ui").Code).To(Equal(http.StatusMethodNotAllowed), method)
	}
	req := httptest.NewRequest(http.MethodGet, "http://localhost:8082/ui", strings.NewReader("a body"))
	answer := httptest.NewRecorder()
	s.Handler().ServeHTTP(answer, req)
	NewWithT(t).Expect(answer.Code).To(Equal(http.StatusBadRequest))
}

// A name of somebody else that leads to localhost is not served: DNS rebinding.
func TestALocalPageIsServedUnderLocalNamesAlone(t *testing.T) {
	for host, want := range map[string]int{
		"localhost:8082": 200, "LOCALHOST": 200, "127.0.0.1:9999": 200, "[::1]:8082": 200,
		"evil.example": 421, "localhost.evil.example:8082": 421, "127.0.0.1.evil.example": 421, "10.0.0.1:8082": 421, "": 421,
	} {
		s, _ := newServer(clock.RealClock{})
		NewWithT(t).Expect(ask(s, http.MethodGet, "/ui", "Host", host).Code).To(Equal(want), host)
		s.address = ":8082"
		NewWithT(t).Expect(ask(s, http.MethodGet, "/ui", "Host", host).Code).To(Equal(200), "a Service has any name")
	}
}

func TestOtherSitesMayLinkHereAndNothingElse(t *testing.T) {
	s, _ := newServer(clock.RealClock{})
	NewWithT(t).Expect(ask(s, http.MethodGet, "/ui/api/state", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors").Code).To(Equal(http.StatusForbidden))
	NewWithT(t).Expect(ask(s, http.MethodGet, "/ui", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate").Code).To(Equal(http.StatusOK))
	NewWithT(t).Expect(ask(s, http.MethodGet, "/ui/api/state", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors").Code).To(Equal(http.StatusOK))
}

// inline is what the policy forbids, so that a browser would leave it out.
var inline = regexp.MustCompile(`(?i)<script(?:\s[^>]*)?>\s*[^<\s]|<style|\sstyle=|\son[a-z]+=|javascript:`)

func TestThePageIsWholeWithoutScripts(t *testing.T) {
	g := NewWithT(t)
	s, _ := newServer(clock.RealClock{})
	text := ask(s, http.MethodGet, "/ui").Body.String()
	g.Expect(inline.FindString(text)).To(BeEmpty())
	g.Expect(text).To(And(
		ContainSubstring(`<noscript><meta http-equiv="refresh"`), ContainSubstring("<title>2 pools not ready · Runners</title>"),
		ContainSubstring("the Secret release/modal does not exist"), ContainSubstring("Create the Secret that the message names."),
		ContainSubstring("all 6 places are taken (spec.maxConcurrency): number 2 in line"), ContainSubstring("queued 1s, pending 4s, starting 25s, idle 2s, running for"),
		ContainSubstring("evaluating on 12,000 samples\nKilled"), ContainSubstring(`href="https://modal.com/id/sb-WIDGETS-0"`), ContainSubstring("pod-1 · leads"),
	))
}

func TestWhatOthersWriteIsTextAndNothingElse(t *testing.T) {
	g := NewWithT(t)
	s, reader := newServer(clock.RealClock{})
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	for i := range reader.fleet.Jobs {
		job := &reader.fleet.Jobs[i]
		job.Spec.Name, job.Spec.Workflow, job.Spec.Repository, job.Spec.URL = evil, evil, evil, "javascript:alert(1)"
	}
	for i := range reader.fleet.Pools {
		for j := range reader.fleet.Pools[i].Status.Conditions {
			reader.fleet.Pools[i].Status.Conditions[j].Message = evil
		}
	}
	for i := range reader.fleet.Runners {
		if last := reader.fleet.Runners[i].Status.LastFailure; last != nil {
			last.Log, last.Message = evil, evil
		}
	}
	text := ask(s, http.MethodGet, "/ui?namespace=%22%3E%3Cscript%3E&pool=").Body.String() + ask(s, http.MethodGet, "/ui").Body.String()
	g.Expect(text).To(ContainSubstring("&lt;script&gt;alert(1)"))
	g.Expect(text).NotTo(Or(ContainSubstring("<script>alert"), ContainSubstring("<img"), ContainSubstring("javascript:")))
}

func TestTheStateIsSentWhenItIsAnother(t *testing.T) {
	g := NewWithT(t)
	s, reader := newServer(clock.RealClock{})
	answer := ask(s, http.MethodGet, "/ui/api/state?namespace=release")
	var state State
	g.Expect(json.Unmarshal(answer.Body.Bytes(), &state)).To(Succeed())
	g.Expect(state.Totals).To(And(HaveField("Pools", 1), HaveField("Broken", 1)))
	g.Expect(state.Filter.Namespace).To(Equal("release"))
	tag := answer.Header().Get("ETag")
	g.Expect(ask(s, http.MethodGet, "/ui/api/state?namespace=release", "If-None-Match", tag).Code).To(Equal(http.StatusNotModified))
	g.Expect(ask(s, http.MethodGet, "/ui/api/state", "If-None-Match", tag).Code).To(Equal(http.StatusOK), "another filter")
	g.Expect(reader.reads.Load()).To(BeEquivalentTo(1), "one look at the cache serves all")
}

func TestAClusterThatCannotBeReadIsTold(t *testing.T) {
	s, _ := newServer(clock.RealClock{})
	s.snapshots.reader = failing{}
	for _, path := range []string{"/ui", "/ui/api/state"} {
		answer := ask(s, http.MethodGet, path)
		NewWithT(t).Expect(answer.Code).To(Equal(http.StatusServiceUnavailable))
		NewWithT(t).Expect(answer.Body.String()).NotTo(ContainSubstring("the secret detail"))
	}
}

type failing struct{ client.Reader }

func (failing) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return io.ErrUnexpectedEOF
}

func TestAssetsAreSentWhenTheyHaveChanged(t *testing.T) {
	g := NewWithT(t)
	s, _ := newServer(clock.RealClock{})
	answer := ask(s, http.MethodGet, "/ui/assets/main.js")
	g.Expect(answer.Header().Get("Cache-Control")).To(Equal("no-cache"))
	g.Expect(ask(s, http.MethodGet, "/ui/assets/main.js", "If-None-Match", answer.Header().Get("ETag")).Code).To(Equal(http.StatusNotModified))
	g.Expect(ask(s, http.MethodHead, "/ui").Code).To(Equal(http.StatusOK))
}

// The page is whole by itself: no address of anybody else is in what it is made of.
func TestAssetsNeedNobodyElse(t *testing.T) {
	elsewhere := regexp.MustCompile(`(?:https?:)?//[a-z]+[.:]`)
	for _, folder := range []string{"assets", "templates"} {
		files, err := os.ReadDir(folder)
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(folder + "/" + file.Name())
			if err != nil {
				t.Fatal(err)
			}
			found := elsewhere.FindString(strings.ReplaceAll(string(text), "http://www.w3.org/2000/svg", ""))
			if found != "" {
				t.Errorf("%s/%s names %s", folder, file.Name(), found)
			}
		}
	}
}

// The dark theme is in the style sheet twice: for systems that prefer it, and for those who chose it.
func TestTheDarkThemeIsTheSameForAll(t *testing.T) {
	g := NewWithT(t)
	text, err := os.ReadFile("assets/page.css")
	g.Expect(err).NotTo(HaveOccurred())
	theme := func(selector string) []string {
		_, after, found := strings.Cut(string(text), selector+" {")
		g.Expect(found).To(BeTrue(), selector)
		body, _, _ := strings.Cut(after, "}")
		return strings.Fields(body)
	}
	g.Expect(theme(`:root:not([data-theme="light"])`)).To(Equal(theme(`:root[data-theme="dark"]`)))
}

func TestSpansAreShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59 * time.Second: "59s", time.Minute: "1m", 61 * time.Second: "1m 1s", 9*time.Minute + 59*time.Second: "9m 59s",
		10*time.Minute + 30*time.Second: "10m", time.Hour: "1h", 61 * time.Minute: "1h 1m", 24 * time.Hour: "1d", 25*time.Hour + 59*time.Minute: "1d 1h",
	} {
		NewWithT(t).Expect(span(d)).To(Equal(want), d.String())
	}
}
