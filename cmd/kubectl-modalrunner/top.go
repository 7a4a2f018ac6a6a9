package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// newTop is the command that shows slots and cost; cost.go computes them.
func newTop(p *plugin) *cobra.Command {
	var (
		format output
		scope  scope
	)
	cmd := &cobra.Command{
		Use:               "top [POOL]",
		Short:             "Slots and cost, the dearest first: of today (UTC) per pool and repository, of its life per Runner",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: p.completeFirst(p.poolNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			pool, err := poolNamed(args)
			if err != nil {
				return err
			}
			return p.top(cmd.Context(), scope, pool, format)
		},
	}
	scope.addTo(cmd)
	format.addTo(cmd, outputWide, outputJSON, outputYAML)
	return cmd
}

func (p *plugin) top(ctx context.Context, scope scope, pool string, format output) error {
	c, err := p.cluster(scope.all)
	if err != nil {
		return err
	}
	views, err := c.views(ctx, pool)
	if err != nil {
		return err
	}
	all := costsOf(views, time.Now())
	if !format.forPeople() {
		return format.encode(p.Out, all)
	}
	if len(all.Pools) == 0 {
		fmt.Fprintln(p.ErrOut, "no RunnerPools found")
		return nil
	}
	return format.printTables(p.Out, poolCosts(all.Pools, scope), runnerCosts(all.Runners, scope), repositoryCosts(all.Repositories, scope))
}

// printTables one after the other, without those that are empty.
func (o output) printTables(out io.Writer, tables ...*metav1.Table) error {
	printed := false
	for _, t := range tables {
		if len(t.Rows) == 0 {
			continue
		}
		if printed {
			fmt.Fprintln(out)
		}
		printed = true
		if err := o.printTable(out, t); err != nil {
			return err
		}
	}
	return nil
}

func poolCosts(all []poolCost, scope scope) *metav1.Table {
	t := table(scope.columns("POOL RUNNING IDLE STARTING MAX QUEUED TODAY BUDGET SANDBOXES_FOR NOW_PER_HOUR"))
	for _, p := range all {
		row := []any{
			p.Pool, p.Running, p.Idle, p.Starting, p.Max, p.Queued, money(p.Cost, p.Currency), money(p.Budget, p.Currency), seconds(p.SandboxSeconds),
			money(p.PerHour, p.Currency),
		}
		t.Rows = append(t.Rows, metav1.TableRow{Cells: scope.cells(p.Namespace, row)})
	}
	return t
}

func runnerCosts(all []runnerCost, scope scope) *metav1.Table {
	t := table(scope.columns("RUNNER POOL PHASE JOB ALIVE_FOR PER_HOUR SO_FAR"))
	for _, r := range all {
		row := []any{r.Runner, r.Pool, string(r.Phase), dash(r.Job), seconds(r.Seconds), money(r.PerHour, r.Currency), money(r.Cost, r.Currency)}
		t.Rows = append(t.Rows, metav1.TableRow{Cells: scope.cells(r.Namespace, row)})
	}
	return t
}

func repositoryCosts(all []repositoryCost, scope scope) *metav1.Table {
	t := table(scope.columns("REPOSITORY POOL SANDBOXES_FOR TODAY"))
	for _, r := range all {
		repository := r.Repository
		if repository == "" {
			repository = "(no job)"
		}
		row := []any{repository, r.Pool, seconds(r.SandboxSeconds), money(r.Cost, r.Currency)}
		t.Rows = append(t.Rows, metav1.TableRow{Cells: scope.cells(r.Namespace, row)})
	}
	return t
}

func seconds(s int64) string { return span(time.Duration(s) * time.Second) }
