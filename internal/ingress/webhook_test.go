package ingress

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// B60, I2: a delivery is answered well only when the API server has stored it.
func TestB60_ADeliveryThatCannotBeStoredIsRefusedSoThatGitHubShowsIt(t *testing.T) {
	r := newReceiver(t, repositoryPool("ci", "p", ""))
	g := NewWithT(t)
	r.away = errors.New("etcdserver: request timed out")
	code, text := r.deliver(Path, queuedEvent, sharedSecret)
	g.Expect(code).To(Equal(http.StatusServiceUnavailable), text)
	g.Expect(text).NotTo(ContainSubstring("etcd"), "the outside is told what is inside")
	r.away = nil
	code, text = r.deliver(Path, queuedEvent, sharedSecret)
	g.Expect(code).To(Equal(http.StatusAccepted), text)
	g.Expect(r.jobs()).To(HaveLen(1))
}

func TestB60_Answers(t *testing.T) {
	header := func(name, value string) func(*http.Request) {
		return func(req *http.Request) {
			if req.Header.Set(name, value); value == "" {
				req.Header.Del(name)
			}
		}
	}
	for name, test := range map[string]struct {
		body   string
		secret string
		change func(*http.Request)
		code   int
		text   string
	}{
		"a job":                  {queuedEvent, sharedSecret, nil, 202, "job created"},
		"a wrong signature":      {queuedEvent, "other", nil, 401, "matches no webhook secret"},
		"an empty secret":        {queuedEvent, "", nil, 401, "matches no webhook secret"},
		"no signature":           {queuedEvent, sharedSecret, header("X-Hub-Signature-256", ""), 401, "no X-Hub-Signature-256"},
		"a SHA-1 signature":      {queuedEvent, sharedSecret, header("X-Hub-Signature-256", "sha1=abcd"), 401, "no X-Hub-Signature-256"},
		"a signature cut short":  {queuedEvent, sharedSecret, header("X-Hub-Signature-256", signed(queuedEvent, sharedSecret)[:20]), 401, "matches no"},
		"no JSON":                {"{", sharedSecret, nil, 400, "not the JSON"},
		"JSON of another shape":  {`{"action":"queued","workflow_job":[]}`, sharedSecret, nil, 400, "not the JSON"},
		"no job":                 {`{"action":"queued"}`, sharedSecret, nil, 400, "lacks"},
		"an unknown status":      {strings.Replace(queuedEvent, `"status":"queued"`, `"status":"dreaming"`, 1), sharedSecret, nil, 400, "lacks"},
		"an unknown action":      {strings.Replace(queuedEvent, `"action":"queued"`, `"action":"dreamed"`, 1), sharedSecret, nil, 202, "ignored"},
		"an unknown event":       {queuedEvent, sharedSecret, header("X-GitHub-Event", "push"), 202, "ignored"},
		"a ping":                 {`{"zen":"x"}`, sharedSecret, header("X-GitHub-Event", "ping"), 200, "pong"},
		"no pool that matches":   {strings.Replace(queuedEvent, `["modal"]`, `["gpu"]`, 1), sharedSecret, nil, 202, "no RunnerPool serves octo/widgets with labels [gpu]"},
		"a GET":                  {queuedEvent, sharedSecret, func(req *http.Request) { req.Method = http.MethodGet }, 405, "POST"},
		"a length that is a lie": {queuedEvent, sharedSecret, func(req *http.Request) { req.ContentLength = maxBody + 1 }, 413, "25 MB"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, repositoryPool("ci", "p", ""))
			if test.change == nil {
				test.change = func(*http.Request) {}
			}
			code, text := r.deliver(Path, test.body, test.secret, test.change)
			if code != test.code || !strings.Contains(text, test.text) {
				t.Errorf("answered %d %q, want %d %q", code, text, test.code, test.text)
			}
			if stored := len(r.jobs()); (stored > 0) != (name == "a job") {
				t.Errorf("%d jobs are stored", stored)
			}
		})
	}
}

