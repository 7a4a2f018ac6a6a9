package ingress

import (
	"net/http"
	"slices"
	"testing"
)

// FuzzWebhook sends anything as a delivery: what is not signed is refused whatever it is, what is signed is understood or
// refused as the sender's mistake, and nothing makes the receiver fail.
func FuzzWebhook(f *testing.F) {
	f.Add(queuedEvent, "workflow_job", "application/json")
	f.Add("payload=%7B%7D", "workflow_job", "application/x-www-form-urlencoded")
	f.Add("{}", "ping", "")
	f.Add(`{"action":"queued","workflow_job":{"id":-1,"status":"queued","created_at":"x"},"repository":null}`, "workflow_job", "application/json; charset=x")
	for _, e := range examples(f) {
		f.Add(e.body, "workflow_job", "application/json")
	}
	f.Fuzz(func(t *testing.T, body, event, contentType string) {
		r := newReceiver(t, repositoryPool("ci", "p", ""))
		as := func(req *http.Request) {
			req.Header["X-Github-Event"] = []string{event}
			req.Header["Content-Type"] = []string{contentType}
		}
		if code, text := r.deliver(Path, body, "wrong", as); code != http.StatusUnauthorized {
			t.Errorf("without a right signature it answered %d %s", code, text)
		}
		if len(r.jobs()) != 0 {
			t.Error("a job is stored of a delivery that was refused")
		}
		code, text := r.deliver(Path, body, sharedSecret, as)
		if !slices.Contains([]int{http.StatusOK, http.StatusAccepted, http.StatusBadRequest}, code) {
			t.Errorf("answered %d %s", code, text)
		}
		if jobs := r.jobs(); len(jobs) > 1 || len(jobs) == 1 && (event != "workflow_job" || code != http.StatusAccepted) {
			t.Errorf("%d jobs are stored, and %d %s was answered", len(jobs), code, text)
		}
	})
}
