package github

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	"github.com/modalrunner/modal-runner-controller/test/described"
)

// secretWorld is a simulated GitHub with an App, and clients over one Secret.
type secretWorld struct {
	t       *testing.T
	github  *githubsim.Server
	clients *Clients
}

var key = func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}()

func newSecretWorld(t *testing.T, data map[string]string) *secretWorld {
	t.Helper()
	return newSecretWorldAt(t, githubsim.New(githubsim.Options{Wrap: described.Calls(t)}), data)
}

func newSecretWorldAt(t *testing.T, github *githubsim.Server, data map[string]string) *secretWorld {
	t.Helper()
	w := &secretWorld{t: t, github: github}
	if err := w.github.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.github.Close)
	w.github.AddRepository("octo/widgets", true)
	w.github.AddToken("token", "octo")
	w.github.AddApp(7, &key.PublicKey, 70, "octo")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "github"}, Data: map[string][]byte{}}
	for k, v := range data {
		secret.Data[k] = []byte(v)
	}
	store := credentials.NewStore(fake.NewClientBuilder().WithObjects(secret).Build(), clock.RealClock{}, time.Minute)
	w.clients = NewClients(store, clock.RealClock{}, DefaultPointsPerMinute)
	return w
}

func newAppWorld(t *testing.T) *secretWorld {
	t.Helper()
	return newAppWorldAt(t, githubsim.New(githubsim.Options{Wrap: described.Calls(t)}))
}

func newAppWorldAt(t *testing.T, github *githubsim.Server) *secretWorld {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	return newSecretWorldAt(t, github, map[string]string{KeyAppID: "7", KeyPrivateKey: string(text)})
}

