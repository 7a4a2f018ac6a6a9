package modal

import (
	"bytes"
	"context"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
)

func TestLastLines(t *testing.T) {
	for text, want := range map[string]string{"": "", "a": "a", "a\n": "a\n", "a\nb\nc": "b\nc", "a\nb\nc\n": "b\nc\n", "\n\n\n": "\n\n"} {
		if got := string(lastLines([]byte(text), 2)); got != want {
			t.Errorf("the last two lines of %q are %q", text, got)
		}
	}
	if got := lastLines([]byte("a\n"), 0); len(got) > 0 {
		t.Errorf("no lines are %q", got)
	}
}

func TestCommandOf(t *testing.T) {
	g := NewWithT(t)
	command := []string{"bash", "-l"}
	size := &sandbox.TerminalSize{Rows: 50, Columns: 120}
	g.Expect(commandOf(sandbox.ExecRequest{Command: command, Size: size})).To(Equal(command))
	g.Expect(commandOf(sandbox.ExecRequest{Command: command, Terminal: true})).To(Equal(command))
	g.Expect(commandOf(sandbox.ExecRequest{Command: command, Terminal: true, Size: size})).To(Equal(
		[]string{"sh", "-c", `stty rows 50 cols 120 2>/dev/null; exec "$@"`, "sh", "bash", "-l"}))
}

func TestTheTailIsShownWhenThePastIsReadAndAllThatFollows(t *testing.T) {
	g := NewWithT(t)
	chunks, out := make(chan chunk), make(chan []byte)
	one := 1
	done := make(chan error)
	go func() {
		done <- copyLog(t.Context(), chunks, sandbox.LogRequest{Follow: true, Tail: &one}, writer(func(p []byte) { out <- bytes.Clone(p) }))
	}()
	chunks <- chunk{data: []byte("first\nsec")}
	chunks <- chunk{data: []byte("ond\n")}
	g.Expect(string(<-out)).To(Equal("second\n"))
	chunks <- chunk{data: []byte("third\nfourth\n")}
	g.Expect(string(<-out)).To(Equal("third\nfourth\n"))
	close(chunks)
	g.Expect(<-done).To(Succeed())
}

func TestALogThatBreaksOffShowsWhatCameBefore(t *testing.T) {
	g := NewWithT(t)
	chunks := make(chan chunk, 2)
	chunks <- chunk{data: []byte("a\nb\n")}
	chunks <- chunk{err: context.DeadlineExceeded}
	one := 1
	var out bytes.Buffer
	g.Expect(copyLog(t.Context(), chunks, sandbox.LogRequest{Tail: &one}, &out)).To(MatchError(context.DeadlineExceeded))
	g.Expect(out.String()).To(Equal("b\n"))
}

// writer calls a function with all that is written.
type writer func([]byte)

func (w writer) Write(p []byte) (int, error) {
	if len(p) > 0 {
		w(p)
	}
	return len(p), nil
}
