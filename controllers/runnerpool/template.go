package runnerpool

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
)

// templateAccess is what the references of a template are checked of.
type templateAccess struct {
	modal      sandbox.Provider
	references string
}

// checkTemplate sets TemplateReady: what the template refers to must exist, before a job finds that it does not. It says
// when to look again.
func (r *Reconciler) checkTemplate(ctx context.Context, pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner, modal sandbox.Provider) time.Time {
	const kind = v1alpha1.ConditionTemplateReady
	if _, err := sandbox.SecretEnv(ctx, r.Secrets, pool.Namespace, &pool.Spec.Sandbox); err != nil {
		setError(pool, kind, err)
		return r.Clock.Now().Add(fault.RetryAfter(err, r.Clock.Now(), recheckBad))
	}
	references := sandbox.ReferencesOf(&pool.Spec.Sandbox)
	switch {
	case references.None():
		setCondition(pool, kind, true, v1alpha1.ReasonReady, "what the template refers to exists")
		return time.Time{}
	case !meta.IsStatusConditionTrue(pool.Status.Conditions, v1alpha1.ConditionModalReady):
		if !meta.IsStatusConditionTrue(pool.Status.Conditions, kind) {
			setCondition(pool, kind, false, v1alpha1.ReasonWaiting, "waiting for "+v1alpha1.ConditionModalReady)
		}
		return time.Time{}
	}
	return r.checkOne(ctx, pool, runners, checking{
		kind: kind, of: templateAccess{modal, fmt.Sprint(references)}, well: "what the template refers to exists",
		access: func(ctx context.Context) (any, error) { return nil, modal.CheckReferences(ctx, references) },
	})
}
