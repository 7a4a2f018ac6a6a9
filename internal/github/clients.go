package github

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"k8s.io/utils/clock"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
)

// Keys of the Secret with GitHub's credentials; the first four are those that actions-runner-controller uses.
const (
	KeyToken          = "github_token"
	KeyAppID          = "github_app_id"
	KeyInstallationID = "github_app_installation_id"
	KeyPrivateKey     = "github_app_private_key"
	// KeyCA holds certificates, in PEM form, that the server's may be signed by beside those that are trusted everywhere.
	KeyCA = "ca.crt"
	// KeyProxy holds the URL of the HTTP proxy through which the server is reached, with its credentials if it wants any.
	KeyProxy = "proxy_url"
)

// unusedAfter is how long a client is kept that nobody asks for: one whose credential was replaced.
const unusedAfter = time.Hour

// Clients keeps one Client per server and credential, shared by all pools that use it, so that they share its budget.
type Clients struct {
	secrets    *credentials.Store
	clock      clock.PassiveClock
	perMinute  int
	transports *transports

	mu      sync.Mutex
	clients map[string]*kept
}

type kept struct {
	client *Client
	used   time.Time
}

// NewClients makes clients with the credentials that the store holds. Each credential may spend pointsPerMinute of GitHub's
// secondary limit; 0 is no limit.
func NewClients(secrets *credentials.Store, clock clock.PassiveClock, pointsPerMinute int) *Clients {
	return &Clients{
		secrets: secrets, clock: clock, perMinute: pointsPerMinute, transports: newTransports(clock), clients: map[string]*kept{},
	}
}

// For gives the client for a scope, with the credentials of a Secret as they are now. It does not talk to GitHub. Errors
// are classified as SecretMissing or SecretInvalid, or Transient when the API server does not answer.
func (c *Clients) For(ctx context.Context, namespace string, server v1alpha1.GitHub, scope Scope) (*Client, error) {
	data, err := c.secrets.Get(ctx, namespace, server.SecretName)
	if err != nil {
		return nil, err
	}
	client, err := c.forData(data, namespace+"/"+server.SecretName, server.URL, scope)
	if err != nil {
		return nil, &fault.Error{
			Op: fmt.Sprintf("reading Secret %s/%s", namespace, server.SecretName), Class: fault.SecretInvalid, Message: err.Error(),
		}
	}
	return client, nil
}

// forData gives the client for the values of a Secret, or what is wrong with them.
func (c *Clients) forData(data map[string]credentials.Redacted, name, server string, scope Scope) (*Client, error) {
	server = strings.TrimSuffix(server, "/")
	transport, err := c.transports.get(data[KeyCA], data[KeyProxy])
	if err != nil {
		return nil, err
	}
	if token := data[KeyToken]; token != "" {
		key := digest(server, KeyToken, token.Reveal(), data[KeyCA].Reveal(), data[KeyProxy].Reveal())
		return c.keep(key, name, server, func() (http.RoundTripper, error) { return bearer{token: token, next: transport}, nil })
	}
	if data[KeyAppID] == "" || data[KeyPrivateKey] == "" {
		return nil, fmt.Errorf("it has neither %s nor %s and %s", KeyToken, KeyAppID, KeyPrivateKey)
	}
	owner := name + "/" + scope.owner()
	key := digest(server, scope.owner(), data[KeyAppID].Reveal(), data[KeyInstallationID].Reveal(), data[KeyPrivateKey].Reveal(),
		data[KeyCA].Reveal(), data[KeyProxy].Reveal())
	client, err := c.keep(key, owner, server, func() (http.RoundTripper, error) { return c.app(data, transport, owner, server) })
	if err == nil {
		client.asApp.serve(scope)
	}
	return client, err
}

// app of the values of a Secret.
func (c *Clients) app(data map[string]credentials.Redacted, transport http.RoundTripper, name, server string) (http.RoundTripper, error) {
	id, err := strconv.ParseInt(data[KeyAppID].Reveal(), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%s is not a number", KeyAppID)
	}
	var installation int64
	if given := data[KeyInstallationID].Reveal(); given != "" {
		if installation, err = strconv.ParseInt(given, 10, 64); err != nil {
			return nil, fmt.Errorf("%s is not a number", KeyInstallationID)
		}
	}
	asApp, err := ghinstallation.NewAppsTransport(transport, id, []byte(data[KeyPrivateKey].Reveal()))
	if err != nil {
		return nil, fmt.Errorf("%s is not an RSA private key in PEM form", KeyPrivateKey)
	}
	asApp.BaseURL = apiURL(server)
	self, err := newClient(server, asApp, newBudget(name+" (App)", server, c.perMinute, c.clock))
	if err != nil {
		return nil, err
	}
	return &app{id: id, given: installation, asApp: asApp, self: self}, nil
}

// keep a client under a key, made with the transport that authenticate gives, unless there is one.
func (c *Clients) keep(key, name, server string, authenticate func() (http.RoundTripper, error)) (*Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	if k, ok := c.clients[key]; ok {
		k.used = now
		return k.client, nil
	}
	transport, err := authenticate()
	if err != nil {
		return nil, err
	}
	client, err := newClient(server, transport, newBudget(name, server, c.perMinute, c.clock))
	if err != nil {
		return nil, err
	}
	client.asApp, _ = transport.(*app)
	c.clients[key] = &kept{client: client, used: now}
	c.drop(now)
	return client, nil
}

// drop the clients that nobody has asked for, with what the metrics say of their credentials. The lock is held.
func (c *Clients) drop(now time.Time) {
	names, unused := map[string]bool{}, map[string]bool{}
	for key, k := range c.clients {
		if now.Sub(k.used) > unusedAfter {
			delete(c.clients, key)
			unused[k.client.budget.name] = true
			continue
		}
		names[k.client.budget.name] = true
	}
	for name := range unused {
		// A Secret whose value was replaced goes on under its name.
		if !names[name] {
			metrics.ForgetGitHubBudget(name)
		}
	}
}

// owner on which the App has to be installed.
func (s Scope) owner() string {
	if s.Enterprise != "" {
		return "enterprise:" + lower(s.Enterprise)
	}
	return lower(s.Owner)
}

// digest of a credential, as a key that does not keep the credential itself.
func digest(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// bearer authenticates with a token.
type bearer struct {
	token credentials.Redacted
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+b.token.Reveal())
	return b.next.RoundTrip(req)
}
