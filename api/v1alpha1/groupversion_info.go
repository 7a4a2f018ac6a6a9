// Package v1alpha1 is the API of modal-runner-controller: RunnerPool is what an operator declares, WorkflowJob is the
// demand seen at GitHub, Runner is the supply made at Modal.
//
// +kubebuilder:object:generate=true
// +groupName=modalrunner.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// GroupVersion is the API group and version of this package.
	GroupVersion = schema.GroupVersion{Group: "modalrunner.dev", Version: "v1alpha1"}

	schemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme adds the kinds of this package to a scheme.
	AddToScheme = schemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&RunnerPool{}, &RunnerPoolList{},
		&Runner{}, &RunnerList{},
		&WorkflowJob{}, &WorkflowJobList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}

const (
	// PoolLabel carries the name of the RunnerPool on every Runner and WorkflowJob.
	PoolLabel = "modalrunner.dev/pool"

	// MadeFor is an annotation of a Runner: the name of the WorkflowJob for which it was made. It may run another, since GitHub
	// chooses; it is there for those who follow a job's trace.
	MadeFor = "modalrunner.dev/made-for"

	// RunnerFinalizer keeps a Runner until its sandbox is dead and its registration is gone.
	RunnerFinalizer = "modalrunner.dev/sandbox"

	// ForceDelete is an annotation of a Runner or a RunnerPool that is being deleted, with the value "true": its sandboxes
	// are terminated at once, whatever runs in them.
	ForceDelete = "modalrunner.dev/force-delete"

	// PoolFinalizer keeps a RunnerPool until its last Runner is gone.
	PoolFinalizer = "modalrunner.dev/runners"
)
