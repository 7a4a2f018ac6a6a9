// Package declared makes RunnerPools be what a release of the chart says. Helm cannot do that itself: it looks up the kinds of a
// release before it makes the first of its objects, so that no pool can come with the definition of its kind; and what it takes over
// from a hook later, it does not change.
package declared

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

const (
	// releaseLabel and namespaceLabel of a RunnerPool name the release that declares it.
	releaseLabel   = "modalrunner.dev/release"
	namespaceLabel = "modalrunner.dev/release-namespace"

	fieldOwner = "modal-runner-controller-release"
)

// Release of the chart, and the RunnerPools that it declares.
type Release struct {
	// Client without a cache.
	Client client.Client
	// Namespace and Name of the release.
	Namespace, Name string
	// Watched namespaces, where pools may be; all when empty.
	Watched []string
	Log     logr.Logger
	// Patience with what is soon otherwise: a kind that is not known yet, a pool of that name that is still ending.
	Patience time.Duration
	// Every so often it is looked again.
	Every time.Duration
}

// Apply the pools, and delete those that the release declared before and does not any more. What of a pool the release does not
// name is left as somebody else set it.
func (r *Release) Apply(ctx context.Context, pools []unstructured.Unstructured) error {
	var problems []error
	for i := range pools {
		if err := r.applyPatiently(ctx, &pools[i]); err != nil {
			problems = append(problems, fmt.Errorf("RunnerPool %s/%s: %w", pools[i].GetNamespace(), pools[i].GetName(), err))
		}
	}
	known, err := r.list(ctx)
	if err != nil {
		return errors.Join(append(problems, err)...)
	}
	for i := range known {
		declared := slices.ContainsFunc(pools, func(p unstructured.Unstructured) bool {
			return p.GetNamespace() == known[i].Namespace && p.GetName() == known[i].Name
		})
		if !declared {
			problems = append(problems, r.delete(ctx, &known[i]))
		}
	}
	return errors.Join(problems...)
}

// Drain deletes all pools that the release has, and waits until each has ended its sandboxes and is gone, for as long as the context
// lasts. Helm gives up earlier and leaves the Job that this is: pools that the release is given later are left.
func (r *Release) Drain(ctx context.Context) error {
	var draining sets.Set[types.UID]
	return wait.PollUntilContextCancel(ctx, r.Every, true, func(ctx context.Context) (bool, error) {
		left, err := r.list(ctx)
		if meta.IsNoMatchError(err) {
			return true, nil
		}
		if apierrors.IsForbidden(err) {
			return false, err
		}
		if err != nil {
			r.Log.Info("cannot list the release's RunnerPools: trying again", "error", err.Error())
			return false, nil
		}
		if draining == nil {
			draining = sets.New[types.UID]()
			for i := range left {
				draining.Insert(left[i].UID)
			}
		}
		left = slices.DeleteFunc(left, func(pool v1alpha1.RunnerPool) bool { return !draining.Has(pool.UID) })
		for i := range left {
			if err := r.delete(ctx, &left[i]); err != nil {
				r.Log.Info("trying again", "error", err.Error())
			}
			r.Log.Info("waiting for a RunnerPool to end its sandboxes", "namespace", left[i].Namespace, "name", left[i].Name, "running", left[i].Status.Running)
		}
		return len(left) == 0, nil
	})
}

// applyPatiently tries again while what is in the way may be gone soon.
func (r *Release) applyPatiently(ctx context.Context, pool *unstructured.Unstructured) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, r.Every, r.Patience, true, func(ctx context.Context) (bool, error) {
		last = r.apply(ctx, pool.DeepCopy())
		if last == nil || !soonOtherwise(last) {
			return true, nil
		}
		r.Log.Info("trying again", "namespace", pool.GetNamespace(), "name", pool.GetName(), "error", last.Error())
		return false, nil
	})
	return errors.Join(last, context.Cause(ctx), ignoreTimeout(err))
}

func ignoreTimeout(err error) error {
	if wait.Interrupted(err) {
		return nil
	}
	return err
}

var errEnding = errors.New("one of that name is still ending its sandboxes")

// soonOtherwise says that an error may be gone with the next try: the kind is not served yet, or the API server is busy.
func soonOtherwise(err error) bool {
	return meta.IsNoMatchError(err) || errors.Is(err, errEnding) || apierrors.IsNotFound(err) || apierrors.IsServerTimeout(err) ||
		apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsTimeout(err)
}

func (r *Release) apply(ctx context.Context, pool *unstructured.Unstructured) error {
	var known v1alpha1.RunnerPool
	err := r.Client.Get(ctx, client.ObjectKeyFromObject(pool), &known)
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return err
	case !r.declared(&known):
		return fmt.Errorf("there is one that this release did not make: delete it, or give it the labels %s=%s and %s=%s to have it taken over",
			releaseLabel, r.Name, namespaceLabel, r.Namespace)
	case !known.DeletionTimestamp.IsZero():
		return errEnding
	}
	labels := pool.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[releaseLabel], labels[namespaceLabel] = r.Name, r.Namespace
	pool.SetLabels(labels)
	strict := client.WithFieldValidation(r.Client, client.FieldValidation(metav1.FieldValidationStrict))
	if err := strict.Apply(ctx, client.ApplyConfigurationFromUnstructured(pool), client.ForceOwnership, client.FieldOwner(fieldOwner)); err != nil {
		return err
	}
	r.Log.Info("applied", "namespace", pool.GetNamespace(), "name", pool.GetName())
	return nil
}

func (r *Release) declared(pool *v1alpha1.RunnerPool) bool {
	return pool.Labels[releaseLabel] == r.Name && pool.Labels[namespaceLabel] == r.Namespace
}

func (r *Release) list(ctx context.Context) ([]v1alpha1.RunnerPool, error) {
	namespaces := r.Watched
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	var all []v1alpha1.RunnerPool
	for _, namespace := range namespaces {
		var pools v1alpha1.RunnerPoolList
		err := r.Client.List(ctx, &pools, client.InNamespace(namespace), client.MatchingLabels{releaseLabel: r.Name, namespaceLabel: r.Namespace})
		if err != nil {
			return nil, fmt.Errorf("listing the release's RunnerPools: %w", err)
		}
		all = append(all, pools.Items...)
	}
	return all, nil
}

func (r *Release) delete(ctx context.Context, pool *v1alpha1.RunnerPool) error {
	if !pool.DeletionTimestamp.IsZero() {
		return nil
	}
	err := r.Client.Delete(ctx, pool, client.Preconditions{UID: &pool.UID})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting RunnerPool %s/%s: %w", pool.Namespace, pool.Name, err)
	}
	r.Log.Info("deleted", "namespace", pool.Namespace, "name", pool.Name)
	return nil
}