func TestB60_ABodyOfUnknownLengthIsReadNoFurtherThanGitHubsLimit(t *testing.T) {
	r := newReceiver(t)
	endless := &endlessReader{}
	req := httptest.NewRequest(http.MethodPost, Path, endless)
	req.ContentLength = -1
	req.Header.Set("X-Hub-Signature-256", signed("", sharedSecret))
	out := httptest.NewRecorder()
	r.mux.ServeHTTP(out, req)
	if out.Code != http.StatusRequestEntityTooLarge || endless.given > maxBody+1<<20 {
		t.Errorf("answered %d after %d bytes", out.Code, endless.given)
	}
}

type endlessReader struct{ given int64 }

func (e *endlessReader) Read(p []byte) (int, error) {
	e.given += int64(len(p))
	return len(p), nil
}

func TestDeliveriesThatWouldTakeTooMuchMemoryAreToldToComeAgain(t *testing.T) {
	r := newReceiver(t, repositoryPool("ci", "p", ""))
	r.deliver(Path, queuedEvent, sharedSecret)
	if !r.webhook.bodies.TryAcquire(maxBodies) {
		t.Fatal("a delivery that was answered still holds room")
	}
	code, text := r.deliver(Path, queuedEvent, sharedSecret)
	if code != http.StatusServiceUnavailable {
		t.Errorf("answered %d %s", code, text)
	}
	r.webhook.bodies.Release(maxBodies)
	if code, text := r.deliver(Path, queuedEvent, sharedSecret); code != http.StatusAccepted {
		t.Errorf("with room again it answered %d %s", code, text)
	}
}

// Whoever could not have signed a delivery is refused before anything of it is read.
func TestADeliveryThatNobodyCanHaveSignedIsNotRead(t *testing.T) {
	for name, test := range map[string]struct{ path, signature string }{
		"no signature":                {Path, ""},
		"a SHA-1 signature":           {Path, "sha1=abcd"},
		"a signature cut short":       {Path, signed("", sharedSecret)[:20]},
		"a signature that is no hex":  {Path, "sha256=" + strings.Repeat("x", 64)},
		"a pool that is not":          {Path + "/ci/none", signed("", sharedSecret)},
		"a pool without its own":      {Path + "/ci/p", signed("", sharedSecret)},
		"a pool whose Secret is gone": {Path + "/ci/own", signed("", sharedSecret)},
	} {
		r := newReceiver(t, repositoryPool("ci", "p", ""), repositoryPool("ci", "own", "gone"))
		body := &endlessReader{}
		req := httptest.NewRequest(http.MethodPost, test.path, body)
		req.Header.Set("X-Hub-Signature-256", test.signature)
		out := httptest.NewRecorder()
		r.mux.ServeHTTP(out, req)
		if out.Code != http.StatusUnauthorized || body.given > 0 {
			t.Errorf("%s: answered %d after %d bytes", name, out.Code, body.given)
		}
	}
}

// idleReader tells that it is read from, and gives nothing until it is released.
type idleReader struct{ reading, release chan struct{} }

func (r *idleReader) Read([]byte) (int, error) {
	r.reading <- struct{}{}
	<-r.release
	return 0, io.ErrUnexpectedEOF
}

func TestConnectionsThatSendNothingHoldNoRoom(t *testing.T) {
	r := newReceiver(t, repositoryPool("ci", "p", ""))
	idle := &idleReader{reading: make(chan struct{}), release: make(chan struct{})}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			req := httptest.NewRequest(http.MethodPost, Path, idle)
			req.ContentLength = maxBody
			req.Header.Set("X-Hub-Signature-256", signed("", sharedSecret))
			r.mux.ServeHTTP(httptest.NewRecorder(), req)
		})
		<-idle.reading
	}
	if code, text := r.deliver(Path, queuedEvent, sharedSecret); code != http.StatusAccepted {
		t.Errorf("answered %d %s", code, text)
	}
	close(idle.release)
	all.Wait()
	if !r.webhook.bodies.TryAcquire(maxBodies) {
		t.Error("a delivery that broke off still holds room")
	}
}

func TestAFormIsAcceptedSinceGitHubSendsItByDefault(t *testing.T) {
	r := newReceiver(t, repositoryPool("ci", "p", ""))
	form := func(req *http.Request) { req.Header.Set("Content-Type", "application/x-www-form-urlencoded") }
	if code, text := r.deliver(Path, url.Values{"payload": {queuedEvent}}.Encode(), sharedSecret, form); code != 202 || text != "job created" {
		t.Errorf("answered %d %s", code, text)
	}
	if code, text := r.deliver(Path, "other=1", sharedSecret, form); code != 400 || !strings.Contains(text, "payload") {
		t.Errorf("without the field it answered %d %s", code, text)
	}
}

