package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// newStatus is the command that shows pools at a glance, or one of them with all that it has.
func newStatus(p *plugin) *cobra.Command {
	var (
		format   output
		scope    scope
		watching bool
	)
	cmd := &cobra.Command{
		Use:   "status [POOL]",
		Short: "Pools at a glance; one with its conditions, image, Runners, queue and usage",
		Example: `  kubectl modalrunner status
  kubectl modalrunner status widgets --watch`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: p.completeFirst(p.poolNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if watching && !format.forPeople() {
				return errors.New("--watch is for people: leave it out, or --output")
			}
			pool, err := poolNamed(args)
			if err != nil {
				return err
			}
			return p.status(cmd.Context(), scope, pool, format, watching)
		},
	}
	scope.addTo(cmd)
	format.addTo(cmd, outputWide, outputJSON, outputYAML)
	cmd.Flags().BoolVarP(&watching, "watch", "w", false, "Show it anew every two seconds.")
	return cmd
}

func (p *plugin) status(ctx context.Context, scope scope, pool string, format output, watching bool) error {
	c, err := p.cluster(scope.all)
	if err != nil {
		return err
	}
	look := func(out io.Writer) error {
		views, err := c.views(ctx, pool)
		switch {
		case err != nil:
			return err
		case !format.forPeople():
			return format.encode(out, listOf(views, pool != ""))
		case pool != "":
			return describePool(out, views[0], format, time.Now())
		case len(views) == 0:
			fmt.Fprintln(p.ErrOut, "no RunnerPools found")
			return nil
		}
		return format.printTable(out, poolTable(views, scope, time.Now()))
	}
	if watching {
		return watch(ctx, p.Out, look)
	}
	return look(p.Out)
}

// listOf the pools as they are stored; with their Runners and jobs where all is asked for.
func listOf(views []view, all bool) runtime.Object {
	list := &corev1.List{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "List"})
	add := func(object runtime.Object, kind string) {
		object.GetObjectKind().SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
		list.Items = append(list.Items, runtime.RawExtension{Object: object})
	}
	for _, v := range views {
		add(&v.pool, "RunnerPool")
		for i := range v.runners {
			if all {
				add(&v.runners[i], "Runner")
			}
		}
		for i := range v.jobs {
			if all {
				add(&v.jobs[i], "WorkflowJob")
			}
		}
	}
	return list
}
