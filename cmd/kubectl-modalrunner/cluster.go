package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// cluster as the caller sees it, in one namespace; in all of them when that is empty.
type cluster struct {
	client.Client
	namespace string
}

// cluster that the flags and the kubeconfig name.
func (p *plugin) cluster(allNamespaces bool) (*cluster, error) {
	c := &cluster{}
	if !allNamespaces {
		var err error
		if c.namespace, _, err = p.config.ToRawKubeConfigLoader().Namespace(); err != nil {
			return nil, err
		}
	}
	var err error
	c.Client, err = newClient(p.config)
	return c, err
}

// newClient that knows the few kinds which the plugin needs, so that it does not have to ask the API server for all.
func newClient(getter genericclioptions.RESTClientGetter) (client.Client, error) {
	config, err := getter.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{v1alpha1.GroupVersion, corev1.SchemeGroupVersion})
	for _, kind := range []string{"RunnerPool", "Runner", "WorkflowJob"} {
		mapper.Add(v1alpha1.GroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Secret"), meta.RESTScopeNamespace)
	return client.New(config, client.Options{Scheme: scheme, Mapper: mapper})
}

// view of a pool: what it is, and what it has.
type view struct {
	pool    v1alpha1.RunnerPool
	runners []v1alpha1.Runner
	jobs    []v1alpha1.WorkflowJob
}

// views of all pools, or of the one that is named.
func (c *cluster) views(ctx context.Context, name string) ([]view, error) {
	pools, err := c.pools(ctx, name)
	if err != nil {
		return nil, err
	}
	filter := []client.ListOption{client.InNamespace(c.namespace)}
	if name != "" {
		filter = append(filter, client.MatchingFields{"spec.poolName": name})
	}
	var runners v1alpha1.RunnerList
	if err := c.List(ctx, &runners, filter...); err != nil {
		return nil, err
	}
	var jobs v1alpha1.WorkflowJobList
	if err := c.List(ctx, &jobs, filter...); err != nil {
		return nil, err
	}
	return viewsOf(pools, runners.Items, jobs.Items), nil
}

func (c *cluster) pools(ctx context.Context, name string) ([]v1alpha1.RunnerPool, error) {
	if name == "" {
		var pools v1alpha1.RunnerPoolList
		err := c.List(ctx, &pools, client.InNamespace(c.namespace))
		return pools.Items, err
	}
	if c.namespace == "" {
		return nil, fmt.Errorf("a pool is named within a namespace: leave out --all-namespaces or %s", name)
	}
	var pool v1alpha1.RunnerPool
	err := c.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: name}, &pool)
	return []v1alpha1.RunnerPool{pool}, err
}

// viewsOf pools, with their Runners by name and slot.
func viewsOf(pools []v1alpha1.RunnerPool, runners []v1alpha1.Runner, jobs []v1alpha1.WorkflowJob) []view {
	views := make([]view, len(pools))
	for i, pool := range pools {
		v := view{pool: pool}
		for _, r := range runners {
			if r.Namespace == pool.Namespace && r.Spec.PoolName == pool.Name {
				v.runners = append(v.runners, r)
			}
		}
		for _, j := range jobs {
			if j.Namespace == pool.Namespace && j.Spec.PoolName == pool.Name {
				v.jobs = append(v.jobs, j)
			}
		}
		slices.SortFunc(v.runners, func(a, b v1alpha1.Runner) int {
			// widgets-10 comes after widgets-9.
			if byLength := len(a.Name) - len(b.Name); byLength != 0 {
				return byLength
			}
			return strings.Compare(a.Name, b.Name)
		})
		views[i] = v
	}
	return views
}