// B61: a signature made with one pool's secret moves only pools that trust that secret.
func TestB61_ASignatureMovesOnlyPoolsThatTrustIt(t *testing.T) {
	gpu := func(s *v1alpha1.RunnerPoolSpec) { s.Labels = []v1alpha1.RunnerLabel{"gpu"} }
	objects := func() *receiver {
		return newReceiver(t,
			repositoryPool("ci", "own", "hook"), repositoryPool("ci", "friend", "hook", gpu),
			repositoryPool("other", "foreign", "hook", func(s *v1alpha1.RunnerPoolSpec) { s.Labels = []v1alpha1.RunnerLabel{"arm"} }),
			repositoryPool("other", "shared", "", func(s *v1alpha1.RunnerPoolSpec) { s.Labels = []v1alpha1.RunnerLabel{"cpu"} }),
			webhookSecretObject("ci", "hook", "of-ci", ""), webhookSecretObject("other", "hook", "of-other", ""),
		)
	}
	for name, test := range map[string]struct {
		path, secret, label string
		code                int
		text                string
	}{
		"its own":                                   {"/webhook/ci/own", "of-ci", "modal", 202, "job created"},
		"one that shares the Secret":                {"/webhook/ci/own", "of-ci", "gpu", 202, "job created"},
		"one of another namespace":                  {"/webhook/ci/own", "of-ci", "arm", 202, "does not trust"},
		"one that trusts the controller's":          {"/webhook/ci/own", "of-ci", "cpu", 202, "does not trust"},
		"the controller's, for one with its own":    {"/webhook", sharedSecret, "modal", 202, "does not trust"},
		"the controller's, for one without its own": {"/webhook", sharedSecret, "cpu", 202, "job created"},
		"the controller's at a pool's path":         {"/webhook/ci/own", sharedSecret, "modal", 401, "matches no"},
		"the pool's at the controller's path":       {"/webhook", "of-ci", "modal", 401, "matches no"},
		"another namespace's":                       {"/webhook/ci/own", "of-other", "modal", 401, "matches no"},
		"at the path of a pool that is not":         {"/webhook/ci/none", "of-ci", "modal", 401, "matches no"},
		"at the path of a pool without its own":     {"/webhook/other/shared", sharedSecret, "cpu", 401, "matches no"},
	} {
		t.Run(name, func(t *testing.T) {
			r := objects()
			body := strings.Replace(queuedEvent, `["modal"]`, fmt.Sprintf("[%q]", test.label), 1)
			code, text := r.deliver(test.path, body, test.secret)
			if code != test.code || !strings.Contains(text, test.text) {
				t.Errorf("answered %d %q, want %d %q", code, text, test.code, test.text)
			}
			if (len(r.jobs()) == 1) != (test.text == "job created") {
				t.Errorf("%d jobs are stored", len(r.jobs()))
			}
		})
	}
}

func TestB61_AKnownJobIsNotMovedByASecretThatItsPoolDoesNotTrust(t *testing.T) {
	r := newReceiver(t, repositoryPool("ci", "own", "hook"), webhookSecretObject("ci", "hook", "of-ci", ""))
	r.deliver("/webhook/ci/own", queuedEvent, "of-ci")
	completed := strings.NewReplacer(`"action":"queued"`, `"action":"completed"`, `"status":"queued"`, `"status":"completed"`).Replace(queuedEvent)
	if code, text := r.deliver(Path, completed, sharedSecret); code != 202 || !strings.Contains(text, "does not trust") {
		t.Errorf("answered %d %s", code, text)
	}
	if state := r.jobs()[0].Status.State; state != v1alpha1.JobQueued {
		t.Errorf("the job is %s", state)
	}
}

// B62: what was delivered long ago may be played again; GitHub is asked before it starts anything.
func TestB62_AnOldDeliveryIsToBeConfirmed(t *testing.T) {
	for age, want := range map[time.Duration]bool{time.Minute: false, 9 * time.Minute: false, 11 * time.Minute: true, 24 * time.Hour: true} {
		r := newReceiver(t, repositoryPool("ci", "p", ""))
		r.clock.SetTime(created.Add(age))
		r.deliver(Path, queuedEvent, sharedSecret)
		if got := r.jobs()[0].Status.Unconfirmed; got != want {
			t.Errorf("after %s it is to be confirmed: %v", age, got)
		}
	}
}

