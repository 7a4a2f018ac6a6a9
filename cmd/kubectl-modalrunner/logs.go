package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
)

// newLogs is the command that shows what a sandbox writes.
func newLogs(p *plugin) *cobra.Command {
	var follow bool
	var tail int
	cmd := &cobra.Command{
		Use:   "logs [-f] RUNNER|JOB",
		Short: "What a runner's sandbox writes; that of a job that is over too, as long as Modal keeps it",
		Example: `  kubectl modalrunner logs -f widgets-0
  kubectl modalrunner logs --tail=20 43967200123`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeFirst(p.runnerNames, p.sandboxedJobNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			request := sandbox.LogRequest{Follow: follow}
			if tail >= 0 {
				request.Tail = &tail
			}
			return p.logs(cmd.Context(), args[0], request)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "Go on until the sandbox ends.")
	cmd.Flags().IntVar(&tail, "tail", -1, "Show so many of the last lines; all when negative.")
	return cmd
}

func (p *plugin) logs(ctx context.Context, argument string, request sandbox.LogRequest) error {
	console, id, done, err := p.console(ctx, argument)
	if err != nil {
		return err
	}
	defer done()
	return console.Logs(ctx, id, request, p.Out)
}
