package github

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	gh "github.com/google/go-github/v60/github"
	"k8s.io/utils/clock"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
)

// Keys of the Secret with GitHub's credentials; those that actions-runner-controller uses.
const (
	KeyToken          = "github_token"
	KeyAppID          = "github_app_id"
	KeyInstallationID = "github_app_installation_id"
	KeyPrivateKey     = "github_app_private_key"
)

// Clients keeps one Client per server and credential, shared by all pools that use it, so that they share its budget.
type Clients struct {
	secrets   *credentials.Store
	clock     clock.PassiveClock
	transport http.RoundTripper

	mu      sync.Mutex
	clients map[string]*Client
}

// NewClients makes clients with the credentials that the store holds. Requests go through the transport.
func NewClients(secrets *credentials.Store, clock clock.PassiveClock, transport http.RoundTripper) *Clients {
	return &Clients{secrets: secrets, clock: clock, transport: transport, clients: map[string]*Client{}}
}

// For gives the client for a scope, with the credentials of a Secret as they are now. Errors are classified:
// SecretMissing, SecretInvalid, or what GitHub answered while the App's installation was looked up.
func (c *Clients) For(ctx context.Context, namespace string, server v1alpha1.GitHub, scope Scope) (*Client, error) {
	data, err := c.secrets.Get(ctx, namespace, server.SecretName)
	if err != nil {
		return nil, err
	}
	invalid := func(format string, args ...any) error {
		return &fault.Error{
			Op: fmt.Sprintf("reading Secret %s/%s", namespace, server.SecretName), Class: fault.SecretInvalid,
			Message: fmt.Sprintf(format, args...),
		}
	}
	if token := data[KeyToken]; token != "" {
		return c.keep(digest(server.URL, KeyToken, token.Reveal()), func() (*Client, error) {
			return newClient(server.URL, bearer{token: token, next: c.transport}, c.clock)
		})
	}
	if data[KeyAppID] == "" || data[KeyPrivateKey] == "" {
		return nil, invalid("it has neither %s nor %s and %s", KeyToken, KeyAppID, KeyPrivateKey)
	}
	app, err := strconv.ParseInt(data[KeyAppID].Reveal(), 10, 64)
	if err != nil {
		return nil, invalid("%s is not a number", KeyAppID)
	}
	apps, err := ghinstallation.NewAppsTransport(c.transport, app, []byte(data[KeyPrivateKey].Reveal()))
	if err != nil {
		return nil, invalid("%s is not an RSA private key in PEM form", KeyPrivateKey)
	}
	apps.BaseURL = apiURL(server.URL)
	key := digest(server.URL, scope.owner(), data[KeyAppID].Reveal(), data[KeyInstallationID].Reveal(), data[KeyPrivateKey].Reveal())
	return c.keep(key, func() (*Client, error) {
		installation, err := c.installation(ctx, server.URL, apps, scope, data[KeyInstallationID].Reveal())
		if err != nil {
			return nil, err
		}
		return newClient(server.URL, ghinstallation.NewFromAppsTransport(apps, installation), c.clock)
	})
}

// keep the client that make gives under a key, unless there is one.
func (c *Clients) keep(key string, make func() (*Client, error)) (*Client, error) {
	c.mu.Lock()
	client, ok := c.clients[key]
	c.mu.Unlock()
	if ok {
		return client, nil
	}
	client, err := make()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if earlier, ok := c.clients[key]; ok {
		return earlier, nil
	}
	c.clients[key] = client
	return client, nil
}

// installation of the App: the one that the Secret names, else the one that covers the scope.
func (c *Clients) installation(ctx context.Context, server string, apps http.RoundTripper, scope Scope, given string) (int64, error) {
	if given != "" {
		id, err := strconv.ParseInt(given, 10, 64)
		if err != nil {
			return 0, &fault.Error{Op: "reading the App's Secret", Class: fault.SecretInvalid, Message: KeyInstallationID + " is not a number"}
		}
		return id, nil
	}
	asApp, err := newClient(server, apps, c.clock)
	if err != nil {
		return 0, err
	}
	var found *gh.Installation
	err = asApp.do("finding the App's installation", func() (resp *gh.Response, err error) {
		switch {
		case scope.Repository != "":
			found, resp, err = asApp.rest.Apps.FindRepositoryInstallation(ctx, scope.Owner, scope.Repository)
		default:
			found, resp, err = asApp.rest.Apps.FindOrganizationInstallation(ctx, scope.owner())
		}
		return resp, err
	})
	if fault.Is(err, fault.NotFound) {
		return 0, &fault.Error{
			Op: "finding the App's installation", Class: fault.Forbidden, Err: err,
			Message: "the GitHub App is not installed on " + scope.String() + ": install it there",
		}
	}
	return found.GetID(), err
}

func (s Scope) owner() string {
	if s.Enterprise != "" {
		return s.Enterprise
	}
	return s.Owner
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

// NewTransport is the HTTP transport that all clients share.
func NewTransport() *http.Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	transport.ResponseHeaderTimeout = callTimeout
	transport.IdleConnTimeout = time.Minute
	return transport
}