// A Secret that is made from files has line breaks at the ends of its values.
func TestWhiteSpaceAroundCredentialsIsNoPartOfThem(t *testing.T) {
	text := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	for name, data := range map[string]map[string]string{
		"a token": {KeyToken: "token\n"},
		"an App":  {KeyAppID: "7\n", KeyInstallationID: " 70\n", KeyPrivateKey: "\n" + text + "\n"},
	} {
		if err := newSecretWorld(t, data).list(t.Context(), ofWidgets, ""); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

var (
	ofWidgets = v1alpha1.Scope{Repository: "octo/widgets"}
	ofOcto    = v1alpha1.Scope{Organization: "octo"}
)

// list the runners of a scope at a server, the simulator's own when none is named.
func (w *secretWorld) list(ctx context.Context, at v1alpha1.Scope, server string) error {
	w.t.Helper()
	if server == "" {
		server = w.github.URL()
	}
	scope := ScopeOf(server, at)
	client, err := w.clients.For(ctx, "ci", v1alpha1.GitHub{URL: server, SecretName: "github"}, scope)
	if err != nil {
		return err
	}
	_, err = client.ListRunners(ctx, scope)
	return err
}

const (
	tokenRoute  = "POST /app/installations/{installation}/access_tokens 201"
	lookupRoute = "GET /repos/{owner}/{repo}/installation 200"
)

func TestAnAppsInstallationAndTokenAreSharedByAllItsPools(t *testing.T) {
	w := newAppWorld(t)
	for range 3 {
		for _, scope := range []v1alpha1.Scope{ofWidgets, ofOcto} {
			if err := w.list(t.Context(), scope, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	if requests := w.github.Requests(); requests[tokenRoute] != 1 || requests[lookupRoute] != 1 {
		t.Errorf("requests: %v", requests)
	}
}

// I7: a repository that the App is not installed on keeps no other from its installation.
func TestAnAppIsFoundByAnyScopeThatItCovers(t *testing.T) {
	w := newAppWorld(t)
	uncovered := v1alpha1.Scope{Repository: "octo/uncovered"}
	if err := w.list(t.Context(), uncovered, ""); !fault.Is(err, fault.Forbidden) {
		t.Errorf("a repository without the App: %v", err)
	}
	if err := w.list(t.Context(), ofWidgets, ""); err != nil {
		t.Errorf("a repository with it: %v", err)
	}
}

// B50: the App has limits of its own, and reaching them keeps no runner from being registered.
func TestB50_TheAppsOwnLimitsAreItsOwn(t *testing.T) {
	w := newAppWorld(t)
	scope := ScopeOf(w.github.URL(), ofWidgets)
	if err := w.list(t.Context(), ofWidgets, ""); err != nil {
		t.Fatal(err)
	}
	client, err := w.clients.For(t.Context(), "ci", v1alpha1.GitHub{URL: w.github.URL(), SecretName: "github"}, scope)
	if err != nil {
		t.Fatal(err)
	}
	w.github.Inject(githubsim.Fault{Path: regexp.MustCompile("^/app/hook/config$"), Status: 429, Header: map[string][]string{"Retry-After": {"3600"}}})
	if _, _, err := client.AppHook(t.Context()); !fault.Is(err, fault.Throttled) {
		t.Errorf("the App's webhook: %v", err)
	}
	if _, err := client.CreateJITRunner(t.Context(), scope, "", "r-1", []string{"modal"}); err != nil {
		t.Errorf("registering a runner: %v", err)
	}
}

func TestB50_ASecondaryLimitOfTheTokenRequestIsOne(t *testing.T) {
	w := newAppWorld(t)
	w.github.Inject(githubsim.Fault{
		Path: regexp.MustCompile("access_tokens$"), Status: 403, Body: `{"message":"You have exceeded a secondary rate limit. Request ID 1"}`,
	})
	if err := w.list(t.Context(), ofWidgets, ""); !fault.Is(err, fault.Throttled) {
		t.Errorf("gave %v", err)
	}
}

// I7: to make a client is no call, so that a GitHub that hangs holds nobody who only wants to know that there are credentials.
func TestMakingAnAppsClientDoesNotWaitForGitHub(t *testing.T) {
	w := newAppWorld(t)
	w.github.Inject(githubsim.Fault{Path: regexp.MustCompile("/installation$"), Hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := w.clients.For(ctx, "ci", v1alpha1.GitHub{URL: w.github.URL(), SecretName: "github"}, ScopeOf(w.github.URL(), ofWidgets)); err != nil {
		t.Fatal(err)
	}
	if err := w.list(ctx, ofWidgets, ""); !fault.Is(err, fault.Transient) {
		t.Errorf("a call that hung gave %v", err)
	}
	w.github.ClearFaults()
	if err := w.list(t.Context(), ofWidgets, ""); err != nil {
		t.Errorf("after the hang: %v", err)
	}
}

// B51: an App that is uninstalled and installed again has another installation, and the old one's tokens are dead.
func TestB51_AnAppThatIsInstalledAgainIsFoundAgain(t *testing.T) {
	w := newAppWorld(t)
	if err := w.list(t.Context(), ofWidgets, ""); err != nil {
		t.Fatal(err)
	}
	w.github.UninstallApp(7)
	if err := w.list(t.Context(), ofWidgets, ""); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("with a dead token: %v", err)
	}
	if err := w.list(t.Context(), ofWidgets, ""); !fault.Is(err, fault.Forbidden) {
		t.Errorf("while it is not installed: %v", err)
	}
	w.github.ReinstallApp(7, 71)
	if err := w.list(t.Context(), ofWidgets, ""); err != nil {
		t.Errorf("after it was installed again: %v", err)
	}
}

// B50: the App's own calls are limited too.
func TestB50_AThrottledTokenRequestClosesTheGate(t *testing.T) {
	w := newAppWorld(t)
	w.github.Inject(githubsim.Fault{Path: regexp.MustCompile("access_tokens$"), Status: 429, Header: map[string][]string{"Retry-After": {"60"}}, Times: 1})
	for range 3 {
		if err := w.list(t.Context(), ofWidgets, ""); !fault.Is(err, fault.Throttled) {
			t.Errorf("gave %v", err)
		}
	}
	if w.github.Requests()[tokenRoute] != 0 {
		t.Error("it was asked again before the time")
	}
}

// I2: what hides a repository from an App is told, and a job in it is not taken for gone.
func TestI2_AnAppThatDoesNotSeeARepositoryDoesNotTakeItsJobsForGone(t *testing.T) {
	for name, test := range map[string]struct {
		scope v1alpha1.Scope
		says  string
	}{
		"of an organization": {ofOcto, "install the App on it"},
		"of an enterprise":   {v1alpha1.Scope{Enterprise: "inc"}, "an App that is installed on an enterprise cannot have: use a classic token"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newAppWorld(t)
			w.github.AddApp(7, &key.PublicKey, 71, "enterprise:inc")
			w.github.AddRepository("other/hidden", true)
			scope := ScopeOf(w.github.URL(), test.scope)
			client, err := w.clients.For(t.Context(), "ci", v1alpha1.GitHub{URL: w.github.URL(), SecretName: "github"}, scope)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.GetJob(t.Context(), "other/hidden", 1); !fault.Is(err, fault.Forbidden) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("a job: %v", err)
			}
			if _, err := client.HeadRepository(t.Context(), "other/hidden", 1); !fault.Is(err, fault.Forbidden) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("a run: %v", err)
			}
		})
	}
}

// A token is replaced a minute before it expires, so that no call meets one that just did.
func TestAnAppsTokenIsReplacedAheadOfItsExpiry(t *testing.T) {
	for left, replaced := range map[time.Duration]bool{30 * time.Second: true, 10 * time.Minute: false} {
		github := githubsim.New(githubsim.Options{Wrap: described.Calls(t), Clock: clocktesting.NewFakeClock(time.Now().Add(left - time.Hour))})
		w := newAppWorldAt(t, github)
		for range 3 {
			if err := w.list(t.Context(), ofWidgets, ""); err != nil {
				t.Fatal(err)
			}
		}
		if got := github.Requests()[tokenRoute]; (got > 1) != replaced {
			t.Errorf("%s before they expire %d tokens were asked for", left, got)
		}
	}
}
