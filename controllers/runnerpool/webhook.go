package runnerpool

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/ingress"
	"github.com/modalrunner/modal-runner-controller/internal/observe"
)

const (
	// removeHookTimeout bounds one try to remove a webhook.
	removeHookTimeout = 10 * time.Second
	// leaveHookAfter is how long a pool that is being deleted waits for its webhook to be removed.
	leaveHookAfter = 10 * time.Minute
	// rereadSecret is how often the Secret of a managed webhook is read: a new one is set at GitHub then, since deliveries
	// with the one before may soon not be accepted any more. It costs no call to GitHub.
	rereadSecret = 15 * time.Second
)

// hookAccess is what the check of a webhook is about. The secret is compared by its digest, which is kept in memory alone.
type hookAccess struct {
	client *github.Client
	url    string
	secret [sha256.Size]byte
}

func managed(pool *v1alpha1.RunnerPool) bool {
	return pool.Spec.Webhook != nil && pool.Spec.Webhook.Manage
}

// ensureWebhook sees that the webhook which the pool manages is there and as it should be, and says when to look again. One
// that is not to be managed any more is removed.
func (r *Reconciler) ensureWebhook(ctx context.Context, pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner, gh *github.Client, err error) time.Time {
	now := r.Clock.Now()
	if !managed(pool) {
		gone, err := r.removeWebhook(ctx, pool)
		switch {
		case gone:
			meta.RemoveStatusCondition(&pool.Status.Conditions, v1alpha1.ConditionWebhookReady)
			return time.Time{}
		case err != nil:
			setCondition(pool, v1alpha1.ConditionWebhookReady, false, reasons[fault.ClassOf(err)], "it is not managed any more, and not removed yet: "+err.Error())
		}
		return now.Add(fault.RetryAfter(err, now, recheckBad))
	}
	url := r.hookURL(pool)
	if url == "" {
		setCondition(pool, v1alpha1.ConditionWebhookReady, false, v1alpha1.ReasonURLUnknown,
			"the manager does not know the address at which GitHub reaches it: set its flag --webhook-url, or spec.webhook.url")
		return time.Time{}
	}
	secret, secretErr := r.hookSecret(ctx, pool)
	if err == nil {
		err = secretErr
	}
	key, scope := client.ObjectKeyFromObject(pool), github.ScopeOf(pool.Spec.GitHub.URL, pool.Spec.Scope)
	of := hookAccess{gh, url, sha256.Sum256([]byte(secret.Reveal()))}
	last := r.checks.get(key, v1alpha1.ConditionWebhookReady)
	known, _ := last.found.(github.EnsuredHook)
	wish := github.HookWish{URL: url, Secret: secret, SecretSet: last.of == of && known.ID != 0}
	if made := r.madeAt(pool, scope.Server); made != nil && made.ID != 0 {
		wish.ID = made.ID
	} else if made != nil {
		wish.Intended = made.URL
	}
	again := r.checkOne(ctx, pool, runners, checking{
		kind: v1alpha1.ConditionWebhookReady, of: of, err: err, well: "GitHub delivers to " + url,
		access: func(ctx context.Context) (any, error) { return gh.EnsureHook(ctx, scope, wish) },
	})
	found, ok := r.checks.get(key, v1alpha1.ConditionWebhookReady).found.(github.EnsuredHook)
	if !ok {
		return earlier(again, now.Add(rereadSecret))
	}
	// What another pool has left to this one is its own from then on.
	adopted := found.Adopted && found.ID != wish.ID
	pool.Status.Webhook = &v1alpha1.WebhookStatus{ID: found.ID, URL: url, Server: scope.Server, Adopted: adopted}
	if found.ID == 0 {
		if meta.IsStatusConditionTrue(pool.Status.Conditions, v1alpha1.ConditionWebhookReady) {
			setCondition(pool, v1alpha1.ConditionWebhookReady, false, v1alpha1.ReasonChecking, "being created")
		}
		if wish.Intended != url {
			// It is created once the status that says so is stored: then one that was made is never taken for another's.
			r.checks.doubt(key, v1alpha1.ConditionWebhookReady)
			return now
		}
	}
	return earlier(again, now.Add(rereadSecret))
}

// madeAt gives the webhook that the pool has made at a server, or was about to make; nil when there is none. One that it made
// at another server is out of reach, and its ID may be another's here.
func (r *Reconciler) madeAt(pool *v1alpha1.RunnerPool, server string) *v1alpha1.WebhookStatus {
	made := pool.Status.Webhook
	switch {
	case made == nil || made.Adopted:
		return nil
	case made.Server != server:
		r.Events.Eventf(pool, nil, corev1.EventTypeWarning, v1alpha1.EventWebhookLeft, "Check", "the webhook that delivers to %s is left at %s, remove it there", made.URL, made.Server)
		pool.Status.Webhook = nil
		return nil
	}
	return made
}

