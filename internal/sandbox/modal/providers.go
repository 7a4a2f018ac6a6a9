// Package modal is the only one that imports the Modal SDK.
package modal

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	sdk "github.com/modal-labs/libmodal/modal-go"
	"google.golang.org/grpc"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
)

// Keys of the Secret with Modal's credentials.
const (
	KeyTokenID     = "token_id"
	KeyTokenSecret = "token_secret"
)

// Providers keeps one SDK client per credential and environment, shared by all pools that use it.
type Providers struct {
	secrets *credentials.Store
	clock   clock.PassiveClock

	mu        sync.Mutex
	clients   map[[sha256.Size]byte]*sdk.Client
	providers map[providerKey]*provider
}

type providerKey struct {
	client *sdk.Client
	app    string
}

// NewProviders makes providers with the credentials that the store holds. It sets what the SDK takes from its
// environment alone, unless the operator did: the image builder's version, without which Modal would need Python in every
// image, and that no configuration file is read.
func NewProviders(secrets *credentials.Store, clock clock.PassiveClock) (*Providers, error) {
	for name, value := range map[string]string{"MODAL_IMAGE_BUILDER_VERSION": "2025.06", "MODAL_CONFIG_PATH": os.DevNull} {
		if os.Getenv(name) != "" {
			continue
		}
		if err := os.Setenv(name, value); err != nil {
			return nil, fmt.Errorf("setting %s: %w", name, err)
		}
	}
	return &Providers{
		secrets: secrets, clock: clock,
		clients: map[[sha256.Size]byte]*sdk.Client{}, providers: map[providerKey]*provider{},
	}, nil
}

// For implements sandbox.Providers.
func (p *Providers) For(ctx context.Context, namespace string, modal v1alpha1.Modal) (sandbox.Provider, error) {
	data, err := p.secrets.Get(ctx, namespace, modal.SecretName)
	if err != nil {
		return nil, err
	}
	for _, key := range []string{KeyTokenID, KeyTokenSecret} {
		if data[key] == "" {
			return nil, &fault.Error{
				Op: fmt.Sprintf("reading Secret %s/%s", namespace, modal.SecretName), Class: fault.SecretInvalid,
				Message: "it has no " + key + ": add it, from modal token new",
			}
		}
	}
	return p.keep(data[KeyTokenID], data[KeyTokenSecret], modal)
}

func (p *Providers) keep(id, secret credentials.Redacted, modal v1alpha1.Modal) (sandbox.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	credential := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", id.Reveal(), secret.Reveal(), modal.Environment))
	client, ok := p.clients[credential]
	if !ok {
		var err error
		client, err = sdk.NewClientWithOptions(&sdk.ClientParams{
			TokenID: id.Reveal(), TokenSecret: secret.Reveal(), Environment: modal.Environment,
			// What the SDK has to say comes back as errors; its own log lines would be a second voice.
			Logger:                 slog.New(slog.DiscardHandler),
			GRPCUnaryInterceptors:  []grpc.UnaryClientInterceptor{countCalls, captureResult, captureList},
			GRPCStreamInterceptors: []grpc.StreamClientInterceptor{captureBuildLog},
		})
		if err != nil {
			return nil, &fault.Error{Op: "making the Modal client", Class: fault.Transient, Message: err.Error(), Err: err}
		}
		p.clients[credential] = client
	}
	key := providerKey{client: client, app: modal.App}
	if known, ok := p.providers[key]; ok {
		return known, nil
	}
	made := &provider{client: client, clock: p.clock, appName: modal.App, environment: modal.Environment, fresh: lru.New(freshHandles), found: map[reference]any{}}
	p.providers[key] = made
	return made, nil
}

// Close the connections of all clients.
func (p *Providers) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, client := range p.clients {
		client.Close()
	}
}

const (
	// callTimeout bounds one call, the SDK's own tries included.
	callTimeout = time.Minute
	// buildTimeout bounds the build of an image.
	buildTimeout = 30 * time.Minute
	// exhaustedWait is how long to wait after ResourceExhausted, which carries no time.
	exhaustedWait = 30 * time.Second
)
