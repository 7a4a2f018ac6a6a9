package runnerpool

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/observe"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	"github.com/modalrunner/modal-runner-controller/test/simulated"
)

const (
	appID          = 77
	installationID = 99
	otherToken     = "another-token-of-the-simulator"
)

// secret replaces the values of the Secret with GitHub's credentials.
func (w *world) secret(data map[string]string) {
	w.t.Helper()
	var secret corev1.Secret
	w.Expect(w.cluster.Get(w.t.Context(), types.NamespacedName{Namespace: w.key.Namespace, Name: "github"}, &secret)).To(Succeed())
	secret.Data = map[string][]byte{}
	for k, v := range data {
		secret.Data[k] = []byte(v)
	}
	w.Expect(w.cluster.Update(w.t.Context(), &secret)).To(Succeed())
}

func (w *world) token(value string) { w.secret(map[string]string{"github_token": value}) }

// fine-grained token with permissions on what is granted.
func (w *world) fine(permissions map[string]string, grants ...string) {
	w.GitHub.AddTokenWith(otherToken, githubsim.FineGrainedToken, grants, permissions)
	w.token(otherToken)
}

// classic token with scopes.
func (w *world) classic(scopes ...string) {
	has := map[string]string{}
	for _, scope := range scopes {
		has[scope] = ""
	}
	w.GitHub.AddTokenWith(otherToken, githubsim.ClassicToken, []string{simulated.Organization, simulated.Repository}, has)
	w.token(otherToken)
}

// pool is changed in its spec.
func (w *world) change(change func(*v1alpha1.RunnerPoolSpec)) {
	w.t.Helper()
	var pool v1alpha1.RunnerPool
	w.Expect(w.cluster.Get(w.t.Context(), w.key, &pool)).To(Succeed())
	change(&pool.Spec)
	w.Expect(w.cluster.Update(w.t.Context(), &pool)).To(Succeed())
}

func ofOrganization(s *v1alpha1.RunnerPoolSpec) {
	s.Scope = v1alpha1.Scope{Organization: simulated.Organization}
}

func ofEnterprise(s *v1alpha1.RunnerPoolSpec) { s.Scope = v1alpha1.Scope{Enterprise: "inc"} }

var appKey = func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}()

func pemOf(key *rsa.PrivateKey) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

// app with its Secret, changed; its tokens live by real time.
func (w *world) app(change map[string]string) {
	w.Clock.SetTime(time.Now())
	w.GitHub.AddApp(appID, &appKey.PublicKey, installationID, simulated.Organization)
	data := map[string]string{"github_app_id": "77", "github_app_private_key": pemOf(appKey)}
	for k, v := range change {
		data[k] = v
	}
	w.secret(data)
}

// mint a runner, as a Runner of the pool would.
func (w *world) mint() {
	var pool v1alpha1.RunnerPool
	w.Expect(w.cluster.Get(w.t.Context(), w.key, &pool)).To(Succeed())
	place := observe.PlaceOf(pool.Namespace, pool.Spec.Scope, &pool.Spec.RunnerTemplate)
	gh, err := w.reconciler.GitHubAt(w.t.Context(), place)
	w.Expect(err).NotTo(HaveOccurred())
	_, err = gh.CreateJITRunner(w.t.Context(), place.Scope, pool.Spec.RunnerGroup, "r-1", []string{"modal"})
	w.Expect(err).To(HaveOccurred())
}

func (w *world) message(kind string) string {
	w.t.Helper()
	var pool v1alpha1.RunnerPool
	w.Expect(w.cluster.Get(w.t.Context(), w.key, &pool)).To(Succeed())
	return meta.FindStatusCondition(pool.Status.Conditions, kind).Message
}

