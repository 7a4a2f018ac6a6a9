package modal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
)

// Process runs what resolve gives as a real process of this machine, as a stand-in for what the command would run in the
// image. It leads a process group of its own, or the session of its terminal, which is killed whole when the sandbox is
// killed, when the process ends (a container ends with its first process), and when this program dies. Its environment is
// that of the container with a PATH and a HOME, its volumes where they are on this machine; nothing of this program's own is
// in it. It starts in an empty directory of its own, removed afterwards, unless Container.Workdir exists on this machine. An
// empty path from resolve is a program that is missing: exit code 127.
func Process(resolve func(Container) (path string, args []string)) RunFunc {
	return func(ctx context.Context, c Container) int {
		path, args := resolve(c)
		if path == "" {
			fmt.Fprintf(c.Stderr, "%s: not found\n", c.Command[0])
			return 127
		}
		home, err := os.MkdirTemp("", "sandbox-")
		if err != nil {
			fmt.Fprintln(c.Stderr, err)
			return 126
		}
		defer func() { _ = os.RemoveAll(home) }()
		cmd := exec.Command(path, args...)
		cmd.Env = processEnv(c.EnvHere(), home)
		cmd.Dir = home
		if info, err := os.Stat(c.Workdir); err == nil && info.IsDir() && c.Workdir != "/" {
			cmd.Dir = c.Workdir
		}
		return runProcess(ctx, cmd, c)
	}
}

func processEnv(env map[string]string, home string) []string {
	merged := map[string]string{"PATH": defaultPath, "HOME": home, "LANG": "C.UTF-8"}
	maps.Copy(merged, env)
	var list []string
	for _, name := range slices.Sorted(maps.Keys(merged)) {
		list = append(list, name+"="+merged[name])
	}
	return list
}

func runProcess(ctx context.Context, cmd *exec.Cmd, c Container) int {
	// The kernel kills the process when the thread that started it ends: keep that thread for as long as it runs.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if ctx.Err() != nil {
		return 137
	}
	start, kill := startWithPipes, killGroup
	if c.PTY != nil {
		start, kill = startInTerminal, killSession
	}
	streams, err := start(cmd, c)
	if err != nil {
		fmt.Fprintln(c.Stderr, err)
		return 126
	}
	leader := cmd.Process.Pid
	ended := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
			kill(leader)
		case <-ended:
		}
	}()
	err = cmd.Wait()
	close(ended)
	kill(leader)
	streams.outputs.Wait()
	_ = streams.input.Close()
	return exitCode(err)
}

// streams are this program's ends of a process's own.
type streams struct {
	// outputs are copied until the process, and all that it left behind, have closed them.
	outputs sync.WaitGroup
	// input ends with the process, however much of it is still to come.
	input io.Closer
}

// startWithPipes starts a process with a pipe for each stream, so that waiting for it does not wait for what it left
// behind, nor for its input to end.
func startWithPipes(cmd *exec.Cmd, c Container) (*streams, error) {
	var ours, theirs [3]*os.File
	defer func() { closeAll(theirs[:]) }()
	for i := range ours {
		reader, writer, err := os.Pipe()
		if err != nil {
			closeAll(ours[:])
			return nil, err
		}
		ours[i], theirs[i] = reader, writer
	}
	ours[0], theirs[0] = theirs[0], ours[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		closeAll(ours[:])
		return nil, err
	}
	s := &streams{input: ours[0]}
	for output, to := range map[*os.File]io.Writer{ours[1]: c.Stdout, ours[2]: c.Stderr} {
		s.outputs.Go(func() {
			_, _ = io.Copy(to, output)
			_ = output.Close()
		})
	}
	go func() {
		_, _ = io.Copy(ours[0], c.Stdin)
		_ = ours[0].Close()
	}()
	return s, nil
}

func closeAll(files []*os.File) {
	for _, file := range files {
		_ = file.Close()
	}
}

func killGroup(leader int) { _ = syscall.Kill(-leader, syscall.SIGKILL) }

// exitCode as a shell tells it: 128 and the signal for a process that was killed.
func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &exit):
		return 126
	}
	if wait, ok := exit.Sys().(syscall.WaitStatus); ok && wait.Signaled() {
		return 128 + int(wait.Signal())
	}
	return exit.ExitCode()
}
