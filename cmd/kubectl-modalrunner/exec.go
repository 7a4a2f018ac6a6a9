package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
)

// newExec is the command that runs another in a sandbox.
func newExec(p *plugin) *cobra.Command {
	var stdin, tty bool
	cmd := &cobra.Command{
		Use:   "exec [-it] RUNNER|JOB -- COMMAND [ARGUMENT...]",
		Short: "Run a command in a runner's sandbox; the exit code is that of the command",
		Example: `  kubectl modalrunner exec -it widgets-0 -- bash
  echo hi | kubectl modalrunner exec -i widgets-0 -- cat`,
		Args: func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() != 1 || len(args) < 2 {
				return errors.New("write one RUNNER or JOB, then --, then the command: kubectl modalrunner exec -it widgets-0 -- bash")
			}
			return nil
		},
		ValidArgsFunction: p.completeFirst(p.runnerNames, p.sandboxedJobNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.exec(cmd.Context(), args[0], args[1:], stdin, tty)
		},
	}
	cmd.Flags().BoolVarP(&stdin, "stdin", "i", false, "Pass standard input to the command.")
	cmd.Flags().BoolVarP(&tty, "tty", "t", false, "Give the command a terminal, as large as this one is now.")
	return cmd
}

func (p *plugin) exec(ctx context.Context, argument string, command []string, stdin, tty bool) error {
	console, id, done, err := p.console(ctx, argument)
	if err != nil {
		return err
	}
	defer done()
	request := sandbox.ExecRequest{Command: command, Stdout: p.Out, Stderr: p.ErrOut, Terminal: tty}
	if stdin {
		request.Stdin = p.In
	}
	if tty {
		request.Size = sizeOf(p.IOStreams)
	}
	if tty && stdin {
		restore, err := makeRaw(p.In)
		if err != nil {
			return fmt.Errorf("preparing the terminal: %w", err)
		}
		defer restore()
	}
	code, err := console.Exec(ctx, id, request)
	if err == nil && code != 0 {
		return exited(code)
	}
	return err
}
