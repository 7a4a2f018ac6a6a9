package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/declared"
)

// validateRelease refuses to work on the pools of a release that has no name.
func (o *options) validateRelease() error {
	if (o.applyPools != "" || o.drainPools) && o.release == "" {
		return errors.New("--apply-pools and --drain-pools need --release, by which its pools are known")
	}
	if o.applyPools != "" && o.drainPools {
		return errors.New("--apply-pools makes pools and --drain-pools ends them: give one of them")
	}
	return nil
}

// workOnRelease applies the pools that a release declares, or drains them.
func (o *options) workOnRelease(ctx context.Context) error {
	namespace := os.Getenv("POD_NAMESPACE")
	if namespace == "" {
		return errors.New("the environment variable POD_NAMESPACE must name the release's namespace")
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the cluster: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return fmt.Errorf("building the scheme: %w", err)
	}
	direct, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("making the client: %w", err)
	}
	release := &declared.Release{
		Client: direct, Namespace: namespace, Name: o.release, Watched: o.namespaces,
		Log: ctrl.Log.WithName("release"), Patience: time.Minute, Every: time.Second,
	}
	if o.drainPools {
		return release.Drain(ctx)
	}
	text, err := os.ReadFile(o.applyPools)
	if err != nil {
		return fmt.Errorf("reading the release's pools: %w", err)
	}
	var list struct {
		Items []map[string]any `json:"items"`
	}
	if err := yaml.UnmarshalStrict(text, &list); err != nil {
		return fmt.Errorf("reading the release's pools in %s: %w", o.applyPools, err)
	}
	pools := make([]unstructured.Unstructured, len(list.Items))
	for i, item := range list.Items {
		pools[i].Object = item
		pools[i].SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("RunnerPool"))
	}
	return release.Apply(ctx, pools)
}
