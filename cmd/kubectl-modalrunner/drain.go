package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// draining is how a drain is waited for.
type draining struct {
	wait    bool
	timeout time.Duration
}

// newDrain is the command that empties a Runner or a pool without ending a job.
func newDrain(p *plugin) *cobra.Command {
	var d draining
	cmd := &cobra.Command{
		Use:   "drain RUNNER|POOL",
		Short: "Delete a Runner, or suspend a pool, and wait until its jobs are over and its sandboxes gone",
		Example: `  kubectl modalrunner drain widgets-0
  kubectl modalrunner drain widgets --timeout=30m`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeFirst(p.poolNames, p.runnerNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.cluster(false)
			if err != nil {
				return err
			}
			return p.drain(cmd.Context(), c, args[0], d)
		},
	}
	cmd.Flags().BoolVar(&d.wait, "wait", true, "Wait until it is done.")
	cmd.Flags().DurationVar(&d.timeout, "timeout", 0, "How long to wait; 0 for as long as it takes.")
	return cmd
}

func (p *plugin) drain(ctx context.Context, c *cluster, argument string, d draining) error {
	kind, name := kindOf(argument)
	key := client.ObjectKey{Namespace: c.namespace, Name: name}
	var (
		runner v1alpha1.Runner
		pool   v1alpha1.RunnerPool
	)
	noRunner, noPool := errNoKind, errNoKind
	if kind != kindPool {
		noRunner = c.Get(ctx, key, &runner)
	}
	if kind != kindRunner {
		noPool = c.Get(ctx, key, &pool)
	}
	switch {
	case noRunner == nil && noPool == nil:
		return fmt.Errorf("%s is both a Runner and a pool: write runner/%[1]s or pool/%[1]s", name)
	case noRunner == nil:
		return p.drainRunner(ctx, c, &runner, d)
	case noPool == nil:
		return p.drainPool(ctx, c, name, d)
	}
	for _, err := range []error{noRunner, noPool} {
		if !errors.Is(err, errNoKind) && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return fmt.Errorf("there is no Runner and no pool %s in namespace %s", name, c.namespace)
}

// errNoKind stands for what was not looked for.
var errNoKind = errors.New("of another kind")

func (p *plugin) drainRunner(ctx context.Context, c *cluster, runner *v1alpha1.Runner, d draining) error {
	if err := c.Delete(ctx, runner, client.Preconditions{UID: &runner.UID}); client.IgnoreNotFound(err) != nil {
		return err
	}
	fmt.Fprintf(p.Out, "runner/%s drains\n", runner.Name)
	return p.await(ctx, d, func(ctx context.Context) (string, error) {
		var now v1alpha1.Runner
		err := c.Get(ctx, client.ObjectKeyFromObject(runner), &now)
		if apierrors.IsNotFound(err) || err == nil && now.UID != runner.UID {
			return "", nil
		}
		return doing(&now), err
	})
}

func (p *plugin) drainPool(ctx context.Context, c *cluster, name string, d draining) error {
	pool, err := p.setSuspend(ctx, c, name, true)
	if err != nil {
		return err
	}
	return p.await(ctx, d, func(ctx context.Context) (string, error) {
		views, err := c.views(ctx, name)
		if err != nil {
			return "", err
		}
		var left []string
		for i := range views[0].runners {
			if r := &views[0].runners[i]; !r.Dead() {
				left = append(left, doing(r))
			}
		}
		if len(left) == 0 && views[0].pool.Status.ObservedGeneration < pool.Generation {
			return "the controller has not seen it yet", nil
		}
		return strings.Join(left, ", "), nil
	})
}

// doing says what a Runner is at.
func doing(r *v1alpha1.Runner) string {
	if job := r.Status.Job; job != nil {
		return fmt.Sprintf("%s has the job %s of %s", r.Name, job.Name, job.Repository)
	}
	return fmt.Sprintf("%s is %s", r.Name, r.Status.Phase)
}

// lookInterval is how often a drain is looked at.
const lookInterval = time.Second

// await until nothing is left, and tell what is.
func (p *plugin) await(ctx context.Context, d draining, left func(context.Context) (string, error)) error {
	if !d.wait {
		return nil
	}
	waiting := ctx
	if d.timeout > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, d.timeout)
		defer cancel()
	}
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	told := ""
	for {
		now, err := left(ctx)
		switch {
		case err != nil:
			return err
		case now == "":
			fmt.Fprintln(p.Out, "done")
			return nil
		case now != told:
			fmt.Fprintln(p.ErrOut, "waiting:", now)
			told = now
		}
		select {
		case <-ticker.C:
		case <-waiting.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("it was not done after %s: %s; it goes on by itself, and kubectl modalrunner restart --force ends a Runner at once", d.timeout, told)
		}
	}
}