// Every way in which credentials can be wrong is told apart, by a reason and by words that say what to do, and mending it
// heals the pool by itself (B29, B51).
func TestB51_WrongCredentialsAreToldApartAndHeal(t *testing.T) {
	well := func(w *world) { w.token(simulated.Token) }
	for name, test := range map[string]struct {
		scope  func(*v1alpha1.RunnerPoolSpec)
		wrong  func(*world)
		reason string
		says   []string
		mend   func(*world)
	}{
		"a Secret that is not there": {
			wrong:  func(w *world) { w.change(func(s *v1alpha1.RunnerPoolSpec) { s.GitHub.SecretName = "none" }) },
			reason: v1alpha1.ReasonSecretNotFound, says: []string{"ci/none", "create it"},
			mend: func(w *world) { w.change(func(s *v1alpha1.RunnerPoolSpec) { s.GitHub.SecretName = "github" }) },
		},
		"a Secret without a credential": {
			wrong:  func(w *world) { w.secret(map[string]string{"token": "x"}) },
			reason: v1alpha1.ReasonSecretInvalid, says: []string{"ci/github", "github_token", "github_app_private_key"}, mend: well,
		},
		"an App's ID that is no number": {
			wrong:  func(w *world) { w.app(map[string]string{"github_app_id": "seven"}) },
			reason: v1alpha1.ReasonSecretInvalid, says: []string{"github_app_id is not a number"}, mend: well,
		},
		"an App's key that is none": {
			wrong:  func(w *world) { w.app(map[string]string{"github_app_private_key": "MIIE"}) },
			reason: v1alpha1.ReasonSecretInvalid, says: []string{"github_app_private_key is not an RSA private key"}, mend: well,
		},
		"certificates that are none": {
			wrong:  func(w *world) { w.secret(map[string]string{"github_token": simulated.Token, "ca.crt": "none"}) },
			reason: v1alpha1.ReasonSecretInvalid, says: []string{"ca.crt holds no certificate"}, mend: well,
		},
		"a proxy that is none": {
			wrong: func(w *world) {
				w.secret(map[string]string{"github_token": simulated.Token, "proxy_url": "user:hunter2@proxy"})
			},
			reason: v1alpha1.ReasonSecretInvalid, says: []string{"proxy_url is not of the form"}, mend: well,
		},
		"a token that is revoked": {
			wrong:  func(w *world) { w.GitHub.RevokeToken(simulated.Token) },
			reason: v1alpha1.ReasonUnauthorized, says: []string{"401", "Bad credentials"},
			mend: func(w *world) { w.GitHub.AddToken(otherToken, simulated.Organization); w.token(otherToken) },
		},
		"a token that has expired": {
			wrong:  func(w *world) { w.GitHub.ExpireToken(simulated.Token) },
			reason: v1alpha1.ReasonUnauthorized, says: []string{"401"},
			mend: func(w *world) { w.GitHub.AddToken(otherToken, simulated.Organization); w.token(otherToken) },
		},
		"a fine-grained token without Administration": {
			wrong:  func(w *world) { w.fine(map[string]string{"actions": "read"}, simulated.Repository) },
			reason: v1alpha1.ReasonForbidden, says: []string{"administration (read)", "octo/widgets"}, mend: well,
		},
		"a fine-grained token that may only read Administration": {
			wrong: func(w *world) {
				w.fine(map[string]string{"actions": "read", "administration": "read"}, simulated.Repository)
				w.mint()
			},
			reason: v1alpha1.ReasonForbidden, says: []string{"minting JIT config", "administration (write)"}, mend: well,
		},
		"a fine-grained token without Actions": {
			wrong:  func(w *world) { w.fine(map[string]string{"administration": "write"}, simulated.Repository) },
			reason: v1alpha1.ReasonForbidden, says: []string{"workflow runs", "actions (read)"}, mend: well,
		},
		"a fine-grained token for another repository": {
			wrong: func(w *world) {
				w.fine(map[string]string{"administration": "write", "actions": "read"}, "octo/other")
			},
			reason: v1alpha1.ReasonForbidden, says: []string{"404", "octo/widgets"}, mend: well,
		},
		"a classic token without the scope repo": {
			wrong: func(w *world) { w.classic("workflow") },
			// A private repository is hidden from it.
			reason: v1alpha1.ReasonForbidden, says: []string{"scope repo"}, mend: well,
		},
		"a classic token without the scope admin:org": {
			scope: ofOrganization, wrong: func(w *world) { w.classic("repo", "read:org") },
			reason: v1alpha1.ReasonForbidden, says: []string{"admin:org", "has read:org, repo"}, mend: well,
		},
		"a token that single sign-on does not know": {
			wrong: func(w *world) {
				w.classic("repo")
				w.GitHub.RequireSSO(simulated.Organization, otherToken)
			},
			reason: v1alpha1.ReasonForbidden, says: []string{"authorize the token", "/orgs/octo/sso"}, mend: well,
		},
		"an address that is not on the allow list": {
			wrong:  func(w *world) { w.GitHub.RefuseIP(simulated.Organization) },
			reason: v1alpha1.ReasonForbidden, says: []string{"IP allow list"},
			mend: func(w *world) { w.GitHub.AllowIP(simulated.Organization) },
		},
		"another App's key": {
			wrong: func(w *world) {
				other, err := rsa.GenerateKey(rand.Reader, 2048)
				w.Expect(err).NotTo(HaveOccurred())
				w.app(map[string]string{"github_app_private_key": pemOf(other)})
			},
			reason: v1alpha1.ReasonUnauthorized, says: []string{"check github_app_id and github_app_private_key"},
			mend: func(w *world) { w.app(nil) },
		},
		"an App that is not installed": {
			wrong:  func(w *world) { w.app(nil); w.GitHub.UninstallApp(appID) },
			reason: v1alpha1.ReasonForbidden, says: []string{"not installed on repository octo/widgets", "install it there"},
			mend: func(w *world) { w.GitHub.ReinstallApp(appID, installationID+1) },
		},
		"an App's installation that is another's": {
			wrong:  func(w *world) { w.app(map[string]string{"github_app_installation_id": "1"}) },
			reason: v1alpha1.ReasonForbidden, says: []string{"no installation 1", "github_app_installation_id"},
			mend: func(w *world) { w.app(nil) },
		},
		"an App's installation that is suspended": {
			wrong:  func(w *world) { w.app(nil); w.GitHub.SuspendInstallation(installationID) },
			reason: v1alpha1.ReasonForbidden, says: []string{"suspended", "unsuspend it"},
			mend: func(w *world) { w.GitHub.UnsuspendInstallation(installationID) },
		},
		"an App without Self-hosted runners": {
			scope: ofOrganization,
			wrong: func(w *world) {
				w.app(nil)
				w.GitHub.SetAppPermissions(appID, map[string]string{"actions": "read", "metadata": "read"})
			},
			reason: v1alpha1.ReasonForbidden, says: []string{"organization_self_hosted_runners (read)", "Self-hosted runners (write)"}, mend: well,
		},
		"a fine-grained token for an enterprise": {
			scope:  ofEnterprise,
			wrong:  func(w *world) { w.fine(map[string]string{"enterprise_self_hosted_runners": "write"}, "inc") },
			reason: v1alpha1.ReasonForbidden, says: []string{"manage_runners:enterprise", "enterprise inc"},
			mend: func(w *world) { w.GitHub.AddToken(simulated.Token, "inc"); w.token(simulated.Token) },
		},
		"an organization's fine-grained token without Actions": {
			scope: ofOrganization,
			wrong: func(w *world) {
				w.fine(map[string]string{"organization_self_hosted_runners": "write"}, simulated.Organization)
			},
			reason: v1alpha1.ReasonForbidden, says: []string{"workflow runs", "actions (read)"}, mend: well,
		},
		"a runner group that is not there": {
			scope: ofOrganization, wrong: func(w *world) { w.change(func(s *v1alpha1.RunnerPoolSpec) { s.RunnerGroup = "modal" }) },
			reason: v1alpha1.ReasonRunnerGroupNotFound, says: []string{"no runner group modal", "organization octo", "spec.runnerGroup"},
			mend: func(w *world) { w.GitHub.AddRunnerGroup(simulated.Organization, "Modal") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if test.scope != nil {
				w.change(test.scope)
			}
			test.wrong(w)
			w.pass(time.Minute)
			w.Expect(w.reason(v1alpha1.ConditionGitHubReady)).To(Equal(test.reason), w.message(v1alpha1.ConditionGitHubReady))
			w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(test.reason))
			message := w.message(v1alpha1.ConditionGitHubReady)
			for _, part := range test.says {
				w.Expect(message).To(ContainSubstring(part))
			}
			for _, secret := range []string{otherToken, "hunter2", "MIIE", "PRIVATE KEY"} {
				w.Expect(strings.Contains(message, secret)).To(BeFalse(), message)
			}
			test.mend(w)
			w.pass(3 * time.Minute)
			w.Expect(w.reason(v1alpha1.ConditionGitHubReady)).To(Equal(v1alpha1.ReasonReady), w.message(v1alpha1.ConditionGitHubReady))
		})
	}
}
