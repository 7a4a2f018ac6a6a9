package modal

import (
	"context"
	"fmt"
	"maps"
	"slices"

	sdk "github.com/modal-labs/libmodal/modal-go"

	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
)

// reference to something that has a name at Modal. What it leads to is looked up once: a sandbox costs no calls for it.
type reference struct{ kind, name string }

const (
	kindSecret = "Secret"
	kindVolume = "Volume"
	kindProxy  = "proxy"
)

// CheckReferences implements sandbox.Provider.
func (p *provider) CheckReferences(ctx context.Context, references sandbox.References) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	p.forget(named(references)...)
	return p.resolve(ctx, references, &sdk.SandboxCreateParams{})
}

// resolve the names into what a sandbox is created with.
func (p *provider) resolve(ctx context.Context, references sandbox.References, into *sdk.SandboxCreateParams) error {
	for _, name := range references.Secrets {
		secret, err := p.secret(ctx, name)
		if err != nil {
			return err
		}
		into.Secrets = append(into.Secrets, secret)
	}
	if references.Proxy != "" {
		proxy, err := lookUp(p, reference{kindProxy, references.Proxy}, func() (*sdk.Proxy, error) {
			return p.client.Proxies.FromName(ctx, references.Proxy, &sdk.ProxyFromNameParams{Environment: p.environment})
		})
		if err != nil {
			return err
		}
		into.Proxy = proxy
	}
	if err := p.resolveVolumes(ctx, references.Volumes, into); err != nil {
		return err
	}
	return p.resolveBuckets(ctx, references.Buckets, into)
}

func (p *provider) secret(ctx context.Context, name string) (*sdk.Secret, error) {
	return lookUp(p, reference{kindSecret, name}, func() (*sdk.Secret, error) {
		return p.client.Secrets.FromName(ctx, name, &sdk.SecretFromNameParams{Environment: p.environment})
	})
}

func (p *provider) resolveVolumes(ctx context.Context, volumes map[string]sandbox.Volume, into *sdk.SandboxCreateParams) error {
	for _, path := range slices.Sorted(maps.Keys(volumes)) {
		v := volumes[path]
		volume, err := lookUp(p, reference{kindVolume, v.Name}, func() (*sdk.Volume, error) {
			return p.client.Volumes.FromName(ctx, v.Name, &sdk.VolumeFromNameParams{Environment: p.environment, CreateIfMissing: v.CreateIfMissing})
		})
		if err != nil {
			return err
		}
		if v.ReadOnly {
			volume = volume.ReadOnly()
		}
		if into.Volumes == nil {
			into.Volumes = map[string]*sdk.Volume{}
		}
		into.Volumes[path] = volume
	}
	return nil
}

func (p *provider) resolveBuckets(ctx context.Context, buckets map[string]sandbox.Bucket, into *sdk.SandboxCreateParams) error {
	for _, path := range slices.Sorted(maps.Keys(buckets)) {
		b := buckets[path]
		params := &sdk.CloudBucketMountParams{
			ReadOnly: b.ReadOnly, RequesterPays: b.RequesterPays,
			BucketEndpointURL: orNil(b.EndpointURL), KeyPrefix: orNil(b.KeyPrefix), OidcAuthRoleArn: orNil(b.RoleARN),
		}
		if b.Secret != "" {
			secret, err := p.secret(ctx, b.Secret)
			if err != nil {
				return err
			}
			params.Secret = secret
		}
		mount, err := p.client.CloudBucketMounts.New(b.Name, params)
		if err != nil {
			return &fault.Error{Op: "mounting bucket " + b.Name, Class: fault.Invalid, Message: err.Error(), Err: err}
		}
		if into.CloudBucketMounts == nil {
			into.CloudBucketMounts = map[string]*sdk.CloudBucketMount{}
		}
		into.CloudBucketMounts[path] = mount
	}
	return nil
}

func orNil(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// lookUp a reference, unless it was found before.
func lookUp[T any](p *provider, r reference, ask func() (*T, error)) (*T, error) {
	p.mu.Lock()
	known, ok := p.found[r]
	p.mu.Unlock()
	if ok {
		return known.(*T), nil
	}
	found, err := ask()
	if err != nil {
		return nil, p.classify(fmt.Sprintf("looking up Modal %s %s", r.kind, r.name), err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.found[r] = found
	return found, nil
}

// forget what was found of these.
func (p *provider) forget(all ...reference) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range all {
		delete(p.found, r)
	}
}

// named lists what has a name.
func named(references sandbox.References) []reference {
	var all []reference
	for _, name := range references.Secrets {
		all = append(all, reference{kindSecret, name})
	}
	for _, v := range references.Volumes {
		all = append(all, reference{kindVolume, v.Name})
	}
	for _, b := range references.Buckets {
		all = append(all, reference{kindSecret, b.Secret})
	}
	return append(all, reference{kindProxy, references.Proxy})
}
