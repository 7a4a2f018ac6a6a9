package main

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/ingress"
	"github.com/modalrunner/modal-runner-controller/internal/shard"
	"github.com/modalrunner/modal-runner-controller/internal/tracing"
	"github.com/modalrunner/modal-runner-controller/internal/ui"
)

// options of the manager, by flag.
type options struct {
	metricsAddress string
	metricsSecure  bool
	probeAddress   string
	pprofAddress   string
	uiAddress      string
	webhookAddress string
	webhookOnly    bool
	webhookSecrets string
	ping           string
	applyPools     string
	drainPools     bool
	release        string
	webhookURL     string
	healInterval   time.Duration
	githubPoints   int
	drain          time.Duration
	jobWorkers     int
	leaderElect    bool
	shard          string
	poolSelector   string
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
	traces         tracing.Options
	log            zap.Options
	version        bool
}

// namespaces is a flag that may be given several times.
type namespaces []string

func (n *namespaces) String() string     { return strings.Join(*n, ",") }
func (n *namespaces) Set(v string) error { *n = append(*n, v); return nil }

func (o *options) bind(flags *flag.FlagSet) {
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", "0", "Address of the metrics endpoint, for example :8443; 0 turns it off.")
	flags.BoolVar(&o.metricsSecure, "metrics-secure", true, "Serve metrics over HTTPS, to those whom the API server allows to get /metrics.")
	flags.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "Address of /healthz and /readyz; 0 turns them off.")
	flags.StringVar(&o.pprofAddress, "pprof-bind-address", "0", "Address of Go's profiles at /debug/pprof/, for example 127.0.0.1:6060; 0 turns them off. Whoever reaches it can read them.")
	flags.StringVar(&o.uiAddress, "ui-bind-address", "0", "Address of the status page, at "+ui.Path+", for example 127.0.0.1:8082, which a port-forward alone reaches; 0 turns it off. It needs no login and changes nothing.")
	flags.StringVar(&o.webhookAddress, "webhook-bind-address", ":8080", "Address on which GitHub's webhooks are received, at "+ingress.Path+"; 0 turns it off.")
	flags.BoolVar(&o.webhookOnly, "webhook-only", false, "Receive webhooks and do nothing else, beside managers with --webhook-bind-address=0. It needs fewer rights, and no leader.")
	flags.StringVar(&o.webhookSecrets, "webhook-secret-dir", "/etc/modal-runner-controller/webhook", "Folder whose files each hold a secret that webhooks may be signed with.")
	flags.StringVar(&o.ping, "ping", "", "Send a signed ping to the webhook receiver at this address, as GitHub does, print its answer and end: 0 when it is well.")
	flags.StringVar(&o.applyPools, "apply-pools", "", "Make the RunnerPools of --release be those in this file (items: each with metadata and spec), delete those that it had before, and end.")
	flags.BoolVar(&o.drainPools, "drain-pools", false, "Delete the RunnerPools of --release, wait until their sandboxes have ended, and end.")
	flags.StringVar(&o.release, "release", "", "Name of the chart's release, in the namespace POD_NAMESPACE, for --apply-pools and --drain-pools.")
	flags.StringVar(&o.webhookURL, "webhook-url", "", "Address at which GitHub reaches the webhook receiver, without "+ingress.Path+", for example https://runners.example.com. Pools that manage their webhook deliver there, and failed deliveries to it are asked for again.")
	flags.DurationVar(&o.healInterval, "webhook-heal-interval", 5*time.Minute, "How often failed webhook deliveries are looked for and asked for again.")
	flags.IntVar(&o.githubPoints, "github-points-per-minute", github.DefaultPointsPerMinute, "How many points of GitHub's secondary rate limit each credential may spend in a minute, 5 or more; 0 is no limit.")
	flags.DurationVar(&o.drain, "drain", 5*time.Second, "How long the manager goes on after it is told to stop, while /readyz says so, until webhooks are sent to it no more.")
	flags.StringVar(&o.traces.Endpoint, "otlp-endpoint", "", "Where traces of jobs are sent to by OTLP over gRPC, as host:port or a URL; none are made when not given. Headers and certificates are taken from the OTEL_EXPORTER_OTLP_* environment.")
	flags.BoolVar(&o.traces.Insecure, "otlp-insecure", false, "Send traces without TLS.")
	flags.Float64Var(&o.traces.Ratio, "trace-sample-ratio", 1, "Of how many of the jobs there are traces, from 0 to 1.")
	flags.BoolVar(&o.leaderElect, "leader-elect", false, "Let one replica of several act at a time. Every replica receives webhooks.")
	flags.StringVar(&o.shard, "shard", "", "Name of the shard that this manager and its replicas are, where several serve the pools of a cluster between them; its lease is "+shard.DefaultLease+"-NAME. All shards run in one namespace. Needs --leader-elect.")
	flags.StringVar(&o.poolSelector, "pool-selector", "", "Label selector of the RunnerPools that the shard serves, for example team=a or !team; all when not given.")
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
	flags.BoolVar(&o.version, "version", false, "Print the version, and nothing else.")
	o.log.BindFlags(flags)
}

// validate what the flags' types let through.
func (o *options) validate() error {
	if o.githubPoints != 0 && o.githubPoints < github.MinPointsPerMinute {
		return fmt.Errorf("--github-points-per-minute=%d is too little, since registering one runner takes %d: give that or more, or 0 for no limit",
			o.githubPoints, github.MinPointsPerMinute)
	}
	if o.shard != "" && !o.leaderElect {
		return fmt.Errorf("--shard=%s needs --leader-elect: by its lease the other shards know that it is there", o.shard)
	}
	if _, err := shard.New(o.shard, o.poolSelector); err != nil {
		return err
	}
	return errors.Join(o.validateReceiver(), o.validateTraces(), o.validateRelease(), o.validateElection())
}
