// Command manager is the controller manager: flags and wiring, nothing else.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // cluster credentials of all providers
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/controllers/orphan"
	"github.com/modalrunner/modal-runner-controller/controllers/runner"
	"github.com/modalrunner/modal-runner-controller/controllers/runnerpool"
	"github.com/modalrunner/modal-runner-controller/controllers/workflowjob"
	"github.com/modalrunner/modal-runner-controller/internal/cost"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/ingress"
	"github.com/modalrunner/modal-runner-controller/internal/installation"
	"github.com/modalrunner/modal-runner-controller/internal/observe"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox/modal"
)

// freshDelivery is the age up to which a job's delivery is taken at its word.
const freshDelivery = 10 * time.Minute

// options of the manager, by flag.
type options struct {
	metricsAddress string
	metricsSecure  bool
	probeAddress   string
	webhookAddress string
	webhookSecrets string
	webhookURL     string
	healInterval   time.Duration
	githubPoints   int
	drain          time.Duration
	jobWorkers     int
	leaderElect    bool
	leaseDuration  time.Duration
	renewDeadline  time.Duration
	retryPeriod    time.Duration
	namespaces     namespaces
	pollInterval   time.Duration
	listInterval   time.Duration
	sweepInterval  time.Duration
	orphanGrace    time.Duration
	secretTTL      time.Duration
	jobTTL         time.Duration
	pricesFile     string
	runnerWorkers  int
	poolWorkers    int
	log            zap.Options
}

// namespaces is a flag that may be given several times.
type namespaces []string

func (n *namespaces) String() string     { return strings.Join(*n, ",") }
func (n *namespaces) Set(v string) error { *n = append(*n, v); return nil }

func (o *options) bind(flags *flag.FlagSet) {
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", "0", "Address of the metrics endpoint, for example :8443; 0 turns it off.")
	flags.BoolVar(&o.metricsSecure, "metrics-secure", true, "Serve metrics over HTTPS, to those whom the API server allows to get /metrics.")
	flags.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "Address of /healthz and /readyz; 0 turns them off.")
	flags.StringVar(&o.webhookAddress, "webhook-bind-address", ":8080", "Address on which GitHub's webhooks are received, at "+ingress.Path+"; 0 turns it off.")
	flags.StringVar(&o.webhookSecrets, "webhook-secret-dir", "/etc/modal-runner-controller/webhook", "Folder whose files each hold a secret that webhooks may be signed with.")
	flags.StringVar(&o.webhookURL, "webhook-url", "", "Address at which GitHub reaches the webhook receiver, without "+ingress.Path+", for example https://runners.example.com. Pools that manage their webhook deliver there, and failed deliveries to it are asked for again.")
	flags.DurationVar(&o.healInterval, "webhook-heal-interval", 5*time.Minute, "How often failed webhook deliveries are looked for and asked for again.")
	flags.IntVar(&o.githubPoints, "github-points-per-minute", github.DefaultPointsPerMinute, "How many points of GitHub's secondary rate limit each credential may spend in a minute, 5 or more; 0 is no limit.")
	flags.DurationVar(&o.drain, "drain", 5*time.Second, "How long the manager goes on after it is told to stop, while /readyz says so, until webhooks are sent to it no more.")
	flags.BoolVar(&o.leaderElect, "leader-elect", false, "Let one replica of several act at a time. Every replica receives webhooks.")
	flags.DurationVar(&o.leaseDuration, "leader-elect-lease-duration", 15*time.Second, "How long after the leader's last sign of life another replica takes over.")
	flags.DurationVar(&o.renewDeadline, "leader-elect-renew-deadline", 10*time.Second, "How long the leader tries to renew its lease before it gives up.")
	flags.DurationVar(&o.retryPeriod, "leader-elect-retry-period", 2*time.Second, "How long replicas wait between two tries to get or renew the lease.")
	flags.Var(&o.namespaces, "namespace", "Namespace whose RunnerPools are served; may be given several times. All namespaces when not given.")
	flags.DurationVar(&o.pollInterval, "queue-poll-interval", 30*time.Second, "How often the queue of each pool is polled.")
	flags.DurationVar(&o.listInterval, "list-interval", 15*time.Second, "How often runners and sandboxes are listed while there are any.")
	flags.DurationVar(&o.sweepInterval, "sweep-interval", 5*time.Minute, "How often runners and sandboxes are listed while there are none, to find what is left over.")
	flags.DurationVar(&o.orphanGrace, "orphan-grace", 2*time.Minute, "How long a sandbox or registration of this controller may have no Runner before it is removed.")
	flags.DurationVar(&o.secretTTL, "secret-ttl", 10*time.Second, "How long a Secret is used before it is read again.")
	flags.DurationVar(&o.jobTTL, "job-ttl", time.Hour, "How long a WorkflowJob is kept after its job is over.")
	flags.StringVar(&o.pricesFile, "prices-file", "", "File with the prices that costs are estimated by, in the form of internal/cost/prices.yaml; those that Modal published when none is given.")
	flags.IntVar(&o.runnerWorkers, "runner-workers", 64, "How many Runners are reconciled at once.")
	flags.IntVar(&o.jobWorkers, "job-workers", 8, "How many WorkflowJobs are reconciled at once.")
	flags.IntVar(&o.poolWorkers, "pool-workers", 8, "How many RunnerPools are reconciled at once.")
	o.log.BindFlags(flags)
}

// validate what the flags' types let through.
func (o *options) validate() error {
	if o.githubPoints != 0 && o.githubPoints < github.MinPointsPerMinute {
		return fmt.Errorf("--github-points-per-minute=%d is too little, since registering one runner takes %d: give that or more, or 0 for no limit",
			o.githubPoints, github.MinPointsPerMinute)
	}
	return nil
}

