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
// image. It leads a process group of its own, which is killed whole when the sandbox is killed, when the process ends (a
// container ends with its first process), and when this program dies. Its environment is that of the container with a
// PATH and a HOME; nothing of this program's own is in it. It starts in an empty directory of its own, removed
// afterwards, unless Container.Workdir exists on this machine. An empty path from resolve is a program that is missing:
// exit code 127.
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
		cmd.Env = processEnv(c.Env, home)
		cmd.Dir = home
		if info, err := os.Stat(c.Workdir); err == nil && info.IsDir() && c.Workdir != "/" {
			cmd.Dir = c.Workdir
		}
		cmd.Stdin = c.Stdin
		return runProcess(ctx, cmd, c.Stdout, c.Stderr)
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

func runProcess(ctx context.Context, cmd *exec.Cmd, stdout, stderr io.Writer) int {
	// The kernel kills the process when the thread that started it ends: keep that thread for as long as it runs.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var copying sync.WaitGroup
	closeOut, err := capture(&cmd.Stdout, stdout, &copying)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 126
	}
	closeErr, err := capture(&cmd.Stderr, stderr, &copying)
	if err == nil && ctx.Err() == nil {
		err = cmd.Start()
	}
	closeOut()
	closeErr()
	if err != nil || cmd.Process == nil {
		copying.Wait()
		fmt.Fprintln(stderr, err)
		return 126
	}
	group := cmd.Process.Pid
	ended := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
			_ = syscall.Kill(-group, syscall.SIGKILL)
		case <-ended:
		}
	}()
	err = cmd.Wait()
	close(ended)
	_ = syscall.Kill(-group, syscall.SIGKILL)
	copying.Wait()
	return exitCode(err)
}

// capture an output of a process through a pipe, so that waiting for the process does not wait for what it left behind.
// The closer is to be called once the process has started.
func capture(target *io.Writer, to io.Writer, copying *sync.WaitGroup) (closeWriter func(), err error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return func() {}, err
	}
	*target = writer
	copying.Go(func() {
		defer func() { _ = reader.Close() }()
		_, _ = io.Copy(to, reader)
	})
	return func() { _ = writer.Close() }, nil
}

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
