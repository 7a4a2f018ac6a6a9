package ingress

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	"github.com/modalrunner/modal-runner-controller/test/simulated"
)

// healWorld has a receiver whose health the test decides, and a healer that knows its address.
type healWorld struct {
	*pollerWorld
	healer   *Healer
	url      string
	status   atomic.Int64
	received atomic.Int64
}

func newHealWorld(t *testing.T) *healWorld {
	t.Helper()
	w := &healWorld{pollerWorld: newPollerWorld(t)}
	w.status.Store(http.StatusServiceUnavailable)
	receiver := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, req *http.Request) {
		if req.Header.Get("X-GitHub-Event") == "workflow_job" && w.status.Load() < 300 {
			w.received.Add(1)
		}
		out.WriteHeader(int(w.status.Load()))
	}))
	t.Cleanup(receiver.Close)
	w.url = receiver.URL
	w.healer = &Healer{Client: w.cluster, GitHub: w.poller.GitHub, Clock: w.Clock, WebhookURL: w.url, Interval: 5 * time.Minute}
	return w
}

// settle waits until every delivery was tried.
func (w *healWorld) settle() {
	w.t.Helper()
	w.Eventually(func() bool {
		for _, d := range w.GitHub.Deliveries() {
			if d.ID == 0 {
				return false
			}
		}
		return true
	}).Should(BeTrue())
}

func (w *healWorld) queue(n int) {
	for i := range n {
		w.GitHub.AddQueuedJob(simulated.Repository, fmt.Sprintf("job-%d", i), []string{"modal"})
	}
	w.settle()
}

// heal once, wait for what GitHub delivers again, and say when the next pass is due.
func (w *healWorld) heal() time.Duration {
	next := w.healer.Heal(w.t.Context())
	w.settle()
	return next
}

func redeliveries(t *testing.T) float64 {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "modalrunner_webhook_redeliveries_total" {
			return family.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatal("there is no such metric")
	return 0
}

func TestRedeliveriesAreCounted(t *testing.T) {
	w := newHealWorld(t)
	w.GitHub.AddWebhook(simulated.Repository, w.url+Path, "s")
	w.queue(3)
	before := redeliveries(t)
	w.heal()
	w.Expect(redeliveries(t) - before).To(BeNumerically("==", w.asks()))
	w.Expect(w.asks()).To(Equal(3))
}

func TestDeliveriesThatFailedAreMadeAgain(t *testing.T) {
	for name, add := range map[string]func(*healWorld){
		"of the repository's webhook":     func(w *healWorld) { w.GitHub.AddWebhook(simulated.Repository, w.url+Path, "s") },
		"of the pool's own webhook":       func(w *healWorld) { w.GitHub.AddWebhook(simulated.Repository, w.url+Path+"/ci/p", "s") },
		"of the organization's webhook":   func(w *healWorld) { w.ofOrganization(); w.GitHub.AddWebhook(simulated.Organization, w.url+Path, "s") },
		"of the App's webhook":            func(w *healWorld) { w.asApp(); w.GitHub.AddAppWebhook(7, w.url+Path, "s") },
		"of a webhook managed by a pool":  func(w *healWorld) { w.managed() },
		"of a webhook with many failures": func(w *healWorld) { w.GitHub.AddWebhook(simulated.Repository, w.url+Path, "s"); w.queue(120) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newHealWorld(t)
			add(w)
			w.queue(5)
			jobs := len(w.GitHub.Jobs())
			w.status.Store(http.StatusAccepted)
			for range 6 {
				w.Clock.Step(w.heal())
			}
			w.Expect(w.received.Load()).To(BeNumerically("==", jobs))
		})
	}
}

func (w *healWorld) change(change func(*v1alpha1.RunnerPool)) {
	w.t.Helper()
	var pool v1alpha1.RunnerPool
	w.Expect(w.cluster.Get(w.t.Context(), types.NamespacedName{Namespace: simulated.Namespace, Name: "p"}, &pool)).To(Succeed())
	change(&pool)
	status := pool.Status
	w.Expect(w.cluster.Update(w.t.Context(), &pool)).To(Succeed())
	pool.Status = status
	w.Expect(w.cluster.Status().Update(w.t.Context(), &pool)).To(Succeed())
}