// hookURL that GitHub delivers to, empty when it is not known.
func (r *Reconciler) hookURL(pool *v1alpha1.RunnerPool) string {
	switch {
	case pool.Spec.Webhook.URL != "":
		return pool.Spec.Webhook.URL
	case r.WebhookURL != "":
		return fmt.Sprintf("%s%s/%s/%s", r.WebhookURL, ingress.Path, pool.Namespace, pool.Name)
	}
	return ""
}

func (r *Reconciler) hookSecret(ctx context.Context, pool *v1alpha1.RunnerPool) (credentials.Redacted, error) {
	name := pool.Spec.Webhook.SecretName
	data, err := r.Secrets.Get(ctx, pool.Namespace, name)
	if err != nil {
		return "", err
	}
	if data[ingress.KeyWebhookSecret] == "" {
		return "", &fault.Error{
			Op: fmt.Sprintf("reading Secret %s/%s", pool.Namespace, name), Class: fault.SecretInvalid,
			Message: "it has no " + ingress.KeyWebhookSecret + ": add one, for example from openssl rand -hex 32",
		}
	}
	return data[ingress.KeyWebhookSecret], nil
}

// removeWebhook that the pool has made, and say whether it is gone. One that the pool has found is left.
func (r *Reconciler) removeWebhook(ctx context.Context, pool *v1alpha1.RunnerPool) (bool, error) {
	key, place := client.ObjectKeyFromObject(pool), observe.PlaceOf(pool.Namespace, pool.Spec.Scope, &pool.Spec.RunnerTemplate)
	last := r.checks.get(key, v1alpha1.ConditionWebhookReady)
	if last.running {
		// It may be about to be made: its end wakes the pool.
		return false, nil
	}
	made := r.madeAt(pool, place.Scope.Server)
	if found, ok := last.found.(github.EnsuredHook); ok && !found.Adopted && made != nil && made.ID == 0 {
		made.ID = found.ID
	}
	if made != nil {
		if err := r.deleteHook(ctx, pool, place, made); err != nil {
			return false, err
		}
	}
	pool.Status.Webhook = nil
	r.checks.set(key, v1alpha1.ConditionWebhookReady, check{})
	return true, nil
}

// deleteHook that the pool has made, unless another pool has it too: then it is that pool's from now on.
func (r *Reconciler) deleteHook(ctx context.Context, pool *v1alpha1.RunnerPool, place observe.Place, made *v1alpha1.WebhookStatus) error {
	ctx, cancel := context.WithTimeout(credentials.WithLast(ctx), removeHookTimeout)
	defer cancel()
	gh, err := r.GitHubAt(ctx, place)
	if err == nil && made.ID == 0 {
		// The answer to its creation was lost.
		made.ID, err = gh.FindHook(ctx, place.Scope, made.URL)
	}
	if err != nil {
		return fault.IgnoreNotFound(err)
	}
	var pools v1alpha1.RunnerPoolList
	if err := r.List(ctx, &pools); err != nil {
		return fmt.Errorf("looking for who else has the webhook: %w", err)
	}
	for i := range pools.Items {
		heir := &pools.Items[i]
		has := heir.Status.Webhook
		if client.ObjectKeyFromObject(heir) == client.ObjectKeyFromObject(pool) || !heir.DeletionTimestamp.IsZero() || has == nil || has.ID != made.ID || has.Server != made.Server {
			continue
		}
		stored := heir.DeepCopy()
		has.Adopted = false
		return r.Status().Patch(ctx, heir, client.MergeFrom(stored))
	}
	return fault.IgnoreNotFound(gh.DeleteHook(ctx, place.Scope, made.ID))
}

// endWebhook of a pool that is being deleted, and say whether the pool may go: also when its webhook cannot be removed, after
// a while or by force.
func (r *Reconciler) endWebhook(ctx context.Context, pool *v1alpha1.RunnerPool) bool {
	gone, err := r.removeWebhook(ctx, pool)
	if gone || err == nil {
		return gone
	}
	made, late := pool.Status.Webhook, r.Clock.Since(pool.DeletionTimestamp.Time) > leaveHookAfter && !fault.Is(err, fault.Held)
	if fault.Is(err, fault.SecretMissing, fault.SecretInvalid) || late || pool.Annotations[v1alpha1.ForceDelete] == "true" {
		r.Events.Eventf(pool, nil, corev1.EventTypeWarning, v1alpha1.EventWebhookLeft, "Delete", "the webhook that delivers to %s is left at GitHub, remove it there: %s", made.URL, err)
		return true
	}
	setCondition(pool, v1alpha1.ConditionReady, false, v1alpha1.ReasonDeleting, "waiting for the webhook to be removed: "+err.Error())
	return false
}
