package modal

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	sdk "github.com/modal-labs/libmodal/modal-go"
	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"

	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
)

// provider is one app seen with one credential.
type provider struct {
	client      *sdk.Client
	clock       clock.PassiveClock
	appName     string
	environment string

	// fresh holds the handles of sandboxes just created, so that tagging them needs no call to look them up.
	fresh *lru.Cache

	mu  sync.Mutex
	app *sdk.App
	// found at Modal by name, until something that was found turns out to be gone.
	found map[reference]any
}

const freshHandles = 1024

// Check implements sandbox.Provider.
func (p *provider) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	app, err := p.client.Apps.FromName(ctx, p.appName, &sdk.AppFromNameParams{Environment: p.environment, CreateIfMissing: true})
	if err != nil {
		return p.classify("looking up Modal app "+p.appName, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.app = app
	return nil
}

// lookUpApp once; later calls find it at hand.
func (p *provider) lookUpApp(ctx context.Context) (*sdk.App, error) {
	p.mu.Lock()
	app := p.app
	p.mu.Unlock()
	if app != nil {
		return app, nil
	}
	if err := p.Check(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.app, nil
}

// Create implements sandbox.Provider.
func (p *provider) Create(ctx context.Context, request sandbox.Request) (string, error) {
	app, err := p.lookUpApp(ctx)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	params, err := p.params(ctx, request)
	if err != nil {
		return "", err
	}
	made, err := p.client.Sandboxes.Create(ctx, app, &sdk.Image{ImageID: request.ImageID}, params)
	if err != nil {
		err = p.classify("creating sandbox "+request.Name, err)
		if fault.Is(err, fault.NotFound) {
			p.forget(named(request.References)...)
		}
		return "", err
	}
	p.fresh.Add(made.SandboxID, made)
	return made.SandboxID, nil
}

// params of the SDK for a request.
func (p *provider) params(ctx context.Context, request sandbox.Request) (*sdk.SandboxCreateParams, error) {
	env := make(map[string]string, len(request.Env))
	for name, value := range request.Env {
		env[name] = value.Reveal()
	}
	params := &sdk.SandboxCreateParams{
		Name: request.Name, Command: request.Command, Workdir: request.Workdir, Env: env,
		CPU: cores(request.MilliCPU), CPULimit: cores(request.MilliCPULimit),
		MemoryMiB: int(request.MemoryMiB), MemoryLimitMiB: int(request.MemoryLimitMiB),
		GPU: request.GPU, Timeout: request.Timeout, Cloud: request.Cloud, Regions: request.Regions,
		BlockNetwork: request.Network.Blocked, CIDRAllowlist: request.Network.Allowed, Verbose: request.Verbose,
	}
	for name, value := range request.ExperimentalOptions {
		if params.ExperimentalOptions == nil {
			params.ExperimentalOptions = map[string]any{}
		}
		params.ExperimentalOptions[name] = value
	}
	return params, p.resolve(ctx, request.References, params)
}

func cores(milli int64) float64 { return float64(milli) / 1000 }

// Find implements sandbox.Provider.
func (p *provider) Find(ctx context.Context, name string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	found, err := p.client.Sandboxes.FromName(ctx, p.appName, name, &sdk.SandboxFromNameParams{Environment: p.environment})
	if err != nil {
		return "", p.classify("finding sandbox "+name, err)
	}
	return found.SandboxID, nil
}

// State implements sandbox.Provider. The SDK's FromID asks with SandboxWait and throws the answer away; the interceptor
// keeps it, so that one call is enough and the real status is seen: the SDK's exit codes can be 0 for failures of Modal's
// own.
func (p *provider) State(ctx context.Context, id string) (sandbox.State, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ctx, result := withCapture(ctx)
	_, err := p.client.Sandboxes.FromID(ctx, id)
	if err != nil {
		err = p.classify("asking for sandbox "+id, err)
		if fault.Is(err, fault.NotFound) {
			return sandbox.State{Exit: sandbox.Exit{Status: sandbox.ExitUnknown, Message: "Modal does not know the sandbox any more"}}, nil
		}
		return sandbox.State{}, err
	}
	if result.GetStatus() == pb.GenericResult_GENERIC_STATUS_UNSPECIFIED {
		return sandbox.State{Running: true}, nil
	}
	return sandbox.State{Exit: exitOf(result)}, nil
}

// Terminate implements sandbox.Provider.
func (p *provider) Terminate(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	found, err := p.client.Sandboxes.FromID(ctx, id)
	if err == nil {
		_, err = found.Terminate(ctx, nil)
	}
	if err != nil {
		return fault.IgnoreNotFound(p.classify("terminating sandbox "+id, err))
	}
	return nil
}

// Tag implements sandbox.Provider.
func (p *provider) Tag(ctx context.Context, id string, tags map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	handle, err := p.handle(ctx, id)
	if err == nil {
		err = handle.SetTags(ctx, tags)
	}
	if err != nil {
		return p.classify("tagging sandbox "+id, err)
	}
	p.fresh.Remove(id)
	return nil
}

func (p *provider) handle(ctx context.Context, id string) (*sdk.Sandbox, error) {
	if made, ok := p.fresh.Get(id); ok {
		return made.(*sdk.Sandbox), nil
	}
	return p.client.Sandboxes.FromID(ctx, id)
}

// List implements sandbox.Provider.
func (p *provider) List(ctx context.Context) (map[string]sandbox.Listed, error) {
	const op = "listing sandboxes"
	app, err := p.lookUpApp(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ctx, listed := withList(ctx)
	all, err := p.client.Sandboxes.List(ctx, &sdk.SandboxListParams{AppID: app.AppID, Environment: p.environment})
	if err != nil {
		return nil, p.classify(op, err)
	}
	for _, err := range all {
		if err != nil {
			return nil, p.classify(op, err)
		}
	}
	return listed, nil
}

const (
	// logTimeout bounds the reading of a log, of which the end is wanted and the beginning comes first.
	logTimeout = 10 * time.Second
	// logBytes is the most that is read of a log.
	logBytes = 16 << 20
)

// Log implements sandbox.Provider. The runner program writes to its standard output alone.
func (p *provider) Log(ctx context.Context, id string, limit int) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, logTimeout)
	defer cancel()
	found, err := p.client.Sandboxes.FromID(ctx, id)
	if err != nil {
		return "", p.classify("reading the log of sandbox "+id, err)
	}
	// Closing ends a read that waits.
	defer context.AfterFunc(ctx, func() { _ = found.Stdout.Close() })()
	defer func() { _ = found.Stdout.Close() }()
	end, err := readEnd(io.LimitReader(found.Stdout, logBytes), limit)
	if err != nil && ctx.Err() == nil {
		return "", p.classify("reading the log of sandbox "+id, err)
	}
	return end, nil
}

// readEnd reads all there is and keeps the last bytes of it.
func readEnd(r io.Reader, limit int) (string, error) {
	var end []byte
	buffer := make([]byte, 32<<10)
	for {
		n, err := r.Read(buffer)
		end = append(end, buffer[:n]...)
		end = end[max(0, len(end)-limit):]
		if errors.Is(err, io.EOF) {
			err = nil
		} else if err == nil {
			continue
		}
		return strings.ToValidUTF8(string(end), ""), err
	}
}