func main() {
	var o options
	o.bind(flag.CommandLine)
	flag.Parse()
	o.webhookURL = strings.TrimSuffix(o.webhookURL, "/")
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&o.log)))
	if err := o.validate(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if err := run(ctrl.SetupSignalHandler(), o); err != nil {
		ctrl.Log.Error(err, "stopped")
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	namespace := os.Getenv("POD_NAMESPACE")
	if namespace == "" {
		return errors.New("the environment variable POD_NAMESPACE must name the namespace that the manager runs in")
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the cluster: %w", err)
	}
	// The API server's priority and fairness limits the manager; a second limit in the client would only add waiting.
	config.QPS = -1
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return fmt.Errorf("building the scheme: %w", err)
		}
	}
	live, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("making the client: %w", err)
	}
	mark, err := installation.Ensure(ctx, live, namespace)
	if err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(config, o.manager(scheme, namespace))
	if err != nil {
		return fmt.Errorf("making the manager: %w", err)
	}
	if err := o.wire(ctx, mgr, mark); err != nil {
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

func (o *options) manager(scheme *runtime.Scheme, namespace string) ctrl.Options {
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
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              "modal-runner-controller",
		LeaderElectionNamespace:       namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &o.leaseDuration,
		RenewDeadline:                 &o.renewDeadline,
		RetryPeriod:                   &o.retryPeriod,
		Cache:                         cache.Options{DefaultNamespaces: watched},
		// A reconcile must see what the one before it wrote: without it a stale Runner would be launched twice, which
		// its name prevents, but at the price of calls.
		Client: client.Options{Cache: &client.CacheOptions{EnableReadYourWritesConsistency: ptr.To(true)}},
	}
}

func (o *options) wire(ctx context.Context, mgr ctrl.Manager, mark string) error {
	var (
		now      = clock.RealClock{}
		secrets  = credentials.NewStore(mgr.GetAPIReader(), now, o.secretTTL)
		gh       = github.NewClients(secrets, now, o.githubPoints)
		recorder = &ingress.Recorder{Client: mgr.GetClient(), Live: mgr.GetAPIReader()}
		poller   = &ingress.Poller{Client: mgr.GetClient(), GitHub: gh, Recorder: recorder, Clock: now, Interval: o.pollInterval}
		events   = mgr.GetEventRecorder("modal-runner-controller")
	)
	sandboxes, err := modal.NewProviders(secrets, now)
	if err != nil {
		return err
	}
	if err := ingress.Index(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	prices := cost.Published()
	if o.pricesFile != "" {
		if prices, err = cost.Load(o.pricesFile); err != nil {
			return err
		}
	}
	ledger := cost.NewLedger(prices)
	outside := &observe.Outside{
		GitHub: gh, Sandboxes: sandboxes,
		Registrations: observe.NewLists[github.Runner](o.listInterval, now),
		SandboxLists:  observe.NewLists[sandbox.Listed](o.listInterval, now),
	}
	pools := &runnerpool.Reconciler{Client: mgr.GetClient(), Outside: outside, Clock: now, Events: events, Installation: mark, Secrets: secrets, Ledger: ledger, WebhookURL: o.webhookURL}
	poller.Doubt = pools.Doubt
	runners := &runner.Reconciler{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Outside: outside, Clock: now, Events: events, Secrets: secrets, Ledger: ledger, Explain: poller.Kick, Told: poller.Told}
	orphans := &orphan.Sweeper{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Outside: outside, Clock: now, Events: events, Installation: mark,
		Interval: o.sweepInterval, Grace: o.orphanGrace,
	}
	jobs := &workflowjob.Reconciler{Client: mgr.GetClient(), Clock: now, Events: events, GitHub: gh, Recorder: recorder, TTL: o.jobTTL}
	healer := &ingress.Healer{Client: mgr.GetClient(), GitHub: gh, Clock: now, WebhookURL: o.webhookURL, Interval: o.healInterval}
	if err := errors.Join(
		pools.SetupWithManager(mgr, o.poolWorkers),
		runners.SetupWithManager(ctx, mgr, o.runnerWorkers),
		jobs.SetupWithManager(mgr, o.jobWorkers),
		mgr.Add(outside.Registrations), mgr.Add(outside.SandboxLists), mgr.Add(poller), mgr.Add(healer), mgr.Add(orphans),
	); err != nil {
		return fmt.Errorf("setting up the controllers: %w", err)
	}
	return o.serve(ctx, mgr, recorder, secrets)
}

// serve webhooks and probes. The context ends when the manager is told to stop.
func (o *options) serve(ctx context.Context, mgr ctrl.Manager, recorder *ingress.Recorder, secrets *credentials.Store) error {
	ready := healthz.Ping
	if o.webhookAddress != "0" {
		webhook := &ingress.Webhook{
			Address: o.webhookAddress, SecretDir: o.webhookSecrets, Secrets: secrets, Recorder: recorder, Log: ctrl.Log.WithName("webhook"),
			Clock: clock.RealClock{}, Fresh: min(freshDelivery, o.jobTTL),
		}
		if err := mgr.Add(webhook); err != nil {
			return fmt.Errorf("setting up the webhook receiver: %w", err)
		}
		if len(o.namespaces) > 0 {
			webhook.Namespace = o.namespaces[0]
		}
		ready = webhook.Ready
	}
	return errors.Join(mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("webhook", unlessStopping(ctx, ready)))
}
