package e2e

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the signature that must be refused
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
)

// deliveryOf the latest webhook with that action.
func (w *world) deliveryOf(action string) githubsim.Delivery {
	w.t.Helper()
	var found githubsim.Delivery
	w.Eventually(func() bool {
		for _, d := range w.github.Deliveries() {
			if d.Action == action {
				found = d
			}
		}
		return found.GUID != ""
	}).Should(BeTrue())
	return found
}

// send a body to the receiver as GitHub would, signed with the secret, changed by header.
func (w *world) send(event string, body []byte, secret string, header map[string]string) (int, string) {
	return w.sendTo(w.manager.WebhookURL, event, body, secret, header)
}

func (w *world) sendTo(url, event string, body []byte, secret string, header map[string]string) (int, string) {
	req, err := http.NewRequestWithContext(w.ctx, http.MethodPost, url, bytes.NewReader(body))
	w.Expect(err).NotTo(HaveOccurred())
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write(body)
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	req.Header.Set("X-GitHub-Event", event)
	req.Header.Set("X-GitHub-Delivery", "00000000-0000-0000-0000-000000000000")
	req.Header.Set("Content-Type", "application/json")
	for name, value := range header {
		if req.Header.Set(name, value); value == "" {
			req.Header.Del(name)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	w.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	w.Expect(err).NotTo(HaveOccurred())
	return resp.StatusCode, string(text)
}

func TestB01_TenDeliveriesOfOneEventMakeOneJobAndOneRunner(t *testing.T) {
	w := newWorld(t, withWebhooks)
	w.awaitReady(w.pool("p", 5))
	w.github.SetWebhookFaults(githubsim.WebhookFaults{Drop: 1})
	id := w.queue("build", "sleep 1")
	delivery := w.deliveryOf("queued")
	w.github.SetWebhookFaults(githubsim.WebhookFaults{})
	var deliveries sync.WaitGroup
	for range 10 {
		deliveries.Go(func() {
			status, text := w.send("workflow_job", delivery.Body, webhookSecret, nil)
			if status != http.StatusAccepted {
				t.Errorf("answered %d: %s", status, text)
			}
		})
	}
	deliveries.Wait()
	w.Expect(w.jobs()).To(HaveLen(1))
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
	w.Expect(w.modal.Sandboxes()).To(HaveLen(1))
}

func TestB02_TwentyJobsAtOnceAreAllServedWithinTheLimit(t *testing.T) {
	w := newWorld(t)
	w.awaitReady(w.pool("p", 3))
	var ids []int64
	for i := range 20 {
		ids = append(ids, w.queue(fmt.Sprintf("job-%d", i), "sleep 0.2"))
	}
	w.awaitAll(ids, "success")
	w.awaitNothingLeft()
	w.Expect(w.modal.Peak("")).To(BeNumerically("<=", 3))
}

func TestB03_StatesOnlyMoveForwardInWhateverOrderEventsCome(t *testing.T) {
	w := newWorld(t, withWebhooks)
	w.awaitReady(w.pool("p", 2, idleTimeout(time.Millisecond)))
	w.github.SetWebhookFaults(githubsim.WebhookFaults{Drop: 1})
	id := w.queue("build")
	w.Expect(w.github.TakeJob(id, w.github.AddForeignRunner(the.place(), "elsewhere", "modal"))).To(Succeed())
	w.Expect(w.github.CompleteJob(id, "success")).To(Succeed())
	for _, action := range []string{"completed", "in_progress", "queued", "completed", "queued"} {
		status, text := w.send("workflow_job", w.deliveryOf(action).Body, webhookSecret, nil)
		w.Expect(status).To(Equal(http.StatusAccepted), text)
	}
	w.Expect(w.jobs()).To(HaveLen(1))
	got := w.jobs()[0].Status
	w.Expect(got.State).To(Equal(v1alpha1.JobCompleted))
	w.Expect(got.Conclusion).To(Equal("success"))
	w.Expect(got.RunnerName).To(Equal("elsewhere"))
	w.Expect(got.StartedAt).NotTo(BeNil())
	w.Expect(w.modal.Sandboxes()).To(BeEmpty())
}

func TestB04_AJobQueuedWhileTheManagerWasDownGetsItsRunner(t *testing.T) {
	w := newWorld(t)
	w.awaitReady(w.pool("p", 1))
	w.manager.Kill()
	id := w.queue("build")
	w.startManager()
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
}

func TestB05_AJobWhoseWebhookNeverCameIsFoundByThePoll(t *testing.T) {
	w := newWorld(t, polled)
	w.github.AddWebhook(the.place(), w.manager.WebhookURL, webhookSecret)
	w.github.SetWebhookFaults(githubsim.WebhookFaults{Drop: 1})
	w.awaitReady(w.pool("p", 1))
	id := w.queue("build")
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
	w.Expect(w.github.Requests()).To(HaveKey("GET /repos/{owner}/{repo}/actions/runs 304"), "an idle repository must cost nothing")
}

func TestB06_ARunnerThatTookAnotherJobIsReplacedAndNoneIsMadeForThatJob(t *testing.T) {
	w := newWorld(t)
	w.awaitReady(w.pool("p", 5))
	// Job B has waited for longer, asks for less than the runner that is made for job A offers, and is nobody's demand.
	b := w.github.AddQueuedJob(repository, "b", []string{"self-hosted", "x64"}, "sleep 2")
	a := w.github.AddQueuedJob(repository, "a", []string{"modal", "linux"}, "sleep 0.5")
	w.awaitAll([]int64{a, b}, "success")
	w.awaitNothingLeft()
	w.Expect(w.modal.Sandboxes()).To(HaveLen(2))
}

func TestB07_TheSurplusRunnerOfACancelledJobIsRetired(t *testing.T) {
	w := newWorld(t)
	w.awaitReady(w.pool("p", 5, idleTimeout(time.Second)))
	gone := w.queue("cancelled", "sleep 60")
	w.Eventually(w.runners).Should(HaveLen(1))
	w.github.CancelJob(gone)
	w.awaitNothingLeft()
	w.Expect(w.conclusion(gone)()).To(Equal("cancelled"))
}

func TestB07_ARunnerThatJustBecameBusyIsNotRetired(t *testing.T) {
	w := newWorld(t, withWebhooks)
	w.awaitReady(w.pool("p", 5, idleTimeout(time.Millisecond)))
	first := w.queue("first", "sleep 4")
	w.Eventually(func() string { job, _ := w.github.Job(first); return job.Status }).Should(Equal("in_progress"))
	// The surplus is retired while the runner has the job: GitHub's refusal must save it.
	for _, runner := range w.runners() {
		w.Expect(plane.Client.Delete(w.ctx, &runner)).To(Succeed())
	}
	w.awaitAll([]int64{first}, "success")
	w.awaitNothingLeft()
}

func TestB08_CompletedWithoutARunnerEndsNoRunner(t *testing.T) {
	w := newWorld(t, withWebhooks)
	w.awaitReady(w.pool("p", 2))
	running := w.queue("running", "sleep 4")
	w.Eventually(func() string { job, _ := w.github.Job(running); return job.Status }).Should(Equal("in_progress"))
	cancelled := w.github.AddQueuedJob(repository, "cancelled", []string{"modal", "nobody-has-this"})
	w.github.CancelJob(cancelled)
	w.awaitAll([]int64{running}, "success")
	w.awaitNothingLeft()
}

func TestB09_LabelsMatchWhateverTheirCaseAndOrder(t *testing.T) {
	w := newWorld(t)
	w.awaitReady(w.pool("p", 3, labels("Modal", "GPU")))
	served := []int64{
		w.github.AddQueuedJob(repository, "order", []string{"gpu", "MODAL"}),
		w.github.AddQueuedJob(repository, "fewer", []string{"gpu", "self-hosted", "Linux"}),
	}
	unserved := []int64{
		w.github.AddQueuedJob(repository, "more", []string{"modal", "arm64"}),
		w.github.AddQueuedJob(repository, "hosted", []string{"ubuntu-latest"}),
	}
	w.awaitAll(served, "success")
	w.awaitNothingLeft()
	for _, id := range unserved {
		job, _ := w.github.Job(id)
		w.Expect(job.Status).To(Equal("queued"), job.Name)
	}
	w.Expect(w.jobs()).To(HaveLen(len(served)))
}

func TestB10_OfSeveralPoolsTheSameOneServesAJob(t *testing.T) {
	w := newWorld(t)
	wide := w.pool("a-wide", 2, labels("modal", "spare"))
	low := w.pool("b-low", 2)
	high := w.pool("c-high", 2, func(s *v1alpha1.RunnerPoolSpec) { s.Priority = 1 })
	for _, pool := range []*v1alpha1.RunnerPool{wide, low, high} {
		w.awaitReady(pool)
	}
	ids := []int64{w.queue("one"), w.queue("two"), w.queue("three")}
	w.awaitAll(ids, "success")
	for _, job := range w.jobs() {
		w.Expect(job.Spec.PoolName).To(Equal("c-high"))
	}
}

func TestB11_AtTheLimitJobsWaitInOrderAndQuietly(t *testing.T) {
	w := newWorld(t)
	w.awaitReady(w.pool("p", 1))
	var ids []int64
	for i := range 5 {
		ids = append(ids, w.queue(fmt.Sprintf("job-%d", i), "sleep 0.3"))
	}
	w.awaitAll(ids, "success")
	w.awaitNothingLeft()
	var started []time.Time
	for _, id := range ids {
		job, _ := w.github.Job(id)
		started = append(started, job.StartedAt)
	}
	w.Expect(slices.IsSortedFunc(started, time.Time.Compare)).To(BeTrue(), "they started at %v", started)
	w.Expect(w.modal.Peak("")).To(Equal(1))
	w.Expect(w.events()).NotTo(ContainElement(ContainSubstring("Failed")))
	w.Expect(len(w.events())).To(BeNumerically("<=", 4), "events: %v", w.events())
	w.Expect(strings.Count(w.manager.Log(), `"scaling"`)).To(BeNumerically("<=", len(ids)))
}

func TestB12_AJobAtAGateIsNoDemandUntilItIsApproved(t *testing.T) {
	for name, options := range map[string][]option{"by webhook": {withWebhooks}, "by poll": {polled}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options...)
			w.awaitReady(w.pool("p", 1, idleTimeout(time.Millisecond)))
			_, err := w.github.Push(repository, "gate.yml", []byte(
				"on: push\njobs:\n  deploy:\n    runs-on: [modal]\n    environment: production\n    steps:\n    - run: exit 0\n"))
			w.Expect(err).NotTo(HaveOccurred())
			gated := w.github.Jobs()[0]
			w.Expect(gated.Status).To(Equal("waiting"))
			w.Consistently(func() int { return len(w.github.Runners()) }, "3s", often).Should(BeNumerically("<=", 1))
			w.awaitNothingLeft()
			w.github.Approve(gated.ID)
			w.awaitAll([]int64{gated.ID}, "success")
			w.awaitNothingLeft()
		})
	}
}

