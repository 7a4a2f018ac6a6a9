package github

import (
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	gh "github.com/google/go-github/v60/github"
	. "github.com/onsi/gomega"
)

// driveHooks of a repository and an organization through all that one can do with them.
func driveHooks(t *testing.T, s *Server, client *gh.Client) {
	t.Helper()
	ctx := t.Context()
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	t.Cleanup(receiver.Close)
	wanted := &gh.Hook{Events: []string{"workflow_job"}, Config: &gh.HookConfig{URL: &receiver.URL, Secret: gh.String("s"), ContentType: gh.String("json")}}

	ofRepo, _, err := client.Repositories.CreateHook(ctx, "octo", "widgets", wanted)
	must(t, err)
	_, _, err = client.Repositories.CreateHook(ctx, "octo", "widgets", wanted)
	mustStatus(t, err, http.StatusUnprocessableEntity)
	ofOrg, _, err := client.Organizations.CreateHook(ctx, "octo", wanted)
	must(t, err)
	eventually(t, func() bool { return len(s.Deliveries()) == 2 && s.Deliveries()[0].ID != 0 && s.Deliveries()[1].ID != 0 })

	repo, org := client.Repositories, client.Organizations
	pings, _, err := repo.ListHookDeliveries(ctx, "octo", "widgets", ofRepo.GetID(), nil)
	must(t, err)
	orgPings, _, err := org.ListHookDeliveries(ctx, "octo", ofOrg.GetID(), nil)
	must(t, err)
	calls := []func() error{
		func() error { _, _, err := repo.ListHooks(ctx, "octo", "widgets", nil); return err },
		func() error { _, _, err := org.ListHooks(ctx, "octo", nil); return err },
		func() error { _, _, err := repo.GetHook(ctx, "octo", "widgets", ofRepo.GetID()); return err },
		func() error { _, _, err := org.GetHook(ctx, "octo", ofOrg.GetID()); return err },
		func() error { _, _, err := repo.EditHook(ctx, "octo", "widgets", ofRepo.GetID(), wanted); return err },
		func() error { _, _, err := org.EditHook(ctx, "octo", ofOrg.GetID(), wanted); return err },
		func() error { _, err := repo.PingHook(ctx, "octo", "widgets", ofRepo.GetID()); return err },
		func() error { _, err := org.PingHook(ctx, "octo", ofOrg.GetID()); return err },
		func() error {
			_, _, err := repo.GetHookDelivery(ctx, "octo", "widgets", ofRepo.GetID(), pings[0].GetID())
			return err
		},
		func() error {
			_, _, err := org.GetHookDelivery(ctx, "octo", ofOrg.GetID(), orgPings[0].GetID())
			return err
		},
	}
	for _, call := range calls {
		must(t, call())
	}
	_, _, err = repo.RedeliverHookDelivery(ctx, "octo", "widgets", ofRepo.GetID(), pings[0].GetID())
	mustBeAccepted(t, err)
	_, _, err = org.RedeliverHookDelivery(ctx, "octo", ofOrg.GetID(), orgPings[0].GetID())
	mustBeAccepted(t, err)
	_, err = repo.DeleteHook(ctx, "octo", "widgets", ofRepo.GetID())
	must(t, err)
	_, err = org.DeleteHook(ctx, "octo", ofOrg.GetID())
	must(t, err)
	_, err = org.DeleteHook(ctx, "octo", ofOrg.GetID())
	mustStatus(t, err, http.StatusNotFound)
}

// driveApp through what it does as itself, and as its installation.
func driveApp(t *testing.T, s *Server, url string) {
	t.Helper()
	ctx := t.Context()
	key := newKey(t)
	s.AddApp(7, &key.PublicKey, 70, "octo")
	s.AddApp(7, &key.PublicKey, 71, "enterprise:inc")
	s.AddToEnterprise("inc", "octo")
	s.AddAppWebhook(7, "http://127.0.0.1:1/", "secret")
	client, err := gh.NewClient(nil).WithAuthToken(signed(t, key, "7")).WithEnterpriseURLs(url, url)
	must(t, err)
	_, _, err = client.Apps.FindRepositoryInstallation(ctx, "octo", "widgets")
	must(t, err)
	found, _, err := client.Apps.FindOrganizationInstallation(ctx, "octo")
	must(t, err)
	must(t, ask(ctx, client, "enterprises/inc/installation"))
	token, _, err := client.Apps.CreateInstallationToken(ctx, found.GetID(), &gh.InstallationTokenOptions{})
	must(t, err)
	_, _, err = client.Apps.GetHookConfig(ctx)
	must(t, err)
	var deliveries []*gh.HookDelivery
	eventually(t, func() bool {
		deliveries, _, err = client.Apps.ListHookDeliveries(ctx, nil)
		must(t, err)
		return len(deliveries) == 1
	})
	_, _, err = client.Apps.GetHookDelivery(ctx, deliveries[0].GetID())
	must(t, err)
	_, _, err = client.Apps.RedeliverHookDelivery(ctx, deliveries[0].GetID())
	mustBeAccepted(t, err)

	installed, err := gh.NewClient(nil).WithAuthToken(token.GetToken()).WithEnterpriseURLs(url, url)
	must(t, err)
	list, _, err := installed.Apps.ListRepos(ctx, nil)
	must(t, err)
	if list.GetTotalCount() != 1 || list.Repositories[0].GetFullName() != "octo/widgets" {
		t.Errorf("the installation has %v", list)
	}
}

func newKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	return key
}

// signed by an App's key, valid for a while.
func signed(t *testing.T, key *rsa.PrivateKey, issuer string) string {
	t.Helper()
	return signedFor(t, key, issuer, time.Now().Add(-time.Minute), time.Now().Add(9*time.Minute))
}

func signedFor(t *testing.T, key *rsa.PrivateKey, issuer string, issued, expires time.Time) string {
	t.Helper()
	claims := jwt.RegisteredClaims{Issuer: issuer, IssuedAt: jwt.NewNumericDate(issued), ExpiresAt: jwt.NewNumericDate(expires)}
	text, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(key)
	must(t, err)
	return text
}

func eventually(t *testing.T, met func() bool) {
	t.Helper()
	NewWithT(t).Eventually(met, "20s", "5ms").Should(BeTrue())
}

// mustBeAccepted: go-github takes 202 for an error.
func mustBeAccepted(t *testing.T, err error) {
	t.Helper()
	if accepted, ok := err.(*gh.AcceptedError); !ok { //nolint:errorlint // it is never wrapped
		t.Fatalf("answered %v, %v, want 202", err, accepted)
	}
}
