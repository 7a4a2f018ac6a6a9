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
	if !managed(pool) {
		if gone, err := r.removeWebhook(ctx, pool); !gone {
			return r.Clock.Now().Add(fault.RetryAfter(err, r.Clock.Now(), recheckBad))
		}
		meta.RemoveStatusCondition(&pool.Status.Conditions, v1alpha1.ConditionWebhookReady)
		return time.Time{}
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
	scope := github.ScopeOf(pool.Spec.GitHub.URL, pool.Spec.Scope)
	of := hookAccess{gh, url, sha256.Sum256([]byte(secret.Reveal()))}
	last := r.checks.get(client.ObjectKeyFromObject(pool), v1alpha1.ConditionWebhookReady)
	wish := github.HookWish{URL: url, Secret: secret, SecretSet: last.of == of && last.found != nil}
	if pool.Status.Webhook != nil {
		wish.ID = pool.Status.Webhook.ID
	}
	again := r.checkOne(ctx, pool, runners, checking{
		kind: v1alpha1.ConditionWebhookReady, of: of, err: err, well: "GitHub delivers to " + url,
		access: func(ctx context.Context) (any, error) { return gh.EnsureHook(ctx, scope, wish) },
	})
	if id, ok := r.checks.get(client.ObjectKeyFromObject(pool), v1alpha1.ConditionWebhookReady).found.(int64); ok {
		pool.Status.Webhook = &v1alpha1.WebhookStatus{ID: id, URL: url}
	}
	return again
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

// removeWebhook that the pool has made, and say whether it is gone.
func (r *Reconciler) removeWebhook(ctx context.Context, pool *v1alpha1.RunnerPool) (bool, error) {
	last := r.checks.get(client.ObjectKeyFromObject(pool), v1alpha1.ConditionWebhookReady)
	if last.running {
		// It may be about to be made: its end wakes the pool.
		return false, nil
	}
	if id, ok := last.found.(int64); ok && pool.Status.Webhook == nil {
		pool.Status.Webhook = &v1alpha1.WebhookStatus{ID: id}
	}
	made := pool.Status.Webhook
	if made == nil {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(credentials.WithLast(ctx), removeHookTimeout)
	defer cancel()
	place := observe.PlaceOf(pool.Namespace, pool.Spec.Scope, &pool.Spec.RunnerTemplate)
	gh, err := r.GitHubAt(ctx, place)
	if err == nil {
		err = fault.IgnoreNotFound(gh.DeleteHook(ctx, place.Scope, made.ID))
	}
	if err != nil {
		return false, err
	}
	pool.Status.Webhook = nil
	r.checks.set(client.ObjectKeyFromObject(pool), v1alpha1.ConditionWebhookReady, check{})
	return true, nil
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
		r.Events.Eventf(pool, nil, corev1.EventTypeWarning, "WebhookLeft", "Delete", "webhook %d is left at GitHub, remove it there: %s", made.ID, err)
		return true
	}
	setCondition(pool, v1alpha1.ConditionReady, false, v1alpha1.ReasonDeleting, "waiting for the webhook to be removed: "+err.Error())
	return false
}
