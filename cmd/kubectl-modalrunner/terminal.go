package main

import (
	"io"
	"os"

	"golang.org/x/term"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
)

// terminalOf a stream, if it is one.
func terminalOf(stream any) (fd int, ok bool) {
	file, isFile := stream.(*os.File)
	if !isFile {
		return 0, false
	}
	fd = int(file.Fd()) //nolint:gosec // a file descriptor
	return fd, term.IsTerminal(fd)
}

// sizeOf the terminal that the streams lead to; nil when they lead to none, or when it does not tell.
func sizeOf(streams genericiooptions.IOStreams) *sandbox.TerminalSize {
	for _, stream := range []any{streams.Out, streams.In} {
		if fd, ok := terminalOf(stream); ok {
			if columns, rows, err := term.GetSize(fd); err == nil && columns > 0 && rows > 0 {
				return &sandbox.TerminalSize{Rows: rows, Columns: columns}
			}
		}
	}
	return nil
}

// makeRaw has the terminal pass every key on, Ctrl-C too, until it is restored. What is no terminal stays as it is.
func makeRaw(in io.Reader) (restore func(), err error) {
	fd, ok := terminalOf(in)
	if !ok {
		return func() {}, nil
	}
	state, err := term.MakeRaw(fd)
	if err != nil {
		return nil, err
	}
	return func() { _ = term.Restore(fd, state) }, nil
}
