package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/controllers/orphan"
	"github.com/modalrunner/modal-runner-controller/controllers/runner"
	"github.com/modalrunner/modal-runner-controller/controllers/runnerpool"
	"github.com/modalrunner/modal-runner-controller/controllers/workflowjob"
	"github.com/modalrunner/modal-runner-controller/internal/cost"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/ingress"
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
	"github.com/modalrunner/modal-runner-controller/internal/observe"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox/modal"
	"github.com/modalrunner/modal-runner-controller/internal/shard"
)

// freshDelivery is the age up to which a job's delivery is taken at its word.
const freshDelivery = 10 * time.Minute

func (o *options) wire(ctx context.Context, mgr ctrl.Manager, mark string, held *shard.Shard, namespace string) error {
	var (
		now      = clock.RealClock{}
		secrets  = credentials.NewStore(mgr.GetAPIReader(), now, o.secretTTL)
		gh       = github.NewClients(secrets, now, o.githubPoints)
		recorder = &ingress.Recorder{Client: mgr.GetClient(), Live: mgr.GetAPIReader()}
		poller   = &ingress.Poller{Client: mgr.GetClient(), GitHub: gh, Recorder: recorder, Clock: now, Interval: o.pollInterval, Shard: held}
		holders  = &shard.Holders{Live: mgr.GetAPIReader(), Clock: now, Namespace: namespace, Lasts: o.leaseDuration}
		events   = mgr.GetEventRecorder("modal-runner-controller")
	)
	sandboxes, err := modal.NewProviders(secrets, now)
	if err != nil {
		return err
	}
	live, err := client.New(mgr.GetConfig(), client.Options{HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return fmt.Errorf("making the client without a cache: %w", err)
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
	pools := &runnerpool.Reconciler{Client: mgr.GetClient(), Live: live, Outside: outside, Clock: now, Events: events, Installation: mark, Secrets: secrets, Ledger: ledger, WebhookURL: o.webhookURL, Shard: held, Holders: holders}
	poller.Doubt = pools.Doubt
	runners := &runner.Reconciler{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Outside: outside, Clock: now, Events: events, Secrets: secrets, Ledger: ledger, Explain: poller.Kick, Told: poller.Told, Shard: held}
	orphans := &orphan.Sweeper{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Outside: outside, Clock: now, Events: events, Installation: mark,
		Interval: o.sweepInterval, Grace: o.orphanGrace, Shard: held,
	}
	jobs := &workflowjob.Reconciler{Client: mgr.GetClient(), Live: live, Clock: now, Events: events, GitHub: gh, Recorder: recorder, TTL: o.jobTTL, Shard: held}
	healer := &ingress.Healer{Client: mgr.GetClient(), GitHub: gh, Clock: now, WebhookURL: o.webhookURL, Interval: o.healInterval, Shard: held}
	if err := errors.Join(
		pools.SetupWithManager(mgr, o.poolWorkers),
		runners.SetupWithManager(ctx, mgr, o.runnerWorkers),
		jobs.SetupWithManager(mgr, o.jobWorkers),
		mgr.Add(outside.Registrations), mgr.Add(outside.SandboxLists), mgr.Add(poller), mgr.Add(healer), mgr.Add(orphans),
	); err != nil {
		return fmt.Errorf("setting up the controllers: %w", err)
	}
	if err := o.measure(mgr, held, outside, poller, ledger); err != nil {
		return fmt.Errorf("setting up the metrics: %w", err)
	}
	return errors.Join(o.serve(ctx, mgr, recorder, secrets), o.show(ctx, mgr))
}

// measure what is stored, and whether this replica acts.
func (o *options) measure(mgr ctrl.Manager, held *shard.Shard, outside *observe.Outside, poller *ingress.Poller, ledger *cost.Ledger) error {
	objects := &metrics.Objects{
		Reader: mgr.GetClient(), Clock: clock.RealClock{}, Acts: mgr.Elected(), Serves: held.Holds, Polls: poller.Polled,
		Spending: func(pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner, now time.Time) metrics.Spending {
			_, spending := ledger.Usage(pool, runners, now)
			return metrics.Spending{Amount: spending.Amount, PerSecond: spending.PerSecond, Currency: ledger.Prices().Currency}
		},
		Lists: map[string]func() map[string]time.Time{"registrations": outside.Registrations.Listed, "sandboxes": outside.SandboxLists.Listed},
	}
	metrics.SetLeader(o.shard, false)
	return errors.Join(objects.Register(), mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		metrics.SetLeader(o.shard, true)
		<-ctx.Done()
		metrics.SetLeader(o.shard, false)
		return nil
	})))
}

// serve webhooks and probes. The context ends when the manager is told to stop.
func (o *options) serve(ctx context.Context, mgr ctrl.Manager, recorder *ingress.Recorder, secrets *credentials.Store) error {
	ready := healthz.Ping
	if o.webhookAddress != "0" {
		// The indexes have Runners and WorkflowJobs in the cache of every replica. Without this, a replica that does not lead
		// would read the pools at its first delivery only, and be ready without knowing whether it can.
		pools, err := mgr.GetCache().GetInformer(ctx, &v1alpha1.RunnerPool{}, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("caching RunnerPools: %w", err)
		}
		if _, err := pools.AddEventHandler(metrics.PoolsGone{}); err != nil {
			return fmt.Errorf("watching for RunnerPools that go: %w", err)
		}
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
