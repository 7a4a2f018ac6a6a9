package runnerpool

import (
	"context"
	"errors"
	"fmt"
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
	// retryOwnImage is how long after its refusal an image of the operator's own is tried again.
	retryOwnImage = 15 * time.Minute
)

// ensureImage has the image built that the pool's spec asks for, sets ImageReady, and says when to look again. An image
// that serves goes on serving while its successor is built.
func (r *Reconciler) ensureImage(ctx context.Context, pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner, gh *github.Client, modal sandbox.Provider) time.Time {
	const kind = v1alpha1.ConditionImageReady
	known := meta.FindStatusCondition(pool.Status.Conditions, kind)
	ready := known != nil && known.Status == metav1.ConditionTrue && known.ObservedGeneration == pool.Generation
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
			setCondition(pool, kind, false, reasonOf(kind, err), err.Error()+advice(pool, kind, reasonOf(kind, err))+meanwhile(pool))
		}
		return again
	}
	if have := pool.Status.Image; have != nil && have.Recipe == recipe.Digest() && have.Modal == pool.Spec.Modal {
		return earlier(again, r.keepImage(ctx, pool, runners, modal))
	}
	return earlier(again, r.buildImage(ctx, pool, recipe, modal))
}

// noteRefusal on the image whose runner version GitHub has refused: no sandbox is made from it. What is in an image of the
// operator's own is not known here, nor whether its exit code meant that: it is tried again after a while.
func (r *Reconciler) noteRefusal(pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner) {
	image, now := pool.Status.Image, r.Clock.Now()
	if image == nil {
		return
	}
	var latest *metav1.Time
	for i := range runners {
		failed := runners[i].Status.LastFailure
		if failed != nil && failed.Reason == v1alpha1.ReasonRunnerVersionRefused && failed.ImageID == image.ID && (latest == nil || latest.Before(&failed.Time)) {
			latest = failed.Time.DeepCopy()
		}
	}
	if latest != nil && (image.RefusedAt == nil || image.RefusedAt.Before(latest)) {
		image.RefusedAt = latest
	}
	if image.RefusedAt != nil && image.RunnerVersion == "" && !now.Before(image.RefusedAt.Add(retryOwnImage)) {
		image.RefusedAt = nil
	}
}

// keepImage that is as the spec asks for it, unless GitHub refuses what is in it or Modal has lost it.
func (r *Reconciler) keepImage(ctx context.Context, pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner, modal sandbox.Provider) time.Time {
	image := pool.Status.Image
	if image.RefusedAt != nil {
		setCondition(pool, v1alpha1.ConditionImageReady, false, v1alpha1.ReasonRunnerVersionRefused, refusedMessage(pool))
		if image.RunnerVersion == "" {
			return image.RefusedAt.Add(retryOwnImage)
		}
		return time.Time{}
	}
	if r.lostImage(ctx, pool, runners, modal) {
		r.images.lost(client.ObjectKeyFromObject(pool), image.ID)
		pool.Status.Image = nil
		setCondition(pool, v1alpha1.ConditionImageReady, false, v1alpha1.ReasonImageNotFound, "Modal has no image "+image.ID+" any more: "+lostAdvice(pool))
		return r.Clock.Now()
	}
	setCondition(pool, v1alpha1.ConditionImageReady, true, v1alpha1.ReasonReady, "the image is built")
	return time.Time{}
}

func lostAdvice(pool *v1alpha1.RunnerPool) string {
	if pool.Spec.Image.ID != "" {
		return "set another image.id"
	}
	return "it is built again"
}

func refusedMessage(pool *v1alpha1.RunnerPool) string {
	image := pool.Spec.Image
	switch {
	case image.Ref != "" || image.ID != "":
		return "GitHub refuses the version of the runner in the image: set another image.ref or image.id, of one with a newer runner"
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
	switch {
	case state.id != "":
		pool.Status.Image = &v1alpha1.ImageStatus{
			ID: state.id, Recipe: recipe.Digest(), RunnerVersion: recipe.RunnerVersion, Command: recipe.Command,
			Docker: recipe.Docker, Modal: pool.Spec.Modal, BuiltAt: metav1.NewTime(r.Clock.Now()),
		}
		setCondition(pool, kind, true, v1alpha1.ReasonReady, "the image is built")
	case successor(pool, recipe) && state.err != nil:
		setCondition(pool, kind, true, v1alpha1.ReasonReady, fmt.Sprintf("the image is built; its successor, with runner %s, cannot be: %s",
			recipe.RunnerVersion, tail(state.err.Error())))
	case successor(pool, recipe):
	case state.err != nil:
		setCondition(pool, kind, false, buildReason(recipe, state.err), tail(state.err.Error())+meanwhile(pool))
	default:
		setCondition(pool, kind, false, v1alpha1.ReasonBuilding, "the image is being built, from "+recipe.Base+meanwhile(pool))
	}
	if !state.running && state.id == "" {
		return state.retryAt
	}
	return time.Time{}
}

// meanwhile says that the image before serves, where it does.
func meanwhile(pool *v1alpha1.RunnerPool) string {
	if pool.Status.Image.Serves(&pool.Spec.RunnerTemplate) {
		return "; until then the image before serves"
	}
	return ""
}

// buildReason of an error. What a build does not find is a reference of its recipe, unless the recipe is an image's ID.
func buildReason(recipe sandbox.Recipe, err error) string {
	switch {
	case fault.Is(err, fault.Invalid):
		return v1alpha1.ReasonBuildFailed
	case fault.Is(err, fault.NotFound) && recipe.ID == "":
		return v1alpha1.ReasonReferenceNotFound
	}
	return reasonOf(v1alpha1.ConditionImageReady, err)
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
