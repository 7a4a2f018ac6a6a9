package modal

import (
	"context"
	"io"
)

// RunFunc is what runs inside a sandbox, or what is executed in it. Its context ends when the sandbox is killed. It
// returns the exit code, which counts only if the sandbox was not killed.
type RunFunc func(ctx context.Context, c Container) int

// Container is what a program in a sandbox sees.
type Container struct {
	SandboxID, TaskID, Name string
	AppID, AppName, ImageID string
	// Command that was asked for: that of the sandbox, or the one to execute in it.
	Command []string
	// Env is the image's, then Modal's own, then that of the secrets in their order.
	Env map[string]string
	// Workdir of the command, within the image.
	Workdir        string
	Stdout, Stderr io.Writer
	// Stdin is set for executed commands only.
	Stdin io.Reader
}

// untilKilled is the RunFunc of a sandbox that stays.
func untilKilled(ctx context.Context, _ Container) int {
	<-ctx.Done()
	return 137
}
