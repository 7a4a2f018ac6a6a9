package modal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"k8s.io/utils/clock"
)

// Options of a Server. The zero value is a server whose sandboxes start at once and stay until they are ended.
type Options struct {
	// Clock that sandboxes, builds and waits live by; the real one by default.
	Clock clock.WithTicker
	// TokenClock that auth tokens expire by; the real one by default, since the SDK reads their expiry with time.Now.
	TokenClock clock.PassiveClock
	// Seed of all that is random: IDs and faults with a probability.
	Seed int64
	// Run is what runs inside a sandbox; by default nothing that ever ends by itself.
	Run RunFunc
	// Exec is what runs when a command is executed inside a sandbox; by default every program is missing (exit code 127).
	Exec RunFunc
	// Latency of a method, by its short name, for example "SandboxCreate".
	Latency map[string]time.Duration
	// ImageBuildTime is how long each layer takes; 0 builds within the call.
	ImageBuildTime time.Duration
	// ScheduleDelay passes between the creation of a sandbox and the start of its command.
	ScheduleDelay time.Duration
	// TerminateDelay passes between the answer to SandboxTerminate and the end of the sandbox.
	TerminateDelay time.Duration
	// MaxSandboxes alive at once in the workspace, 0 for no limit; beyond it SandboxCreate is ResourceExhausted.
	MaxSandboxes int
	// CreateRate is the number of sandboxes that may be created within one second, 0 for no limit.
	CreateRate int
	// PageSize of SandboxList, 50 by default.
	PageSize int
	// Window is how long a call waits and a stream of logs lasts at most, whatever it asks for; a minute by default.
	Window time.Duration
	// AuthTokenLife is how long an auth token is valid, 20 minutes by default.
	AuthTokenLife time.Duration
	// NoRegistry leaves out the registry images that are known by default.
	NoRegistry bool
	// Logger for what the server does; nothing is logged by default.
	Logger *slog.Logger
}

func (o *Options) setDefaults() {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.TokenClock == nil {
		o.TokenClock = clock.RealClock{}
	}
	if o.Run == nil {
		o.Run = untilKilled
	}
	if o.PageSize == 0 {
		o.PageSize = 50
	}
	if o.Window == 0 {
		o.Window = time.Minute
	}
	if o.AuthTokenLife == 0 {
		o.AuthTokenLife = 20 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Server is one Modal workspace.
type Server struct {
	options     Options
	clock       clock.WithTicker
	log         *slog.Logger
	ids         *ids
	tokens      *tokens
	calls       *calls
	faults      *Faults
	idempotency *idempotency
	timeline    *timeline
	stop        context.CancelFunc

	// mu guards all that follows. It is never held while a RunFunc, a fault or the network is waited for.
	mu           sync.Mutex
	environments map[string]*environment
	apps         map[string]*app
	secrets      map[string]*secret
	registry     *registry
	images       map[string]*image
	imageOrder   []*image
	imageCache   map[string]*image
	failing      []failingBuild
	volumes      map[string]*volume
	proxies      map[string]*proxy
	sandboxes    map[string]*sandbox
	order        []*sandbox
	tasks        map[string]*sandbox
	alive        int
	recent       []time.Time
	history      []Event

	// serving guards the listener.
	serving  sync.Mutex
	listener net.Listener
	grpc     *grpc.Server
	url      string
}

// New server, which answers nobody before Start.
func New(options Options) *Server {
	options.setDefaults()
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{
		options:      options,
		clock:        options.Clock,
		log:          options.Logger,
		ids:          newIDs(options.Seed),
		tokens:       newTokens(options.Seed, options.TokenClock, options.AuthTokenLife),
		calls:        newCalls(),
		faults:       newFaults(options.Seed, options.Clock),
		idempotency:  newIdempotency(options.Clock),
		timeline:     newTimeline(options.Clock),
		stop:         stop,
		environments: map[string]*environment{},
		apps:         map[string]*app{},
		secrets:      map[string]*secret{},
		registry:     newRegistry(!options.NoRegistry),
		images:       map[string]*image{},
		imageCache:   map[string]*image{},
		volumes:      map[string]*volume{},
		proxies:      map[string]*proxy{},
		sandboxes:    map[string]*sandbox{},
		tasks:        map[string]*sandbox{},
	}
	s.AddEnvironment(defaultEnvironment)
	go s.timeline.loop(ctx)
	return s
}

// Start serving at a TCP address, such as "127.0.0.1:0". After StopServing it may be started again, with all it knows.
func (s *Server) Start(addr string) error {
	s.serving.Lock()
	defer s.serving.Unlock()
	if s.grpc != nil {
		return errors.New("the server is serving already")
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listening at %s: %w", addr, err)
	}
	server := grpc.NewServer(
		// The SDK pings every 30 s, without streams too.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.MaxRecvMsgSize(100<<20),
		grpc.MaxSendMsgSize(100<<20),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
	)
	pb.RegisterModalClientServer(server, &control{Server: s})
	pb.RegisterTaskCommandRouterServer(server, &router{Server: s})
	s.listener, s.grpc, s.url = listener, server, urlOf(listener)
	go func() { _ = server.Serve(listener) }()
	return nil
}

// urlOf a listener, by the loopback address when it listens at all of them: the SDK takes no other host for a local one.
func urlOf(listener net.Listener) string {
	addr := listener.Addr().(*net.TCPAddr)
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, fmt.Sprint(addr.Port))
}

// URL for MODAL_SERVER_URL. It stays the same after StopServing.
func (s *Server) URL() string {
	s.serving.Lock()
	defer s.serving.Unlock()
	return s.url
}

// StopServing cuts all connections and refuses new ones, as an outage does; the sandboxes live on.
func (s *Server) StopServing() {
	s.serving.Lock()
	server := s.grpc
	s.grpc, s.listener = nil, nil
	s.serving.Unlock()
	if server != nil {
		server.Stop()
	}
}

// Close stops serving, kills all sandboxes and returns when their processes are gone.
func (s *Server) Close() {
	s.StopServing()
	s.mu.Lock()
	all := append([]*sandbox(nil), s.order...)
	for _, sb := range all {
		s.finish(sb, resultOf(pb.GenericResult_GENERIC_STATUS_TERMINATED, 0, "the server was closed"))
	}
	s.mu.Unlock()
	for _, sb := range all {
		<-sb.gone
		for _, e := range s.executions(sb) {
			<-e.done
		}
	}
	s.mu.Lock()
	for _, v := range s.volumes {
		_ = os.RemoveAll(v.folder)
	}
	s.mu.Unlock()
	s.stop()
}

// control is the ModalClient service: the RPCs that the SDK's control plane client calls. What is not implemented here
// answers Unimplemented.
type control struct {
	pb.UnimplementedModalClientServer
	*Server
}
