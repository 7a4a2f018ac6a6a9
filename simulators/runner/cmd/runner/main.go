// Command runner is the simulated runner program as a process of its own: what runs in a sandbox of the local stack.
package main

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/modalrunner/modal-runner-controller/simulators/runner"
)

func main() {
	env := map[string]string{}
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := runner.Run(ctx, runner.Config{
		Env: env, Stdout: os.Stdout, Shell: true, Behaviour: runner.Behaviour(env["SIMULATED_BEHAVIOUR"]),
	})
	stop()
	os.Exit(code)
}
