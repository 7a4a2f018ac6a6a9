package e2e

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"google.golang.org/grpc/codes"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

func TestAMissingSecretIsNamedAndHealsWhenItComes(t *testing.T) {
	w := newWorld(t, withoutSecrets)
	pool := w.pool("p", 1)
	id := w.queue("build")
	w.Eventually(w.reason(pool)).Should(Equal(v1alpha1.ReasonSecretNotFound))
	w.Expect(w.condition(pool, v1alpha1.ConditionGitHubReady).Message).To(ContainSubstring(w.namespace + "/github"))
	w.Expect(w.condition(pool, v1alpha1.ConditionModalReady).Message).To(ContainSubstring(w.namespace + "/modal"))
	w.createSecrets()
	w.awaitReady(pool)
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
}

func TestWrongCredentialsAreTold(t *testing.T) {
	for name, test := range map[string]struct {
		github, modal map[string]string
		reason, says  string
	}{
		"an empty Secret":       {map[string]string{"x": "y"}, nil, v1alpha1.ReasonSecretInvalid, "neither github_token nor github_app_id"},
		"a revoked token":       {map[string]string{"github_token": "ghp_revoked"}, nil, v1alpha1.ReasonUnauthorized, "Bad credentials"},
		"a token without grant": {map[string]string{"github_token": "ghp_nogrant"}, nil, v1alpha1.ReasonForbidden, "serving the scope takes"},
		"an App's bad key":      {map[string]string{"github_app_id": "1", "github_app_private_key": "x"}, nil, v1alpha1.ReasonSecretInvalid, "github_app_private_key is not an RSA private key"},
		"no Modal secret":       {nil, map[string]string{"token_id": modalID}, v1alpha1.ReasonSecretInvalid, "token_secret"},
		"a wrong Modal secret":  {nil, map[string]string{"token_id": modalID, "token_secret": "wrong"}, v1alpha1.ReasonUnauthorized, "Unauthenticated"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withoutSecrets)
			w.github.AddToken("ghp_nogrant", "octo/other")
			github, modal := test.github, test.modal
			if github == nil {
				github = map[string]string{"github_token": token}
			}
			if modal == nil {
				modal = map[string]string{"token_id": modalID, "token_secret": modalSecret}
			}
			w.createSecret("github", github)
			w.createSecret("modal", modal)
			pool := w.pool("p", 1)
			w.Eventually(w.reason(pool)).Should(Equal(test.reason))
			w.Expect(w.condition(pool, v1alpha1.ConditionReady).Message).To(ContainSubstring(test.says))
		})
	}
}

func TestAGitHubAppServesAPool(t *testing.T) {
	w := newWorld(t, withoutSecrets)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	w.Expect(err).NotTo(HaveOccurred())
	w.github.AddApp(77, &key.PublicKey, 4242, "octo")
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	w.createSecret("github", map[string]string{"github_app_id": "77", "github_app_private_key": string(text)})
	w.createSecret("modal", map[string]string{"token_id": modalID, "token_secret": modalSecret})
	w.awaitReady(w.pool("p", 1, func(s *v1alpha1.RunnerPoolSpec) {
		if s.Enterprise != "" {
			// An App that is installed on an enterprise sees no repositories: of an enterprise, its organizations' pools use Apps.
			s.Scope, s.Repositories = v1alpha1.Scope{Organization: organization}, nil
		}
	}))
	id := w.queue("build")
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
}

func TestTheImageIsBuiltOnceBeforeAnyJobNeedsIt(t *testing.T) {
	w := newWorld(t)
	pool := w.pool("p", 2)
	w.awaitReady(pool)
	built := len(w.modal.Images())
	w.Expect(built).To(Equal(3), "the base and two layers")
	ids := []int64{w.queue("one"), w.queue("two"), w.queue("three")}
	w.awaitAll(ids, "success")
	w.Expect(w.modal.Images()).To(HaveLen(built))
	other := w.pool("other", 1, labels("other"))
	w.awaitReady(other)
	w.Expect(w.modal.Images()).To(HaveLen(built), "the same recipe is built once")
}

