package ingress

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
)

// sharedSecret is the controller's own.
const sharedSecret = "s3cret"

// created is when the job of queuedEvent was, and now when the tests are.
var (
	created = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	now     = created.Add(time.Minute)
)

const queuedEvent = `{"action":"queued",
	"repository":{"full_name":"octo/widgets","html_url":"https://github.com/octo/widgets","private":true,"fork":false,"forks_count":0},
	"workflow_job":{"id":42,"run_id":7,"status":"queued","name":"build","labels":["modal"],"created_at":"2026-01-01T12:00:00Z"}}`

// receiver of webhooks over a fake cluster.
type receiver struct {
	t       testing.TB
	webhook *Webhook
	cluster client.Client
	clock   *clocktesting.FakeClock
	// away is the error of every write while it is set.
	away error
	mux  *http.ServeMux
}

// repositoryPool serves octo/widgets with the label modal; its webhook is its own when a Secret is named.
func repositoryPool(namespace, name, webhookSecret string, change ...func(*v1alpha1.RunnerPoolSpec)) *v1alpha1.RunnerPool {
	p := pool(name, func(s *v1alpha1.RunnerPoolSpec) {
		s.Repository, s.MaxConcurrency = "octo/widgets", 1
		if webhookSecret != "" {
			s.Webhook = &v1alpha1.Webhook{SecretName: webhookSecret}
		}
		for _, c := range change {
			c(s)
		}
	})
	p.Namespace, p.UID = namespace, "u"
	return &p
}

func webhookSecretObject(namespace, name, current, previous string) *corev1.Secret {
	data := map[string][]byte{KeyWebhookSecret: []byte(current)}
	if previous != "" {
		data[KeyPreviousWebhookSecret] = []byte(previous)
	}
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: data}
}

func newReceiver(t testing.TB, objects ...client.Object) *receiver {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, clientgoscheme.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	r := &receiver{t: t, clock: clocktesting.NewFakeClock(now)}
	r.cluster = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithIndex(&v1alpha1.WorkflowJob{}, jobIndex, func(o client.Object) []string { return []string{o.GetName()} }).
		WithIndex(&v1alpha1.Runner{}, runnerIndex, func(client.Object) []string { return nil }).
		WithInterceptorFuncs(interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if r.away != nil {
				return r.away
			}
			return c.Create(ctx, o, opts...)
		}}).Build()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "secret"), []byte(sharedSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.webhook = &Webhook{
		SecretDir: folder, Secrets: credentials.NewStore(r.cluster, r.clock, time.Second),
		Recorder: &Recorder{Client: r.cluster, Live: r.cluster}, Log: logr.Discard(), Clock: r.clock, Fresh: 10 * time.Minute,
	}
	r.mux = http.NewServeMux()
	r.webhook.handle(r.mux)
	return r
}

func signed(body, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// deliver a body to a path, signed with a secret.
func (r *receiver) deliver(path, body, secret string, change ...func(*http.Request)) (int, string) {
	r.t.Helper()
	req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-GitHub-Event", "workflow_job")
	req.Header.Set("X-Hub-Signature-256", signed(body, secret))
	for _, c := range change {
		c(req)
	}
	out := httptest.NewRecorder()
	r.mux.ServeHTTP(out, req)
	return out.Code, strings.TrimSpace(out.Body.String())
}

func (r *receiver) jobs() []v1alpha1.WorkflowJob {
	r.t.Helper()
	var jobs v1alpha1.WorkflowJobList
	if err := r.cluster.List(context.Background(), &jobs); err != nil {
		r.t.Fatal(err)
	}
	return jobs.Items
}
