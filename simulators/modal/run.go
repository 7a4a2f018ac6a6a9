package modal

import (
	"context"
	"io"
	"strings"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
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
	// Env is the image's, then Modal's own, then that of the secrets in their order, then the terminal's.
	Env map[string]string
	// Workdir of the command, within the image.
	Workdir string
	// Stdout and Stderr are one stream when there is a terminal.
	Stdout, Stderr io.Writer
	// Stdin is open until its writer closes it, or the sandbox is killed.
	Stdin io.Reader
	// PTY that was asked for; nil for none.
	PTY *PTY
	// Volumes are folders of this machine by the paths in the sandbox at which they are mounted.
	Volumes map[string]string
}

// Here is where a path in the sandbox is on this machine: below a volume's folder, else where it says. What is no path is
// left alone.
func (c Container) Here(path string) string {
	for mount, folder := range c.Volumes {
		if rest, below := strings.CutPrefix(path, mount); below && (rest == "" || rest[0] == '/') {
			return folder + rest
		}
	}
	return path
}

// EnvHere is the environment in which paths are those of this machine.
func (c Container) EnvHere() map[string]string {
	env := make(map[string]string, len(c.Env))
	for name, value := range c.Env {
		env[name] = c.Here(value)
	}
	return env
}

// PTY is a terminal, as large as it was at the start: the protocol cannot resize it.
type PTY struct{ Rows, Cols uint16 }

// inTerminal gives a program the terminal that was asked for, if any.
func (c *Container) inTerminal(info *pb.PTYInfo) {
	if !info.GetEnabled() {
		return
	}
	c.PTY = &PTY{Rows: uint16(info.GetWinszRows()), Cols: uint16(info.GetWinszCols())}
	c.Stderr = c.Stdout
	for name, value := range map[string]string{
		"TERM": info.GetEnvTerm(), "COLORTERM": info.GetEnvColorterm(), "TERM_PROGRAM": info.GetEnvTermProgram(),
	} {
		if value != "" {
			c.Env[name] = value
		}
	}
}

// untilKilled is the RunFunc of a sandbox that stays.
func untilKilled(ctx context.Context, _ Container) int {
	<-ctx.Done()
	return 137
}