func TestB29_ABrokenImageIsOneConditionAndNoStorm(t *testing.T) {
	w := newWorld(t)
	pool := w.pool("p", 3, func(s *v1alpha1.RunnerPoolSpec) { s.Image.Base = "example.com/no/such:image" })
	id := w.queue("build")
	w.Eventually(w.reason(pool)).Should(Equal(v1alpha1.ReasonBuildFailed))
	w.Consistently(func() int { return len(w.runners()) }, "3s", often).Should(BeZero())
	w.Expect(w.github.Runners()).To(BeEmpty())
	if out, err := kubectl(t, "", "-n", w.namespace, "patch", "rp/p", "--type=merge", "-p", `{"spec":{"image":{"base":"debian:bookworm-slim"}}}`); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
}

func TestAnImageOfTheOperatorsOwn(t *testing.T) {
	w := newWorld(t)
	w.modal.AddRegistryImage("registry.example.com/runner:1", "/home/runner/run.sh")
	w.awaitReady(w.pool("p", 1, func(s *v1alpha1.RunnerPoolSpec) { s.Image = v1alpha1.Image{Ref: "registry.example.com/runner:1"} }))
	id := w.queue("build")
	w.awaitAll([]int64{id}, "success")
	w.Expect(w.modal.Sandboxes()[0].Command).To(Equal([]string{"/home/runner/run.sh"}))
}

func TestB50_AThrottledCredentialWaitsAndOthersGoOn(t *testing.T) {
	w := newWorld(t)
	w.github.AddRepository("octo/gadgets", true)
	w.github.AddToken("ghp_other", "octo/gadgets")
	w.createSecret("other", map[string]string{"github_token": "ghp_other"})
	first := w.pool("p", 1)
	second := w.pool("q", 1, func(s *v1alpha1.RunnerPoolSpec) {
		s.Scope, s.Repositories, s.GitHub.SecretName = v1alpha1.Scope{Repository: "octo/gadgets"}, nil, "other"
	})
	w.awaitReady(first)
	w.awaitReady(second)
	w.github.Inject(githubsim.Fault{
		Path: regexp.MustCompile(`^` + the.registrations() + `/generate-jitconfig`), Times: 1, Status: http.StatusTooManyRequests,
		Header: http.Header{"Retry-After": {"5"}}, Body: `{"message":"You have exceeded a secondary rate limit."}`,
	})
	begun := time.Now()
	slow := w.queue("slow")
	fast := w.github.AddQueuedJob("octo/gadgets", "fast", []string{"modal"})
	w.awaitAll([]int64{slow, fast}, "success")
	job, _ := w.github.Job(slow)
	w.Expect(job.StartedAt.Sub(begun)).To(BeNumerically(">=", 4*time.Second), "it did not wait as told")
	w.awaitNothingLeft()
}

func TestB51_ARevokedTokenIsToldAndHealsOnANewSecret(t *testing.T) {
	w := newWorld(t)
	pool := w.pool("p", 1)
	w.awaitReady(pool)
	w.github.RevokeToken(token)
	w.modal.Faults().Add(modalsim.Fault{Method: "SandboxCreate", Times: 1, Code: codes.Unavailable})
	w.Expect(plane.Client.DeleteAllOf(w.ctx, secretObject(), inNamespace(w.namespace))).To(Succeed())
	id := w.queue("build")
	w.Eventually(w.reason(pool)).Should(Equal(v1alpha1.ReasonSecretNotFound))
	w.github.AddToken("ghp_new", the.grants()...)
	w.createSecret("github", map[string]string{"github_token": "ghp_new"})
	w.createSecret("modal", map[string]string{"token_id": modalID, "token_secret": modalSecret})
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
}

func TestB70_KubectlShowsQueueRunnersAndHealthAtAGlance(t *testing.T) {
	w := newWorld(t)
	pool := w.pool("p", 1)
	if out, err := kubectl(t, "", "-n", w.namespace, "wait", "rp/p", "--for=condition=Ready", "--timeout=60s"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ids := []int64{w.queue("one", "sleep 5"), w.queue("two", "sleep 1")}
	w.Eventually(func() string {
		out, _ := kubectl(t, "", "-n", w.namespace, "get", "rp", pool.Name, "--no-headers")
		return strings.Join(strings.Fields(out)[:7], " ")
	}).Should(Equal("p True Ready 1 0 0 1"))
	out, err := kubectl(t, "", "-n", w.namespace, "get", "mr,wfj")
	w.Expect(err).NotTo(HaveOccurred())
	for _, shown := range []string{"Running", "one", "sb-", "InProgress", "Queued", repository} {
		w.Expect(out).To(ContainSubstring(shown))
	}
	w.awaitAll(ids, "success")
}
