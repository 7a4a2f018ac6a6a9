package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// newRestart is the command that has a Runner replaced.
func newRestart(p *plugin) *cobra.Command {
	var force, yes bool
	cmd := &cobra.Command{
		Use:   "restart RUNNER",
		Short: "Have a Runner replaced: at once, or when its job is over",
		Example: `  kubectl modalrunner restart widgets-0
  kubectl modalrunner restart widgets-0 --force`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeFirst(p.runnerNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.restart(cmd.Context(), args[0], force, yes)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "End its sandbox at once, whatever runs in it: its job fails.")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "Do not ask before a job is ended.")
	return cmd
}

func (p *plugin) restart(ctx context.Context, argument string, force, yes bool) error {
	c, err := p.cluster(false)
	if err != nil {
		return err
	}
	kind, name := kindOf(argument)
	if kind != "" && kind != kindRunner {
		return fmt.Errorf("%s is no Runner: kubectl modalrunner status names those of a pool", argument)
	}
	var runner v1alpha1.Runner
	if err := c.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: name}, &runner); err != nil {
		return err
	}
	uid := runner.UID
	if force {
		if !yes && !p.confirm(&runner) {
			return errors.New("nothing was done: answer y, or give --yes")
		}
		// Of the Runner that was asked about, and of no other that has its name by now.
		patch := client.RawPatch(client.Merge.Type(), fmt.Appendf(nil, `{"metadata":{"uid":%q,"annotations":{%q:"true"}}}`, uid, v1alpha1.ForceDelete))
		if err := c.Patch(ctx, &runner, patch); apierrors.IsConflict(err) || apierrors.IsInvalid(err) {
			return fmt.Errorf("runner/%s is another one by now: nothing was done", name)
		} else if err != nil {
			return err
		}
	}
	if err := c.Delete(ctx, &runner, client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
		if force {
			return fmt.Errorf("it has the annotation %s, which ends it as soon as somebody deletes it: %w", v1alpha1.ForceDelete, err)
		}
		return err
	}
	if !force && runner.Status.Phase == v1alpha1.RunnerRunning {
		fmt.Fprintf(p.Out, "runner/%s is replaced when its job is over; --force ends it now\n", name)
		return nil
	}
	fmt.Fprintf(p.Out, "runner/%s is being replaced, as far as jobs or spec.minIdle ask for one\n", name)
	return nil
}

// confirm that a Runner is ended with what it has.
func (p *plugin) confirm(runner *v1alpha1.Runner) bool {
	what := doing(runner)
	if runner.Status.Job != nil {
		what += ", which then fails"
	}
	fmt.Fprintf(p.ErrOut, "%s. End its sandbox now? [y/N] ", what)
	answer, _ := bufio.NewReader(p.In).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true
	}
	return false
}
