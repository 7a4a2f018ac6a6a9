// Command manager is the controller manager: flags and wiring, nothing else.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	goruntime "runtime"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // cluster credentials of all providers
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/installation"
	"github.com/modalrunner/modal-runner-controller/internal/shard"
	"github.com/modalrunner/modal-runner-controller/internal/version"
)

const (
	// profiledMutexes: one in so many waits for a lock is in the profile; profiledBlock: one wait each such time.
	profiledMutexes = 100
	profiledBlock   = time.Millisecond
)

func main() {
	var o options
	o.bind(flag.CommandLine)
	flag.Parse()
	if o.version {
		fmt.Println("modal-runner-controller", version.Get())
		return
	}
	o.webhookURL = strings.TrimSuffix(o.webhookURL, "/")
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&o.log)))
	if err := o.validate(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if o.ping != "" {
		os.Exit(o.sendPing(context.Background()))
	}
	ctrl.Log.Info("starting", "version", version.Get().Version, "commit", version.Get().Commit)
	do := run
	if o.applyPools != "" || o.drainPools {
		do = func(ctx context.Context, o options) error { return o.workOnRelease(ctx) }
	}
	if err := do(ctrl.SetupSignalHandler(), o); err != nil {
		ctrl.Log.Error(err, "stopped")
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	namespace := os.Getenv("POD_NAMESPACE")
	if namespace == "" {
		return errors.New("the environment variable POD_NAMESPACE must name the namespace that the manager runs in")
	}
	end, err := o.observe(ctx, namespace)
	if err != nil {
		return err
	}
	defer end()
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the cluster: %w", err)
	}
	if o.pprofAddress != "0" {
		goruntime.SetMutexProfileFraction(profiledMutexes)
		goruntime.SetBlockProfileRate(int(profiledBlock))
	}
	// The API server's priority and fairness limits the manager; a second limit in the client would only add waiting.
	config.QPS = -1
	config.UserAgent = version.UserAgent("modal-runner-controller")
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return fmt.Errorf("building the scheme: %w", err)
		}
	}
	if o.webhookOnly {
		return o.receive(ctx, config, scheme, namespace)
	}
	live, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("making the client: %w", err)
	}
	mark, err := installation.Ensure(ctx, live, namespace)
	if err != nil {
		return err
	}
	pools, err := shard.New(o.shard, o.poolSelector)
	if err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(config, o.manager(config, scheme, namespace, pools.Lease))
	if err != nil {
		return fmt.Errorf("making the manager: %w", err)
	}
	if err := o.wire(ctx, mgr, mark, pools, namespace); err != nil {
		return err
	}
	return mgr.Start(outlive(ctx, o.drain))
}

// outlive gives a context that ends a while after another. Kubernetes goes on sending deliveries to a Pod that it tells to stop,
// until every proxy knows: until then all goes on, and what is delivered is stored.
func outlive(ctx context.Context, by time.Duration) context.Context {
	late, end := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { time.AfterFunc(by, end) })
	return late
}

// unlessStopping is a check that fails from when the manager is told to stop.
func unlessStopping(ctx context.Context, ready healthz.Checker) healthz.Checker {
	return func(req *http.Request) error {
		if ctx.Err() != nil {
			return errors.New("the manager is stopping")
		}
		return ready(req)
	}
}

func (o *options) manager(config *rest.Config, scheme *runtime.Scheme, namespace, lease string) ctrl.Options {
	watched := map[string]cache.Config{}
	for _, n := range o.namespaces {
		watched[n] = cache.Config{}
	}
	metrics := metricsserver.Options{BindAddress: o.metricsAddress, SecureServing: o.metricsSecure}
	if o.metricsSecure {
		metrics.FilterProvider = filters.WithAuthenticationAndAuthorization
	}
	return ctrl.Options{
		Scheme:                        scheme,
		Metrics:                       metrics,
		HealthProbeBindAddress:        o.probeAddress,
		PprofBindAddress:              o.pprofAddress,
		LeaderElection:                o.leaderElect,
		LeaderElectionConfig:          o.electionConfig(config),
		LeaderElectionID:              lease,
		LeaderElectionNamespace:       namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &o.leaseDuration,
		RenewDeadline:                 &o.renewDeadline,
		RetryPeriod:                   &o.retryPeriod,
		// Every replica holds all objects of all shards: who manages their fields is no use to it, and half of them.
		Cache: cache.Options{DefaultNamespaces: watched, DefaultTransform: cache.TransformStripManagedFields()},
		// A reconcile must see what the one before it wrote: without it a stale Runner would be launched twice, which
		// its name prevents, but at the price of calls.
		Client: client.Options{Cache: &client.CacheOptions{EnableReadYourWritesConsistency: ptr.To(true)}},
	}
}
