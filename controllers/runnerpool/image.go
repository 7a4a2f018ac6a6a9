package runnerpool

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
)

const (
	// refreshRelease is how often GitHub is asked for the latest runner version, and refreshRefused when it refuses the one
	// that it named last.
	refreshRelease = time.Hour
	refreshRefused = 5 * time.Minute
	// askingWait is how soon to look again for an answer that another pool of the scope has asked for.
	askingWait = 2 * time.Second
)

// ensureImage has the image built that the pool's spec asks for, sets ImageReady, and says when to look again. An image
// that serves goes on serving while its successor is built.
func (r *Reconciler) ensureImage(ctx context.Context, pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner, gh *github.Client, modal sandbox.Provider) time.Time {
	const kind = v1alpha1.ConditionImageReady
	ready := meta.IsStatusConditionTrue(pool.Status.Conditions, kind)
	for _, needed := range []string{v1alpha1.ConditionGitHubReady, v1alpha1.ConditionModalReady} {
		if !meta.IsStatusConditionTrue(pool.Status.Conditions, needed) {
			if !ready {
				setCondition(pool, kind, false, v1alpha1.ReasonWaiting, "waiting for "+needed)
			}
			return time.Time{}
		}
	}
	r.noteRefusal(pool, runners)
	recipe, again, err := r.recipe(ctx, pool, gh)
	switch {
	case errors.Is(err, errAsking):
		if !ready {
			setCondition(pool, kind, false, v1alpha1.ReasonChecking, "asking GitHub for the latest runner version")
		}
		return r.Clock.Now().Add(askingWait)
	case err != nil:
		if !ready {
			setError(pool, kind, err)
		}
		return again
	}
	if have := pool.Status.Image; have != nil && have.Recipe == recipe.Digest() && have.Modal == pool.Spec.Modal {
		return earlier(again, r.keepImage(ctx, pool, runners, modal))
	}
	return earlier(again, r.buildImage(ctx, pool, recipe, modal))
}

// noteRefusal on the image whose runner version GitHub has refused: no sandbox is made from it any more.
func (r *Reconciler) noteRefusal(pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner) {
	image := pool.Status.Image
	if image == nil || image.RefusedAt != nil {
		return
	}
	for i := range runners {
		failed := runners[i].Status.LastFailure
		if failed != nil && failed.Reason == v1alpha1.ReasonRunnerVersionRefused && failed.ImageID == image.ID {
			image.RefusedAt = failed.Time.DeepCopy()
			return
		}
	}
}

// keepImage that is as the spec asks for it, unless GitHub refuses what is in it or Modal has lost it.
func (r *Reconciler) keepImage(ctx context.Context, pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner, modal sandbox.Provider) time.Time {
	image := pool.Status.Image
	if image.RefusedAt != nil {
		setCondition(pool, v1alpha1.ConditionImageReady, false, v1alpha1.ReasonRunnerVersionRefused, refusedMessage(pool))
		return time.Time{}
	}
	if r.lostImage(ctx, pool, runners, modal) {
		r.images.forget(client.ObjectKeyFromObject(pool))
		pool.Status.Image = nil
		setCondition(pool, v1alpha1.ConditionImageReady, false, v1alpha1.ReasonImageNotFound, "Modal has no image "+image.ID+" any more")
		return r.Clock.Now()
	}
	setCondition(pool, v1alpha1.ConditionImageReady, true, v1alpha1.ReasonReady, "the image is built")
	return time.Time{}
}

func refusedMessage(pool *v1alpha1.RunnerPool) string {
	image := pool.Spec.Image
	switch {
	case image.Ref != "" || image.ID != "":
		return "GitHub refuses the version of the runner in the image: put a newer one into it"
	case image.RunnerVersion == v1alpha1.RunnerVersionLatest:
		return "GitHub refuses runner version " + pool.Status.Image.RunnerVersion + ", which it names as the latest: it is asked for a newer one"
	default:
		return "GitHub refuses runner version " + image.RunnerVersion + ": set image.runnerVersion to latest, or to a newer version"
	}
}