func (w *healWorld) ofOrganization() {
	w.change(func(p *v1alpha1.RunnerPool) { p.Spec.Scope = v1alpha1.Scope{Organization: simulated.Organization} })
}

// managed by the pool, whose address the manager does not know.
func (w *healWorld) managed() {
	w.healer.WebhookURL = ""
	w.GitHub.AddWebhook(simulated.Repository, w.url+"/elsewhere", "s")
	w.change(func(p *v1alpha1.RunnerPool) {
		p.Status.Webhook = &v1alpha1.WebhookStatus{ID: w.GitHub.Hooks()[0].ID, URL: w.url + "/elsewhere", Server: w.GitHub.URL()}
	})
}

func (w *healWorld) asApp() {
	w.Clock.SetTime(time.Now())
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	w.Expect(err).NotTo(HaveOccurred())
	w.GitHub.AddApp(7, &key.PublicKey, 70, simulated.Organization)
	var secret corev1.Secret
	w.Expect(w.cluster.Get(w.t.Context(), types.NamespacedName{Namespace: simulated.Namespace, Name: "github"}, &secret)).To(Succeed())
	secret.Data = map[string][]byte{
		github.KeyAppID:      []byte("7"),
		github.KeyPrivateKey: pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
	}
	w.Expect(w.cluster.Update(w.t.Context(), &secret)).To(Succeed())
}

// asks is how often GitHub was asked to deliver again.
func (w *healWorld) asks() int {
	count := 0
	for request, n := range w.GitHub.Requests() {
		if len(request) > 4 && request[:5] == "POST " {
			count += n
		}
	}
	return count
}

// What the budget holds back is asked for as soon as there is room, not an interval later.
func TestAPassThatIsHeldBackGoesOnSoon(t *testing.T) {
	w := newHealWorld(t)
	w.GitHub.AddWebhook(simulated.Repository, w.url+Path, "s")
	w.queue(120)
	w.Expect(w.heal()).To(BeNumerically("<=", time.Minute+time.Second))
}

// I8: at the default interval too, and however long it goes on.
func TestADeliveryThatGoesOnFailingIsGivenUp(t *testing.T) {
	w := newHealWorld(t)
	w.GitHub.AddWebhook(simulated.Repository, w.url+Path, "s")
	w.queue(1)
	for range 30 * 12 {
		w.Clock.Step(w.heal())
	}
	w.Expect(w.asks()).To(Equal(healAttempts))
	w.healer = &Healer{Client: w.cluster, GitHub: w.poller.GitHub, Clock: w.Clock, WebhookURL: w.url, Interval: w.healer.Interval}
	w.heal()
	w.Expect(w.asks()).To(Equal(healAttempts), "asked anew after a restart")
}

func TestADeliveryThatGoesOnFailingIsAskedForLessAndLessOften(t *testing.T) {
	w := newHealWorld(t)
	w.GitHub.AddWebhook(simulated.Repository, w.url+Path, "s")
	w.queue(1)
	var asked []time.Duration
	begun := w.Clock.Now()
	for range 12 * 3 {
		before := w.asks()
		next := w.heal()
		if w.asks() > before {
			asked = append(asked, w.Clock.Since(begun))
		}
		w.Clock.Step(next)
	}
	w.Expect(asked).To(HaveExactElements(0*time.Minute, 5*time.Minute, 15*time.Minute, 35*time.Minute, 75*time.Minute, 155*time.Minute))
}

// What a pass has no time for is found by the next.
func TestFailuresBeyondWhatAPassLooksAtAreFound(t *testing.T) {
	w := newHealWorld(t)
	w.GitHub.AddWebhook(simulated.Repository, w.url+Path, "s")
	w.queue(2)
	w.status.Store(http.StatusAccepted)
	w.queue(healPages * 100)
	w.heal()
	w.Expect(w.asks()).To(BeZero(), "the failures are not beyond what a pass looks at: the test shows nothing")
	w.Clock.Step(w.healer.Interval)
	w.heal()
	w.Expect(w.asks()).To(Equal(2))
	w.Expect(w.received.Load()).To(BeNumerically("==", len(w.GitHub.Jobs())))
}

