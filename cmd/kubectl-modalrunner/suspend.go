package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// newSuspend is the command that stops a pool.
func newSuspend(p *plugin) *cobra.Command {
	return p.suspending("suspend POOL", "Stop a pool: idle runners go, what runs finishes, jobs wait", true)
}

// newResume is the command that has a pool go on.
func newResume(p *plugin) *cobra.Command {
	return p.suspending("resume POOL", "Have a suspended pool go on", false)
}

func (p *plugin) suspending(use, short string, suspend bool) *cobra.Command {
	return &cobra.Command{
		Use:               use,
		Short:             short,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeFirst(p.poolNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			pool, err := poolNamed(args)
			if err != nil {
				return err
			}
			c, err := p.cluster(false)
			if err != nil {
				return err
			}
			_, err = p.setSuspend(cmd.Context(), c, pool, suspend)
			return err
		},
	}
}

// setSuspend of a pool, and say what was done. It gives the pool as it is then.
func (p *plugin) setSuspend(ctx context.Context, c *cluster, name string, suspend bool) (*v1alpha1.RunnerPool, error) {
	var pool v1alpha1.RunnerPool
	if err := c.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: name}, &pool); err != nil {
		return nil, err
	}
	done := map[bool]string{true: "suspended", false: "resumed"}[suspend]
	if pool.Spec.Suspend == suspend {
		fmt.Fprintf(p.Out, "runnerpool/%s is %s already\n", name, done)
		return &pool, nil
	}
	patch := client.RawPatch(client.Merge.Type(), fmt.Appendf(nil, `{"spec":{"suspend":%t}}`, suspend))
	if err := c.Patch(ctx, &pool, patch); err != nil {
		return nil, err
	}
	fmt.Fprintf(p.Out, "runnerpool/%s %s\n", name, done)
	return &pool, nil
}
