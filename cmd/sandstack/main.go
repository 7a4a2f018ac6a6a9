// Command sandstack is the local stack: a real API server, the simulated GitHub and Modal, and the manager, with a real
// workflow going through all of it. make demo runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/modalrunner/modal-runner-controller/test/stack"
)

const (
	namespace  = "default"
	repository = "octo/widgets"
)

type options struct {
	stay    bool
	limit   int
	out     string
	timeout time.Duration
}

func main() {
	var o options
	flag.BoolVar(&o.stay, "stay", false, "Keep everything up after the demo, and tell how to point kubectl at it.")
	flag.IntVar(&o.limit, "max-concurrency", 4, "maxConcurrency of the pool.")
	flag.StringVar(&o.out, "out", "out/demo.json", "File for the figures.")
	flag.DurationVar(&o.timeout, "timeout", 10*time.Minute, "How long the workflow may take.")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sandstack:", err)
		os.Exit(1)
	}
}

// staying tells what can be done with a stack that stays up.
const staying = `
Still up. The status page is at %[4]s. In another terminal:

  export KUBECONFIG=%[1]s
  %[2]s get rp,mr,wfj

With a runner that stays, and kubectl's plugin (make plugin; docs/plugin.md):

  export PATH=$PWD/bin:$PATH MODAL_SERVER_URL=%[3]s
  %[2]s patch rp/widgets --type=merge -p '{"spec":{"minIdle":1}}'
  kubectl-modalrunner status widgets --watch
  kubectl-modalrunner exec -it widgets-0 -- bash

Ctrl-C ends it.
`

func run(ctx context.Context, o options) (err error) {
	root, err := stack.Root()
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "sandstack-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	say := func(text string) { fmt.Printf("%s %s\n", time.Now().Format(time.TimeOnly), text) }
	w, err := stack.StartWorld(ctx, root, folder, namespace, repository, say, "--list-interval=1s", "--queue-poll-interval=5s")
	if err != nil {
		return err
	}
	defer func() {
		if stopErr := w.Stop(); err == nil {
			err = stopErr
		}
	}()
	say("the status page is at " + w.Manager.StatusPage())
	if err := (&demo{World: w, options: o, say: say}).run(ctx); err != nil {
		logs := filepath.Join(os.TempDir(), "sandstack-manager.log")
		if writeErr := os.WriteFile(logs, []byte(w.Manager.Log()), 0o600); writeErr == nil {
			fmt.Fprintln(os.Stderr, "the manager's log is in", logs)
		}
		return err
	}
	if o.stay {
		fmt.Printf(staying, w.Kubeconfig, w.Kubectl, w.Modal.URL(), w.Manager.StatusPage())
		<-ctx.Done()
	}
	return nil
}