// lostImage asks Modal whether it still has the image, when Runners have been refused since that was last known.
func (r *Reconciler) lostImage(ctx context.Context, pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner, modal sandbox.Provider) (gone bool) {
	const kind = "image"
	key, id := client.ObjectKeyFromObject(pool), pool.Status.Image.ID
	last := r.checks.get(key, kind)
	if last.of != id {
		last = check{of: id, at: pool.Status.Image.BuiltAt.Time}
	}
	if fault.Is(last.err, fault.NotFound) {
		r.checks.set(key, kind, check{})
		return true
	}
	if due := r.due(last, runners); !last.running && due {
		last.running = true
		r.checks.set(key, kind, last)
		go r.runCheck(context.WithoutCancel(ctx), key, kind, last, func(ctx context.Context) (any, error) { return nil, modal.CheckImage(ctx, id) })
	}
	return false
}

// due says that Runners have been refused since a check was made, at least a moment ago.
func (r *Reconciler) due(last check, runners []v1alpha1.Runner) bool {
	return doubted(runners, last.at) && !r.Clock.Now().Before(last.at.Add(time.Second))
}

// buildImage that the spec asks for.
func (r *Reconciler) buildImage(ctx context.Context, pool *v1alpha1.RunnerPool, recipe sandbox.Recipe, modal sandbox.Provider) time.Time {
	const kind = v1alpha1.ConditionImageReady
	state := r.images.ensure(ctx, client.ObjectKeyFromObject(pool), recipe, modal)
	meanwhile := ""
	if pool.Status.Image.Serves(&pool.Spec.RunnerTemplate) {
		meanwhile = "; until then the image before serves"
	}
	switch {
	case state.id != "":
		pool.Status.Image = &v1alpha1.ImageStatus{
			ID: state.id, Recipe: recipe.Digest(), RunnerVersion: recipe.RunnerVersion, Command: sandbox.RunnerCommand(pool.Spec.Image),
			Docker: pool.Spec.Sandbox.Docker, Modal: pool.Spec.Modal, BuiltAt: metav1.NewTime(r.Clock.Now()),
		}
		setCondition(pool, kind, true, v1alpha1.ReasonReady, "the image is built")
	case successor(pool, recipe):
	case state.err != nil:
		reason := reasonOf(kind, state.err)
		if fault.Is(state.err, fault.Invalid) {
			reason = v1alpha1.ReasonBuildFailed
		}
		setCondition(pool, kind, false, reason, tail(state.err.Error())+meanwhile)
	default:
		setCondition(pool, kind, false, v1alpha1.ReasonBuilding, "the image is being built, from "+recipe.Base+meanwhile)
	}
	if !state.running && state.id == "" {
		return state.retryAt
	}
	return time.Time{}
}

// successor says that the recipe differs from the image that serves in nothing that the operator asked for.
func successor(pool *v1alpha1.RunnerPool, recipe sandbox.Recipe) bool {
	c := meta.FindStatusCondition(pool.Status.Conditions, v1alpha1.ConditionImageReady)
	return pool.Status.Image.Serves(&pool.Spec.RunnerTemplate) && c != nil && c.Status == metav1.ConditionTrue &&
		c.ObservedGeneration == pool.Generation && pool.Status.Image.RunnerVersion != recipe.RunnerVersion
}

// maxMessage bounds a condition's message, which the API server refuses beyond 32,768 characters.
const maxMessage = 4096

// tail of a build's log: what it said last.
func tail(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return "... " + message[len(message)-maxMessage:]
}

// recipe for the pool's image, and when the runner version in it has to be looked up again.
func (r *Reconciler) recipe(ctx context.Context, pool *v1alpha1.RunnerPool, gh *github.Client) (recipe sandbox.Recipe, again time.Time, err error) {
	image, template := pool.Spec.Image, &pool.Spec.RunnerTemplate
	switch {
	case image.Ref != "" || image.ID != "":
		recipe = sandbox.OwnRecipe(template)
	case image.RunnerVersion != v1alpha1.RunnerVersionLatest:
		recipe = sandbox.RecipeFor(template, github.PinnedRelease(image.RunnerVersion, image.RunnerSHA256))
	default:
		latest := r.images.latest(ctx, pool, github.ScopeOf(pool.Spec.GitHub.URL, pool.Spec.Scope), gh)
		switch {
		case latest.Version != "":
			recipe, again = sandbox.RecipeFor(template, latest.RunnerRelease), latest.due()
		case latest.asking:
			return recipe, again, errAsking
		default:
			return recipe, latest.due(), latest.err
		}
	}
	recipe.Registry, err = r.registry(ctx, pool.Namespace, image)
	if err != nil {
		again = earlier(again, r.Clock.Now().Add(fault.RetryAfter(err, r.Clock.Now(), recheckBad)))
	}
	return recipe, again, err
}
