package shard

import (
	"maps"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// Moved lets those changes of a RunnerPool through by which it may have come to another shard: of its labels, and of who holds
// it. One that is new, to the cluster or to this manager, has moved too.
func Moved() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, after := e.ObjectOld.(*v1alpha1.RunnerPool), e.ObjectNew.(*v1alpha1.RunnerPool)
			return before.Status.ServedBy != after.Status.ServedBy || !maps.Equal(before.Labels, after.Labels)
		},
		DeleteFunc: func(event.TypedDeleteEvent[client.Object]) bool { return false },
	}
}