func TestB62_ARepeatedDeliveryChangesNothingOfAKnownJob(t *testing.T) {
	r := newReceiver(t, repositoryPool("ci", "p", ""))
	r.deliver(Path, queuedEvent, sharedSecret)
	before := r.jobs()[0]
	r.clock.SetTime(created.Add(time.Hour))
	if code, text := r.deliver(Path, queuedEvent, sharedSecret); code != 202 || text != "job unchanged" {
		t.Errorf("answered %d %s", code, text)
	}
	if after := r.jobs()[0]; after.ResourceVersion != before.ResourceVersion {
		t.Error("the job was written again")
	}
}

// B63: two secrets are valid while one replaces the other, without a restart.
func TestB63_TwoSecretsAreValidDuringARotation(t *testing.T) {
	r := newReceiver(t, repositoryPool("ci", "own", "hook"), webhookSecretObject("ci", "hook", "new", "old"))
	for secret, want := range map[string]int{"new": 202, "old": 202, "older": 401} {
		if code, text := r.deliver("/webhook/ci/own", queuedEvent, secret); code != want {
			t.Errorf("%s: answered %d %s", secret, code, text)
		}
	}
	if err := os.WriteFile(filepath.Join(r.webhook.SecretDir, "next"), []byte("next"), 0o600); err != nil {
		t.Fatal(err)
	}
	for secret, want := range map[string]int{sharedSecret: 202, "next": 202} {
		if code, text := r.deliver(Path, queuedEvent, secret); code != want {
			t.Errorf("%s: answered %d %s", secret, code, text)
		}
	}
	if err := os.Remove(filepath.Join(r.webhook.SecretDir, "secret")); err != nil {
		t.Fatal(err)
	}
	if code, _ := r.deliver(Path, queuedEvent, sharedSecret); code != 401 {
		t.Errorf("after the rotation the old secret is answered %d", code)
	}
}

func TestWhiteSpaceAroundASecretIsNoPartOfIt(t *testing.T) {
	r := newReceiver(t, repositoryPool("ci", "own", "hook"), webhookSecretObject("ci", "hook", "new\n", " old "))
	for secret, want := range map[string]int{"new": 202, "old": 202, "new\n": 401, "": 401} {
		if code, text := r.deliver("/webhook/ci/own", queuedEvent, secret); code != want {
			t.Errorf("%q: answered %d %s", secret, code, text)
		}
	}
}

func TestAJobThatIsRefusedIsStoredAndTheAnswerSaysWhy(t *testing.T) {
	r := newReceiver(t, repositoryPool("ci", "p", ""))
	public := strings.Replace(queuedEvent, `"private":true`, `"private":false`, 1)
	code, text := r.deliver(Path, public, sharedSecret)
	if code != 202 || !strings.Contains(text, "octo/widgets is public") {
		t.Errorf("answered %d %s", code, text)
	}
	if jobs := r.jobs(); len(jobs) != 1 || !jobs[0].Spec.Public {
		t.Errorf("stored %v", jobs)
	}
}

// Whether code may come from a fork is known for free where the repository has none.
func TestOnlyARepositoryWithForksLeavesOpenWhereAJobComesFrom(t *testing.T) {
	for change, want := range map[string]string{
		`"forks_count":0`: "octo/widgets",
		`"forks_count":1`: "",
		`"other":0`:       "",
	} {
		r := newReceiver(t, repositoryPool("ci", "p", ""))
		r.deliver(Path, strings.Replace(queuedEvent, `"forks_count":0`, change, 1), sharedSecret)
		if got := r.jobs()[0].Status.HeadRepository; got != want {
			t.Errorf("with %s the head repository is %q, want %q", change, got, want)
		}
	}
	r := newReceiver(t, repositoryPool("ci", "p", ""))
	r.deliver(Path, strings.Replace(queuedEvent, `"fork":false`, `"fork":true`, 1), sharedSecret)
	if got := r.jobs()[0].Status.HeadRepository; got != "" {
		t.Errorf("of a fork the head repository is %q", got)
	}
}
