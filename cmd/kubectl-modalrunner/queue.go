package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/queue"
)

// newQueue is the command that tells why jobs wait; internal/queue has the reasons.
func newQueue(p *plugin) *cobra.Command {
	var (
		format output
		scope  scope
	)
	cmd := &cobra.Command{
		Use:   "queue [POOL]",
		Short: "Every job that waits, and why",
		Example: `  kubectl modalrunner queue
  kubectl modalrunner queue widgets -o wide`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: p.completeFirst(p.poolNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			pool, err := poolNamed(args)
			if err != nil {
				return err
			}
			return p.queue(cmd.Context(), scope, pool, format)
		},
	}
	scope.addTo(cmd)
	format.addTo(cmd, outputWide, outputJSON, outputYAML)
	return cmd
}

func (p *plugin) queue(ctx context.Context, scope scope, pool string, format output) error {
	c, err := p.cluster(scope.all)
	if err != nil {
		return err
	}
	views, err := c.views(ctx, pool)
	if err != nil {
		return err
	}
	now := time.Now()
	all := []queue.Waiting{}
	for _, v := range views {
		all = append(all, explain(v, now)...)
	}
	if !format.forPeople() {
		return format.encode(p.Out, all)
	}
	if len(all) == 0 {
		fmt.Fprintln(p.ErrOut, "no job waits")
		return nil
	}
	return format.printTable(p.Out, queueTable(all, scope, now))
}

func queueTable(all []queue.Waiting, scope scope, now time.Time) *metav1.Table {
	t := table(scope.columns("JOB POOL REPOSITORY NAME +STATE WAITING REASON WHY"))
	for _, w := range all {
		row := []any{w.Job, w.Pool, w.Repository, w.Name, string(w.State), span(now.Sub(w.Since)), w.Reason, w.Message}
		t.Rows = append(t.Rows, metav1.TableRow{Cells: scope.cells(w.Namespace, row)})
	}
	return t
}

// explain why each job of a pool waits, the longest first.
func explain(v view, now time.Time) []queue.Waiting {
	runners, jobs := make([]*v1alpha1.Runner, len(v.runners)), make([]*v1alpha1.WorkflowJob, len(v.jobs))
	for i := range v.runners {
		runners[i] = &v.runners[i]
	}
	for i := range v.jobs {
		jobs[i] = &v.jobs[i]
	}
	return queue.Explain(&v.pool, runners, jobs, now)
}
