package ingress

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
	"github.com/modalrunner/modal-runner-controller/internal/shard"
)

const (
	// healPages bounds one look at a webhook's deliveries, a hundred a page.
	healPages = 20
	// firstHeal is how soon after the start the first pass is made: what was missed while nobody listened.
	firstHeal = 5 * time.Second
)

// Healer finds deliveries that failed and asks GitHub for them again, which GitHub does not do by itself. It looks at the
// webhooks that lead to this controller and at no others. It implements manager.Runnable and needs the leader's lease.
type Healer struct {
	client.Client
	GitHub *github.Clients
	Clock  clock.WithTicker
	// WebhookURL at which GitHub reaches the webhook receiver, without its path; when it is empty only the webhooks that
	// pools manage are known to lead here.
	WebhookURL string
	// Interval between two passes.
	Interval time.Duration
	// Shard of the pools whose deliveries are looked at.
	Shard *shard.Shard

	mu sync.Mutex
	// known of the sources.
	known map[github.Source]*healing
}

// Start heals until the context ends.
func (h *Healer) Start(ctx context.Context) error {
	timer := h.Clock.NewTimer(firstHeal)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C():
			timer.Reset(h.Heal(ctx))
		}
	}
}

// Heal what failed since the pass before, and say when to make the next. Queues are looked at side by side, so that a server
// that hangs holds up its own.
func (h *Healer) Heal(ctx context.Context) time.Duration {
	var pools v1alpha1.RunnerPoolList
	if err := h.List(ctx, &pools, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "could not list pools to heal the deliveries of")
		return h.Interval
	}
	queues := map[queue][]v1alpha1.RunnerPool{}
	for _, pool := range pools.Items {
		if pool.DeletionTimestamp.IsZero() && h.Shard.Holds(&pool) {
			queues[queueOf(&pool)] = append(queues[queueOf(&pool)], pool)
		}
	}
	var once sync.Map // sources, of which several queues may share one
	var passes sync.WaitGroup
	var mu sync.Mutex
	next := h.Interval
	for q, pools := range queues {
		passes.Go(func() {
			gh, err := h.GitHub.For(ctx, q.namespace, v1alpha1.GitHub{URL: q.scope.Server, SecretName: q.secret}, q.scope)
			if err != nil {
				return
			}
			for _, source := range h.sources(ctx, gh, q, pools) {
				if _, begun := once.LoadOrStore(source, true); begun {
					continue
				}
				if err := h.heal(ctx, gh, source); err != nil {
					// The budget gives back in less than a minute what a pass has used up.
					mu.Lock()
					next = min(next, max(time.Second, fault.RetryAfter(err, h.Clock.Now(), h.Interval)))
					mu.Unlock()
					log.FromContext(ctx).V(1).Info("could not heal deliveries", "of", source.String(), "error", err.Error())
				}
			}
		})
	}
	passes.Wait()
	h.prune()
	return next
}

// sources of a queue that lead to this controller.
func (h *Healer) sources(ctx context.Context, gh *github.Client, q queue, pools []v1alpha1.RunnerPool) []github.Source {
	var found []github.Source
	if app, url, err := gh.AppHook(ctx); err == nil && h.leadsHere(url) {
		found = append(found, github.Source{Scope: github.Scope{Server: q.scope.Server}, App: app})
	}
	if q.scope.Enterprise != "" {
		// GitHub gives no access to an enterprise's webhooks.
		return found
	}
	for _, pool := range pools {
		if has := pool.Status.Webhook; has != nil && has.ID != 0 && has.Server == q.scope.Server {
			found = append(found, github.Source{Scope: q.scope, Hook: has.ID})
		}
	}
	if h.WebhookURL == "" {
		return found
	}
	hooks, err := gh.Hooks(ctx, q.scope)
	if err != nil {
		// Credentials that serve jobs need no permission for webhooks: then those made by hand are not healed.
		log.FromContext(ctx).V(1).Info("could not look for webhooks to heal", "of", q.scope.String(), "error", err.Error())
	}
	for _, hook := range hooks {
		source := github.Source{Scope: q.scope, Hook: hook.ID}
		if h.leadsHere(hook.URL) && !slices.Contains(found, source) {
			found = append(found, source)
		}
	}
	return found
}

func (h *Healer) leadsHere(url string) bool {
	here := h.WebhookURL + Path
	return h.WebhookURL != "" && (url == here || strings.HasPrefix(url, here+"/"))
}

// of gives what is known of a source. One source is healed by one pass at a time.
func (h *Healer) of(source github.Source) *healing {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known == nil {
		h.known = map[github.Source]*healing{}
	}
	if h.known[source] == nil {
		h.known[source] = &healing{}
	}
	return h.known[source]
}

// prune sources that were not looked at for so long that the next look would go back all the way anyway.
func (h *Healer) prune() {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.known, func(_ github.Source, of *healing) bool { return h.Clock.Since(of.seenTo) > healBack })
}

// heal one source: ask again for each delivery that never went well and is due, the oldest first.
func (h *Healer) heal(ctx context.Context, gh *github.Client, source github.Source) error {
	begun, known := h.Clock.Now(), h.of(source)
	left := known.left
	known.left = nil
	err := h.look(ctx, gh, source, known, known.fresh(begun))
	if err == nil {
		known.seenTo = begun
	}
	for len(left) > 0 && err == nil {
		err = h.look(ctx, gh, source, known, left[0])
		if err == nil || fault.Is(err, fault.NotFound, fault.Invalid) {
			// What GitHub has no place for any more is given up; after other errors it is looked at again.
			left = left[1:]
		}
	}
	known.left = append(known.left, left...)
	if err != nil {
		return err
	}
	for _, guid := range known.due(begun) {
		f := known.failing[guid]
		err := gh.Redeliver(ctx, source, f.attempt)
		if fault.Is(err, fault.NotFound, fault.Invalid) {
			// Too old by now.
			f.giveUp()
			continue
		}
		if err != nil {
			return err
		}
		f.askedAt(begun, h.Interval)
		metrics.WebhookRedelivered()
		log.FromContext(ctx).Info("asked for a failed delivery again", "of", source.String(), "delivery", guid, "time", f.asked)
	}
	return nil
}

// look at a part of a source's deliveries. What is too long for one look is left for the next pass.
func (h *Healer) look(ctx context.Context, gh *github.Client, source github.Source, known *healing, at part) error {
	deliveries, cursor, err := gh.Deliveries(ctx, source, at.since, at.cursor, healPages)
	if err != nil {
		return err
	}
	known.note(deliveries, h.Clock.Now())
	if cursor != "" {
		known.left = append(known.left, part{cursor, at.since})
		log.FromContext(ctx).Info("there are more deliveries than a pass looks at: the next one goes on", "of", source.String(), "since", at.since)
	}
	return nil
}
