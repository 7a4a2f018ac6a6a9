package ingress

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

const queuedEvent = `{"action":"queued","repository":{"full_name":"octo/widgets","html_url":"https://github.com/octo/widgets"},
	"workflow_job":{"id":42,"run_id":7,"status":"queued","name":"build","labels":["modal"],"created_at":"2026-01-01T12:00:00Z"}}`

// B60, I2: a delivery is answered well only when the API server has stored it.
func TestADeliveryThatCannotBeStoredIsRefusedSoThatGitHubShowsIt(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	var away error
	cluster := fake.NewClientBuilder().WithScheme(scheme).
		WithObjects(&v1alpha1.RunnerPool{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "p", UID: "u"},
			Spec: v1alpha1.RunnerPoolSpec{
				Scope: v1alpha1.Scope{Repository: "octo/widgets"}, Labels: []v1alpha1.RunnerLabel{"modal"}, MaxConcurrency: 1,
				RunnerTemplate: v1alpha1.RunnerTemplate{GitHub: v1alpha1.GitHub{URL: "https://github.com"}},
			},
		}).
		WithIndex(&v1alpha1.WorkflowJob{}, jobIndex, func(o client.Object) []string { return []string{o.GetName()} }).
		WithIndex(&v1alpha1.Runner{}, runnerIndex, func(client.Object) []string { return nil }).
		WithInterceptorFuncs(interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if away != nil {
				return away
			}
			return c.Create(ctx, o, opts...)
		}}).Build()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "secret"), []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	webhook := &Webhook{SecretDir: folder, Recorder: &Recorder{Client: cluster, Live: cluster}, Log: logr.Discard()}
	deliver := func() int {
		mac := hmac.New(sha256.New, []byte("s3cret"))
		mac.Write([]byte(queuedEvent))
		req := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(queuedEvent))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-GitHub-Event", "workflow_job")
		req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
		out := httptest.NewRecorder()
		webhook.ServeHTTP(out, req)
		return out.Code
	}
	away = errors.New("etcdserver: request timed out")
	if code := deliver(); code != http.StatusServiceUnavailable {
		t.Errorf("with the API server away it answered %d", code)
	}
	away = nil
	if code := deliver(); code != http.StatusAccepted {
		t.Errorf("delivered again it answered %d", code)
	}
	var jobs v1alpha1.WorkflowJobList
	if err := cluster.List(t.Context(), &jobs); err != nil || len(jobs.Items) != 1 {
		t.Errorf("%d jobs are stored: %v", len(jobs.Items), err)
	}
}
