package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// completionTimeout is how long a shell that completes waits for the cluster.
const completionTimeout = 3 * time.Second

// names of something in the cluster, with what tells them apart.
type names func(context.Context, *cluster) []cobra.Completion

// completeFirst completes the first argument with names of these kinds.
func (p *plugin) completeFirst(kinds ...names) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return p.complete(cmd, kinds...)
	}
}

func (p *plugin) complete(cmd *cobra.Command, kinds ...names) ([]cobra.Completion, cobra.ShellCompDirective) {
	c, err := p.cluster(false)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	var all []cobra.Completion
	for _, kind := range kinds {
		all = append(all, kind(ctx, c)...)
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

func (*plugin) poolNames(ctx context.Context, c *cluster) []cobra.Completion {
	pools, _ := c.pools(ctx, "")
	var all []cobra.Completion
	for _, pool := range pools {
		all = append(all, cobra.CompletionWithDesc(pool.Name, "pool of "+scopeOf(pool.Spec.Scope)))
	}
	return all
}

func (*plugin) runnerNames(ctx context.Context, c *cluster) []cobra.Completion {
	var runners v1alpha1.RunnerList
	_ = c.List(ctx, &runners, client.InNamespace(c.namespace))
	var all []cobra.Completion
	for _, r := range runners.Items {
		all = append(all, cobra.CompletionWithDesc(r.Name, "Runner, "+string(r.Status.Phase)))
	}
	return all
}

// sandboxedJobNames are the jobs that have or had a sandbox.
func (*plugin) sandboxedJobNames(ctx context.Context, c *cluster) []cobra.Completion {
	var jobs v1alpha1.WorkflowJobList
	_ = c.List(ctx, &jobs, client.InNamespace(c.namespace))
	var all []cobra.Completion
	for _, job := range jobs.Items {
		if job.Status.RunnerName != "" {
			all = append(all, cobra.CompletionWithDesc(job.Name, job.Spec.Name+", "+string(job.Status.State)))
		}
	}
	return all
}