func TestSourcesThatAreGoneAreForgotten(t *testing.T) {
	w := newHealWorld(t)
	w.GitHub.AddWebhook(simulated.Repository, w.url+Path, "s")
	w.heal()
	w.Expect(w.healer.known).To(HaveLen(1))
	w.GitHub.DeleteHook(w.GitHub.Hooks()[0].ID)
	w.Clock.Step(healBack + time.Second)
	w.heal()
	w.Expect(w.healer.known).To(BeEmpty())
}

func TestWhatWentWellIsLeftAlone(t *testing.T) {
	w := newHealWorld(t)
	w.status.Store(http.StatusAccepted)
	w.GitHub.AddWebhook(simulated.Repository, w.url+Path, "s")
	w.queue(3)
	w.heal()
	w.Expect(w.asks()).To(BeZero())
}

// I3: what leads elsewhere is another's.
func TestTheDeliveriesOfOthersAreLeftAlone(t *testing.T) {
	w := newHealWorld(t)
	w.GitHub.AddWebhook(simulated.Repository, w.url+"/webhooks", "s")
	w.GitHub.AddWebhook(simulated.Repository, w.url+"1"+Path, "s")
	w.queue(3)
	w.heal()
	w.Expect(w.asks()).To(BeZero())
}

func TestAfterAPassOnlyWhatIsNewIsLookedAt(t *testing.T) {
	w := newHealWorld(t)
	w.GitHub.AddWebhook(simulated.Repository, w.url+Path, "s")
	w.status.Store(http.StatusAccepted)
	w.queue(150)
	pages := func() int {
		const list = "GET /repos/{owner}/{repo}/hooks/{hook}/deliveries "
		return w.GitHub.Requests()[list+"200"] + w.GitHub.Requests()[list+"304"]
	}
	w.heal()
	w.Expect(pages()).To(Equal(2))
	w.Clock.Step(time.Hour)
	w.heal()
	before := pages()
	w.Clock.Step(time.Hour)
	w.heal()
	w.Expect(pages() - before).To(Equal(1))
}

func TestCredentialsThatMaySeeNoWebhooksDoNoHarm(t *testing.T) {
	w := newHealWorld(t)
	w.GitHub.AddTokenWith(simulated.Token, githubsim.FineGrainedToken, []string{simulated.Repository}, map[string]string{"administration": "write", "actions": "read"})
	w.GitHub.AddWebhook(simulated.Repository, w.url+Path, "s")
	w.queue(1)
	w.heal()
	w.Expect(w.asks()).To(BeZero())
}

// Each delivery that never went well is asked for by its latest attempt, the oldest first, whatever parts the list comes in.
func TestWhatIsDue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		guids := []string{"a", "b", "c", "d"}
		var deliveries []github.Delivery
		good, attempts, latest, first := map[string]bool{}, map[string]int{}, map[string]int64{}, map[string]int{}
		for i := range rapid.IntRange(0, 40).Draw(t, "deliveries") {
			d := github.Delivery{ID: int64(1000 - i), GUID: rapid.SampledFrom(guids).Draw(t, "guid"), Good: rapid.Bool().Draw(t, "good")}
			good[d.GUID] = good[d.GUID] || d.Good
			attempts[d.GUID]++
			latest[d.GUID] = max(latest[d.GUID], d.ID)
			first[d.GUID] = i
			deliveries = append(deliveries, d)
		}
		for i := range deliveries {
			deliveries[i].Again = i != first[deliveries[i].GUID]
		}
		known, at := healing{}, rapid.IntRange(0, len(deliveries)).Draw(t, "cut")
		known.note(deliveries[:at], now)
		known.note(deliveries[at:], now)
		known.note(deliveries, now)
		got := map[string]bool{}
		last := int64(0)
		for _, guid := range known.due(now) {
			if good[guid] || attempts[guid] > healAttempts || got[guid] || known.failing[guid].attempt != latest[guid] || latest[guid] < last {
				t.Fatalf("%s of %+v", guid, deliveries)
			}
			got[guid], last = true, latest[guid]
		}
		for guid := range attempts {
			if !good[guid] && attempts[guid] <= healAttempts && !got[guid] {
				t.Fatalf("%s is missing", guid)
			}
		}
	})
}
