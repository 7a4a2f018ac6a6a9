// Package simulated gives unit tests a world in which time passes only when they say so: both simulators, and the product's
// own clients for them, live by one fake clock. The API server is controller-runtime's fake one; the tests in test/e2e have
// the real one, and real time.
package simulated

import (
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/observe"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox/modal"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
	"github.com/modalrunner/modal-runner-controller/test/described"
)

// What every simulated world has.
const (
	Namespace    = "ci"
	Organization = "octo"
	Repository   = "octo/widgets"
	Token        = "token"
	ModalID      = "ak-test"
	ModalSecret  = "as-test"
	// ListInterval of the shared lists.
	ListInterval = 15 * time.Second
	secretTTL    = 10 * time.Second
)

// Noon is when every world begins.
var Noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// World is both simulators, with a repository and credentials that are accepted.
type World struct {
	Clock  *clocktesting.FakeClock
	GitHub *githubsim.Server
	Modal  *modalsim.Server

	t *testing.T
}

// New world, which ends with the test. The simulators get the world's clock.
func New(t *testing.T, github githubsim.Options, modal modalsim.Options) *World {
	t.Helper()
	clock := clocktesting.NewFakeClock(Noon)
	github.Clock, modal.Clock, github.Wrap = clock, clock, described.Calls(t)
	w := &World{Clock: clock, GitHub: githubsim.New(github), Modal: modalsim.New(modal), t: t}
	must(t, w.GitHub.Start("127.0.0.1:0"))
	t.Cleanup(w.GitHub.Close)
	w.GitHub.AddRepository(Repository, true)
	w.GitHub.AddToken(Token, Organization)
	must(t, w.Modal.Start("127.0.0.1:0"))
	t.Cleanup(w.Modal.Close)
	w.Modal.AddToken(ModalID, ModalSecret)
	for name, value := range map[string]string{
		"MODAL_SERVER_URL": w.Modal.URL(), "MODAL_CONFIG_PATH": os.DevNull, "MODAL_IMAGE_BUILDER_VERSION": "2025.06",
	} {
		t.Setenv(name, value)
	}
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Cluster to be built: a fake API server with the project's kinds and the two Secrets.
func (w *World) Cluster() *fake.ClientBuilder {
	scheme := runtime.NewScheme()
	must(w.t, clientgoscheme.AddToScheme(scheme))
	must(w.t, v1alpha1.AddToScheme(scheme))
	secret := func(name string, data map[string][]byte) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: name}, Data: data}
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.Runner{}, &v1alpha1.RunnerPool{}).WithObjects(
		secret("github", map[string][]byte{"github_token": []byte(Token)}),
		secret("modal", map[string][]byte{"token_id": []byte(ModalID), "token_secret": []byte(ModalSecret)}),
	)
}

// Outside as the product sees it, with the credentials in a cluster.
func (w *World) Outside(cluster client.Client) *observe.Outside {
	secrets := credentials.NewStore(cluster, w.Clock, secretTTL)
	providers, err := modal.NewProviders(secrets, w.Clock)
	must(w.t, err)
	w.t.Cleanup(providers.Close)
	return &observe.Outside{
		GitHub: github.NewClients(secrets, w.Clock, github.DefaultPointsPerMinute), Sandboxes: providers,
		Registrations: observe.NewLists[github.Runner](ListInterval, w.Clock),
		SandboxLists:  observe.NewLists[sandbox.Listed](ListInterval, w.Clock),
	}
}
