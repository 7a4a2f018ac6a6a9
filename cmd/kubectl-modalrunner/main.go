// Command kubectl-modalrunner is a plugin of kubectl (kubectl modalrunner): it shows what pools do and why jobs wait, and
// leads into sandboxes, as far as its caller's rights in the cluster go. Each command is a file of its name.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/modalrunner/modal-runner-controller/internal/version"
)

func main() {
	// controller-runtime complains when nobody says where its log goes.
	log.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	code := exitCode(ctx, newRoot(streams).ExecuteContext(ctx), streams)
	stop()
	os.Exit(code)
}

// interrupted is the exit code of a shell's command that was ended by Ctrl-C.
const interrupted = 130

// exited is the exit code of a command in a sandbox.
type exited int

func (e exited) Error() string { return fmt.Sprintf("the command ended with exit code %d", int(e)) }

// exitCode of the plugin, and what went wrong in words.
func exitCode(ctx context.Context, err error, streams genericiooptions.IOStreams) int {
	var code exited
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case ctx.Err() != nil:
		return interrupted
	}
	fmt.Fprintln(streams.ErrOut, "error:", explainError(err))
	return 1
}

// plugin is what all commands share.
type plugin struct {
	genericiooptions.IOStreams
	config *genericclioptions.ConfigFlags
}

func newRoot(streams genericiooptions.IOStreams) *cobra.Command {
	p := &plugin{IOStreams: streams, config: genericclioptions.NewConfigFlags(true)}
	root := &cobra.Command{
		Use:           "kubectl-modalrunner",
		Version:       version.Get().String(),
		Short:         "GitHub Actions runners in Modal sandboxes: what they do, why jobs wait, and a shell in them",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl modalrunner"},
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	p.config.AddFlags(root.PersistentFlags())
	root.AddCommand(newStatus(p), newQueue(p), newLogs(p), newExec(p), newTop(p), newDrain(p), newRestart(p), newSuspend(p), newResume(p))
	return root
}