func TestB60_TheReceiverRefusesWhatItCannotTrustOrStore(t *testing.T) {
	w := newWorld(t, withWebhooks)
	w.awaitReady(w.pool("p", 0))
	w.queue("build")
	body := w.deliveryOf("queued").Body
	strange := bytes.Replace(body, []byte(`"action":"queued"`), []byte(`"action":"danced"`), 1)
	unmatched := bytes.ReplaceAll(body, []byte(`"modal"`), []byte(`"ubuntu-latest"`))
	job := w.github.Jobs()[0]
	unmatched = bytes.Replace(unmatched, fmt.Appendf(nil, `"id":%d,`, job.ID), fmt.Appendf(nil, `"id":9%d,`, job.ID), 1)
	sha1Only := hmac.New(sha1.New, []byte(webhookSecret))
	_, _ = sha1Only.Write(body)
	for name, test := range map[string]struct {
		event  string
		body   []byte
		secret string
		header map[string]string
		status int
		text   string
	}{
		"a good one":        {"workflow_job", body, webhookSecret, nil, http.StatusAccepted, "job"},
		"ping":              {"ping", []byte(`{"zen":"x"}`), webhookSecret, nil, http.StatusOK, "pong"},
		"a wrong signature": {"workflow_job", body, "guessed", nil, http.StatusUnauthorized, "matches no webhook secret"},
		"no signature":      {"workflow_job", body, "", map[string]string{"X-Hub-Signature-256": ""}, http.StatusUnauthorized, "has no X-Hub-Signature-256"},
		"SHA-1 alone":       {"workflow_job", body, "", map[string]string{"X-Hub-Signature-256": "", "X-Hub-Signature": "sha1=" + hex.EncodeToString(sha1Only.Sum(nil))}, http.StatusUnauthorized, "has no X-Hub-Signature-256"},
		"SHA-1 in disguise": {"workflow_job", body, "", map[string]string{"X-Hub-Signature-256": "sha1=" + hex.EncodeToString(sha1Only.Sum(nil))}, http.StatusUnauthorized, "has no X-Hub-Signature-256"},
		"an empty secret":   {"workflow_job", body, "", nil, http.StatusUnauthorized, "matches no webhook secret"},
		"not JSON":          {"workflow_job", []byte("action=queued"), webhookSecret, nil, http.StatusBadRequest, "not the JSON"},
		"no job in it":      {"workflow_job", []byte(`{"action":"queued"}`), webhookSecret, nil, http.StatusBadRequest, "lacks the job's id"},
		"too large":         {"workflow_job", bytes.Repeat([]byte(" "), 25<<20+1), webhookSecret, nil, http.StatusRequestEntityTooLarge, "larger than 25 MB"},
		"an unknown event":  {"push", body, webhookSecret, nil, http.StatusAccepted, `event "push" is ignored`},
		"an unknown action": {"workflow_job", strange, webhookSecret, nil, http.StatusAccepted, `action "danced" is ignored`},
		"a job of no pool":  {"workflow_job", unmatched, webhookSecret, nil, http.StatusAccepted, "no RunnerPool serves octo/widgets"},
	} {
		t.Run(name, func(t *testing.T) {
			status, text := w.send(test.event, test.body, test.secret, test.header)
			if status != test.status || !strings.Contains(text, test.text) {
				t.Errorf("answered %d %q, want %d with %q", status, text, test.status, test.text)
			}
		})
	}
	if !json.Valid(body) {
		t.Error("the simulator sends what is no JSON")
	}
}
