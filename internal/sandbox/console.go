package sandbox

import (
	"context"
	"io"
)

// Console is what a person does with a sandbox: it reads along, and runs commands in it.
type Console interface {
	// State of a sandbox, running or ended.
	State(ctx context.Context, id string) (State, error)
	// Logs copies what a sandbox has written, its two outputs as they come, until there is no more of it.
	Logs(ctx context.Context, id string, request LogRequest, out io.Writer) error
	// Exec runs a command in a sandbox and gives its exit code.
	Exec(ctx context.Context, id string, request ExecRequest) (exitCode int, err error)
}

// LogRequest says how much of a log is wanted.
type LogRequest struct {
	// Follow what the sandbox writes until it ends. Without it, the log of one that is alive is over when nothing has come
	// for a second: Modal does not mark where the past ends.
	Follow bool
	// Tail of so many lines is all that is wanted of the past; nil for all of it.
	Tail *int
}

// ExecRequest is a command to be run in a sandbox.
type ExecRequest struct {
	Command []string
	// Stdin of the command; nil for none.
	Stdin io.Reader
	// Stdout and Stderr of the command. With a terminal all of it comes out of Stdout.
	Stdout, Stderr io.Writer
	// Terminal gives the command a terminal, of this size where one is set.
	Terminal bool
	Size     *TerminalSize
}

// TerminalSize in characters.
type TerminalSize struct{ Rows, Columns int }
