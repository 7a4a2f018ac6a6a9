package modal_test

import (
	"bufio"
	"io"
	"strconv"
	"strings"
	"testing"

	sdk "github.com/modal-labs/libmodal/modal-go"
	. "github.com/onsi/gomega"

	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

const ctrlC, ctrlD = "\x03", "\x04"

// inTerminal executes a command in a new sandbox, with a terminal.
func (w *world) inTerminal(command ...string) *sdk.ContainerProcess {
	w.t.Helper()
	run, err := w.mustCreate(w.app("ci")).Exec(w.ctx, command, &sdk.SandboxExecParams{PTY: true})
	w.Expect(err).NotTo(HaveOccurred())
	return run
}

func (w *world) typeIn(run *sdk.ContainerProcess, text string) {
	w.t.Helper()
	_, err := run.Stdin.Write([]byte(text))
	w.Expect(err).NotTo(HaveOccurred())
}

func TestTerminalIsAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{Exec: modalsim.Process(asIs)})
	run := w.inTerminal("sh", "-c", "tty; stty size; echo $TERM $COLORTERM; echo oops >&2; exit 9")
	lines := strings.Split(string(must(io.ReadAll(run.Stdout))), "\r\n")
	w.Expect(lines).To(HaveExactElements(HavePrefix("/dev/pts/"), "24 80", "xterm-256color truecolor", "oops", ""))
	w.Expect(io.ReadAll(run.Stderr)).To(BeEmpty(), "all output is the terminal's")
	w.Expect(run.Wait(w.ctx)).To(Equal(9))

	plain, err := w.mustCreate(w.app("ci")).Exec(w.ctx, []string{"tty"}, nil)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(io.ReadAll(plain.Stdout)).To(BeEquivalentTo("not a tty\n"))
	w.Expect(plain.Wait(w.ctx)).To(Equal(1))
}

func TestTerminalEchoesItsInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{Exec: modalsim.Process(asIs)})
	run := w.inTerminal("cat")
	w.typeIn(run, "hello\n")
	lines := bufio.NewReader(run.Stdout)
	w.Expect(lines.ReadString('\n')).To(Equal("hello\r\n"), "the echo")
	w.Expect(lines.ReadString('\n')).To(Equal("hello\r\n"), "what cat says")
	w.typeIn(run, ctrlD)
	w.Expect(run.Wait(w.ctx)).To(Equal(0))
}

func TestClosedStdinIsTheEndOfATerminalsInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{Exec: modalsim.Process(asIs)})
	for _, text := range []string{"", "a line\n", "a line that has not ended"} {
		run := w.inTerminal("cat")
		if text != "" {
			w.typeIn(run, text)
		}
		w.Expect(run.Stdin.Close()).To(Succeed())
		w.Expect(io.ReadAll(run.Stdout)).To(ContainSubstring(strings.TrimSpace(text)))
		w.Expect(run.Wait(w.ctx)).To(Equal(0))
	}
}

func TestCtrlCInterrupts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{Exec: modalsim.Process(asIs)})
	run := w.inTerminal("sleep", "1000")
	w.typeIn(run, ctrlC)
	w.Expect(io.ReadAll(run.Stdout)).To(BeEquivalentTo("^C"))
	w.Expect(run.Wait(w.ctx)).To(Equal(130), "128 and SIGINT")
}

func TestJobsOfATerminalEndWithIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{Exec: modalsim.Process(asIs)})
	// With job control the job has a process group of its own, and it does not mind that the terminal hangs up.
	run := w.inTerminal("bash", "-c", "set -m; (trap '' HUP; exec sleep 1000) & echo job $!; read line")
	line, err := bufio.NewReader(run.Stdout).ReadString('\n')
	w.Expect(err).NotTo(HaveOccurred())
	job, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "job ")))
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(gone(job)).To(BeFalse())
	w.typeIn(run, "go on\n")
	w.Expect(run.Wait(w.ctx)).To(Equal(0))
	w.Eventually(func() bool { return gone(job) }).Should(BeTrue())
}

func TestSandboxMayHaveATerminalItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{Run: modalsim.Process(asIs), Exec: modalsim.Process(asIs)})
	sb := w.mustCreate(w.app("ci"), command("sh", "-c", "stty size; read line; echo said $line >&2; exit 5"),
		func(p *sdk.SandboxCreateParams) { p.PTY = true })
	run, err := sb.Exec(w.ctx, []string{"tty"}, nil)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(run.Wait(w.ctx)).To(Equal(1), "it is the command's own")
	_, err = sb.Stdin.Write([]byte("hi\n"))
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(sb.Wait(w.ctx)).To(Equal(5))
	w.Expect(w.server.Logs(sb.SandboxID)).To(And(ContainSubstring("24 80\r\n"), HaveSuffix("said hi\r\n")))
	w.Expect(io.ReadAll(sb.Stderr)).To(BeEmpty())
}
