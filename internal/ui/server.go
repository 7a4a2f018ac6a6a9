package ui

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// Path at which the page is served.
const Path = "/ui"

// Limits of the server. No answer is long but a stream, which sets its own deadlines.
const (
	headerTimeout = 5 * time.Second
	answerTimeout = 30 * time.Second
	idleTimeout   = time.Minute
	maxHeader     = 16 << 10
)

// Server of the status page.
type Server struct {
	address   string
	log       logr.Logger
	elected   <-chan struct{}
	snapshots *snapshots
	// stopping ends the streams.
	stopping context.Context
	// heartbeat and writeTimeout of streams.
	heartbeat, writeTimeout time.Duration
}

// Options of a Server.
type Options struct {
	// Address that it listens at.
	Address string
	// Reader of the cache.
	Reader client.Reader
	Clock  clock.WithTicker
	// Replica that this is, its shard if there are several, and its version.
	Replica, Shard, Version string
	// Elected is closed when this replica leads.
	Elected <-chan struct{}
	Log     logr.Logger
}

// New Server, which shows what the reader gives; Changed tells it when that has changed.
func New(o Options) *Server {
	s := &Server{
		address: o.Address, log: o.Log, elected: o.Elected, stopping: context.Background(),
		heartbeat: 15 * time.Second, writeTimeout: 10 * time.Second,
	}
	s.snapshots = newSnapshots(o.Reader, o.Clock, func() Controller {
		return Controller{Replica: o.Replica, Shard: o.Shard, Version: o.Version, Leads: s.leads()}
	})
	return s
}

func (s *Server) leads() bool {
	select {
	case <-s.elected:
		return true
	default:
		return false
	}
}

// Changed says that something has changed that the page shows.
func (s *Server) Changed() { s.snapshots.nudge() }

// SetupWithManager has the manager run the server in every replica, and tell it of changes.
func (s *Server) SetupWithManager(ctx context.Context, mgr manager.Manager) error {
	for _, object := range []client.Object{&v1alpha1.RunnerPool{}, &v1alpha1.Runner{}, &v1alpha1.WorkflowJob{}} {
		informer, err := mgr.GetCache().GetInformer(ctx, object, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("watching %T: %w", object, err)
		}
		if _, err := informer.AddEventHandler(everyChange(s.Changed)); err != nil {
			return fmt.Errorf("watching %T: %w", object, err)
		}
	}
	return mgr.Add(s)
}

// everyChange calls a function whatever happens.
type everyChange func()

func (f everyChange) OnAdd(any, bool)   { f() }
func (f everyChange) OnUpdate(any, any) { f() }
func (f everyChange) OnDelete(any)      { f() }

// NeedLeaderElection is false: every replica has a cache to show.
func (s *Server) NeedLeaderElection() bool { return false }

// Start serving, until the context ends.
func (s *Server) Start(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.address)
	if err != nil {
		return fmt.Errorf("serving the status page: %w", err)
	}
	return s.serve(ctx, listener)
}

func (s *Server) serve(ctx context.Context, listener net.Listener) error {
	s.stopping = ctx
	server := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
	}
	go s.snapshots.run(ctx)
	go func() {
		select {
		case <-s.elected:
			s.Changed()
		case <-ctx.Done():
		}
	}()
	stopped := context.AfterFunc(ctx, func() {
		// Streams end with the context; what else is under way has a moment.
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if server.Shutdown(late) != nil {
			_ = server.Close()
		}
	})
	defer stopped()
	s.log.Info("serving the status page", "address", listener.Addr().String(), "path", Path)
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the status page: %w", err)
	}
	return nil
}
