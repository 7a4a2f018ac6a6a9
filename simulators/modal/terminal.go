package modal

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/creack/pty"
)

// startInTerminal starts a process as the leader of a session whose terminal is a new one. What is read from the terminal is
// all of the process's output, and the echo of its input.
func startInTerminal(cmd *exec.Cmd, c Container) (*streams, error) {
	size := &pty.Winsize{Rows: c.PTY.Rows, Cols: c.PTY.Cols}
	terminal, err := pty.StartWithAttrs(cmd, size, &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL})
	if err != nil {
		return nil, err
	}
	s := &streams{input: terminal}
	// Reading fails once no process has the terminal any more: that is its end.
	s.outputs.Go(func() { _, _ = io.Copy(c.Stdout, terminal) })
	go typeIn(terminal, c.Stdin)
	return s, nil
}

// endOfInput as it is typed: Ctrl-D.
const endOfInput = "\x04"

// typeIn types the input at a terminal, and its end. Within a line the first Ctrl-D ends that line only.
func typeIn(terminal io.Writer, input io.Reader) {
	buffer, last := make([]byte, 4096), byte('\n')
	for {
		n, err := input.Read(buffer)
		if n > 0 {
			last = buffer[n-1]
			if _, err := terminal.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			break
		}
	}
	end := endOfInput
	if !strings.ContainsRune("\n\r"+endOfInput, rune(last)) {
		end += endOfInput
	}
	_, _ = io.WriteString(terminal, end)
}

// killSession kills all processes of a session, whatever their group: a shell with job control makes one for each job.
func killSession(leader int) {
	killGroup(leader)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		if text, err := os.ReadFile(path); err == nil && sessionOf(string(text)) == leader {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}

// sessionOf a process by its /proc/PID/stat, proc(5): the name in parentheses may hold anything, and after it come the
// state, the parent, the group and the session.
func sessionOf(stat string) int {
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	if len(fields) < 4 {
		return -1
	}
	session, err := strconv.Atoi(fields[3])
	if err != nil {
		return -1
	}
	return session
}
