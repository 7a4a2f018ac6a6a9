package modal_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modal-labs/libmodal/modal-go"
	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

const (
	tokenID, tokenSecret = "ak-test", "as-test"
	soon                 = time.Minute
	base                 = "debian:bookworm-slim"
)

// environment guards MODAL_SERVER_URL, which the SDK reads when a client is made.
var environment sync.Mutex

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "modal-config-")
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET", "MODAL_ENVIRONMENT", "MODAL_PROFILE"} {
		_ = os.Unsetenv(name)
	}
	_ = os.Setenv("MODAL_CONFIG_PATH", filepath.Join(dir, "modal.toml"))
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// world is a server with a client of the unmodified SDK.
type world struct {
	*WithT
	t      *testing.T
	ctx    context.Context
	server *modalsim.Server
	client *sdk.Client

	mu sync.Mutex
	// last result of SandboxWait that went over the wire.
	last *pb.GenericResult
}

func newWorld(t *testing.T, options modalsim.Options) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	w := &world{WithT: NewWithT(t), t: t, ctx: ctx, server: modalsim.New(options)}
	w.SetDefaultEventuallyTimeout(soon)
	w.SetDefaultEventuallyPollingInterval(5 * time.Millisecond)
	w.Expect(w.server.Start("127.0.0.1:0")).To(Succeed())
	t.Cleanup(w.server.Close)
	w.server.AddToken(tokenID, tokenSecret)
	w.client = w.clientWith(tokenID, tokenSecret)
	return w
}

func (w *world) clientWith(id, secret string) *sdk.Client {
	w.t.Helper()
	environment.Lock()
	defer environment.Unlock()
	w.Expect(os.Setenv("MODAL_SERVER_URL", w.server.URL())).To(Succeed())
	client, err := sdk.NewClientWithOptions(&sdk.ClientParams{
		TokenID: id, TokenSecret: secret, Logger: slog.New(slog.DiscardHandler),
		GRPCUnaryInterceptors: []grpc.UnaryClientInterceptor{w.capture},
	})
	w.Expect(err).NotTo(HaveOccurred())
	w.t.Cleanup(client.Close)
	return client
}

// capture the real result, which the SDK turns into an exit code.
func (w *world) capture(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := next(ctx, method, req, reply, cc, opts...)
	if wait, ok := reply.(*pb.SandboxWaitResponse); ok && err == nil {
		w.mu.Lock()
		w.last = wait.GetResult()
		w.mu.Unlock()
	}
	return err
}

func (w *world) lastResult() *pb.GenericResult {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

func (w *world) app(name string) *sdk.App {
	w.t.Helper()
	app, err := w.client.Apps.FromName(w.ctx, name, &sdk.AppFromNameParams{CreateIfMissing: true})
	w.Expect(err).NotTo(HaveOccurred())
	return app
}

func (w *world) image() *sdk.Image { return w.client.Images.FromRegistry(base, nil) }

// create a sandbox that sleeps, with changes.
func (w *world) create(app *sdk.App, changes ...func(*sdk.SandboxCreateParams)) (*sdk.Sandbox, error) {
	params := &sdk.SandboxCreateParams{Command: []string{"sleep", "infinity"}, Timeout: time.Hour}
	for _, change := range changes {
		change(params)
	}
	return w.client.Sandboxes.Create(w.ctx, app, w.image(), params)
}

func (w *world) mustCreate(app *sdk.App, changes ...func(*sdk.SandboxCreateParams)) *sdk.Sandbox {
	w.t.Helper()
	sb, err := w.create(app, changes...)
	w.Expect(err).NotTo(HaveOccurred())
	return sb
}

func named(name string) func(*sdk.SandboxCreateParams) {
	return func(p *sdk.SandboxCreateParams) { p.Name = name }
}

func command(args ...string) func(*sdk.SandboxCreateParams) {
	return func(p *sdk.SandboxCreateParams) { p.Command = args }
}

// poll gives the exit code, or nil.
func (w *world) poll(sb *sdk.Sandbox) func() (*int, error) {
	return func() (*int, error) { return sb.Poll(w.ctx) }
}

func (w *world) list(params *sdk.SandboxListParams) []string {
	w.t.Helper()
	all, err := w.client.Sandboxes.List(w.ctx, params)
	w.Expect(err).NotTo(HaveOccurred())
	var ids []string
	for sb, err := range all {
		w.Expect(err).NotTo(HaveOccurred())
		ids = append(ids, sb.SandboxID)
	}
	return ids
}

// dial the server without the SDK.
func (w *world) dial(headers ...string) *grpc.ClientConn {
	w.t.Helper()
	with := func(ctx context.Context) context.Context { return metadata.AppendToOutgoingContext(ctx, headers...) }
	conn, err := grpc.NewClient(strings.TrimPrefix(w.server.URL(), "http://"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return next(with(ctx), method, req, reply, cc, opts...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			return next(with(ctx), desc, cc, method, opts...)
		}))
	w.Expect(err).NotTo(HaveOccurred())
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// raw is a client without the SDK around it, for what the SDK itself refuses or cannot ask.
func (w *world) raw(headers ...string) pb.ModalClientClient {
	return pb.NewModalClientClient(w.dial(headers...))
}

var credentials = []string{
	"x-modal-client-type", "9", "x-modal-client-version", "1.0.0", "x-modal-token-id", tokenID, "x-modal-token-secret", tokenSecret,
}

// authenticated is a raw client that may do everything.
func (w *world) authenticated() pb.ModalClientClient {
	w.t.Helper()
	answer, err := w.raw(credentials...).AuthTokenGet(w.ctx, &pb.AuthTokenGetRequest{})
	w.Expect(err).NotTo(HaveOccurred())
	return w.raw(append([]string{"x-modal-auth-token", answer.GetToken()}, credentials...)...)
}

// streaming is a raw client for streams, which need no auth token.
func (w *world) streaming() pb.ModalClientClient { return w.raw(credentials...) }

// router is a raw client of a task's command router.
func (w *world) router(taskID string) pb.TaskCommandRouterClient {
	w.t.Helper()
	access, err := w.authenticated().TaskGetCommandRouterAccess(w.ctx,
		pb.TaskGetCommandRouterAccessRequest_builder{TaskId: taskID}.Build())
	w.Expect(err).NotTo(HaveOccurred())
	return pb.NewTaskCommandRouterClient(w.dial("authorization", "Bearer "+access.GetJwt()))
}
