package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	. "github.com/onsi/gomega"
	"golang.org/x/term"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/test/stack"
)

// pluginFolder with the plugin, built once, for the PATH of kubectl.
var pluginFolder = sync.OnceValues(func() (string, error) {
	root, err := stack.Root()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(filepath.Dir(binary), "plugin")
	build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(folder, "kubectl-modalrunner"), "./cmd/kubectl-modalrunner")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the plugin: %w\n%s", err, out)
	}
	return folder, nil
})

// pluginCommand is kubectl modalrunner as a user calls it.
func (w *world) pluginCommand(command string, args ...string) *exec.Cmd {
	w.t.Helper()
	folder, err := pluginFolder()
	w.Expect(err).NotTo(HaveOccurred())
	cmd := exec.CommandContext(w.ctx, plane.Kubectl, append([]string{"modalrunner", command, "-n", w.namespace}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+folder+":"+os.Getenv("PATH"), "KUBECONFIG="+plane.Kubeconfig, "MODAL_SERVER_URL="+w.modal.URL())
	return cmd
}

// said is what the plugin wrote, and its exit code.
type said struct {
	out, err string
	code     int
}

func (w *world) plugin(input, command string, args ...string) said {
	w.t.Helper()
	cmd := w.pluginCommand(command, args...)
	var out, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.Expect(err).NotTo(HaveOccurred())
	}
	return said{out: out.String(), err: stderr.String(), code: cmd.ProcessState.ExitCode()}
}

// pluginOut is what the plugin wrote when all went well.
func (w *world) pluginOut(command string, args ...string) string {
	w.t.Helper()
	s := w.plugin("", command, args...)
	w.Expect(s.code).To(BeZero(), "%s %v: %s%s", command, args, s.out, s.err)
	return s.out
}

func TestPluginTellsWhatPoolsDoAndFollowsLogs(t *testing.T) {
	w := newWorld(t)
	w.awaitReady(w.pool("p", 1))
	first := w.queue("first", "sleep 600")
	w.awaitPhases(v1alpha1.RunnerRunning)
	w.queue("second", "sleep 600")
	w.Eventually(func() string { return w.pluginOut("queue") }).Should(MatchRegexp(`job-\w*-?\d+ +p +octo/widgets +second .*PoolFull +all 1 places are taken .*number 1 in line`))
	w.Expect(w.pluginOut("queue", "p", "-o", "json")).To(ContainSubstring(`"reason": "PoolFull"`))
	w.Eventually(func() string { return w.pluginOut("status") }).Should(MatchRegexp(`p +True +Ready +1 +0 +0 +1 +1`))
	w.Eventually(func() string { return w.pluginOut("status", "p") }).Should(And(
		ContainSubstring("Slots:  1 of 1: 1 running"), MatchRegexp(`p-0 +Running .*octo/widgets first \(\d+\) +sb-`), ContainSubstring("GitHubReady")))
	w.Expect(w.pluginOut("status", "p", "-o", "yaml")).To(And(ContainSubstring("kind: RunnerPool"), ContainSubstring("kind: WorkflowJob")))
	w.Expect(w.pluginOut("top")).To(MatchRegexp(`p-0 +p +Running +octo/widgets first`))

	follow := w.pluginCommand("logs", "-f", "p-0")
	var log stack.Buffer
	follow.Stdout, follow.Stderr = &log, &log
	w.Expect(follow.Start()).To(Succeed())
	w.Eventually(log.String).Should(ContainSubstring("Running job: first"))
	w.Expect(w.pluginOut("logs", "p-0", "--tail=1")).To(Equal("Running job: first\n"))
	w.github.CancelJob(first)
	w.Expect(follow.Wait()).To(Succeed(), log.String())
	w.Expect(log.String()).To(ContainSubstring("Job first completed with result"))
	// Its Runner is gone, or another: the job knows its sandbox.
	w.Eventually(func() string { return w.plugin("", "logs", fmt.Sprint(first)).out }).Should(MatchRegexp(`Job first completed with result: \w+\n$`))
}

func TestPluginExecutesInASandbox(t *testing.T) {
	w := newWorld(t)
	w.pool("p", 1, minIdle(1))
	w.awaitPhases(v1alpha1.RunnerIdle)
	w.Expect(w.plugin("hi\n", "exec", "-i", "p-0", "--", "cat")).To(Equal(said{out: "hi\n"}))
	w.Expect(w.plugin("ignored", "exec", "p-0", "--", "sh", "-c", "cat; echo out; echo err >&2; exit 3")).To(Equal(said{out: "out\n", err: "err\n", code: 3}))
	w.Expect(w.plugin("", "exec", "p-0", "--", "no-such-program").code).To(Equal(127))
	large := strings.Repeat("0123456789abcdef\n", 1<<16)
	w.Expect(w.plugin(large, "exec", "-i", "p-0", "--", "cat").out == large).To(BeTrue(), "a megabyte comes back as it was sent")
	w.Expect(w.plugin("", "exec", "nobody", "--", "true").err).To(ContainSubstring("no Runner and no job nobody"))

	terminal := w.terminal(33, 101, "exec", "-it", "p-0", "--", "bash", "--norc")
	terminal.types("tty; stty size\n")
	w.Eventually(terminal.String).Should(And(ContainSubstring("/dev/pts/"), MatchRegexp(`(?m)^33 101\r?$`)))
	w.Expect(terminal.raw()).To(BeTrue(), "the local terminal passes all keys on")
	terminal.types("sh -c 'echo begun-$((1+1)); exec sleep 600'\n")
	w.Eventually(terminal.String).Should(ContainSubstring("begun-2"))
	terminal.types("\x03")
	w.Eventually(terminal.String).Should(ContainSubstring("^C"))
	terminal.types("echo code:$?\n")
	w.Eventually(terminal.String).Should(MatchRegexp(`code:130`))
	terminal.types("exit 7\n")
	w.Expect(terminal.wait()).To(Equal(7))
	w.Expect(terminal.raw()).To(BeFalse(), "the local terminal is as it was")
}

func TestPluginRestoresTheTerminalWhenItIsKilled(t *testing.T) {
	w := newWorld(t)
	w.pool("p", 1, minIdle(1))
	w.awaitPhases(v1alpha1.RunnerIdle)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		terminal := w.terminal(24, 80, "exec", "-it", "p-0", "--", "sh", "-c", "echo begun; exec sleep 600")
		w.Eventually(terminal.String).Should(ContainSubstring("begun"))
		w.Expect(terminal.raw()).To(BeTrue())
		w.Expect(terminal.cmd.Process.Signal(signal)).To(Succeed())
		w.Expect(terminal.wait()).To(Equal(130))
		w.Expect(terminal.raw()).To(BeFalse(), "after %s", signal)
	}
	// Watching redraws in a terminal.
	terminal := w.terminal(24, 80, "status", "--watch")
	w.Eventually(terminal.String).Should(MatchRegexp(`(?s)\x1b\[2J\x1b\[HPOOL.*\x1b\[HPOOL`))
	terminal.types("\x03")
	w.Expect(terminal.wait()).To(Equal(130))
}

func TestPluginDrainsRestartsAndSuspends(t *testing.T) {
	w := newWorld(t, givingUpAfter(5*time.Second))
	w.awaitReady(w.pool("p", 1))
	first := w.queue("first", "sleep 600")
	w.awaitPhases(v1alpha1.RunnerRunning)
	drained := w.plugin("", "drain", "p", "--timeout=2s")
	w.Expect(drained.code).To(Equal(1))
	w.Expect(drained.out).To(ContainSubstring("runnerpool/p suspended"))
	w.Expect(drained.err).To(ContainSubstring("not done after 2s: p-0 "))
	w.Expect(w.conclusion(first)()).To(BeEmpty())
	second := w.queue("second")
	w.Eventually(func() string { return w.pluginOut("queue") }).Should(MatchRegexp(`second .*Suspended +the pool is suspended: kubectl modalrunner resume p`))

	w.Expect(w.plugin("n\n", "restart", "p-0", "--force").err).To(And(ContainSubstring("[y/N]"), ContainSubstring("nothing was done")))
	w.Expect(w.pluginOut("restart", "p-0")).To(ContainSubstring("is replaced when its job is over"))
	w.Expect(w.plugin("y\n", "restart", "p-0", "--force").code).To(BeZero())
	w.Eventually(func() int { return len(w.modal.Alive(nil)) }).Should(BeZero())
	w.Expect(w.pluginOut("drain", "pool/p")).To(ContainSubstring("done"))
	w.awaitAll([]int64{first}, "failure")
	w.Expect(w.conclusion(second)()).To(BeEmpty())

	w.Expect(w.pluginOut("resume", "p")).To(ContainSubstring("runnerpool/p resumed"))
	w.awaitAll([]int64{second}, "success")
	w.Expect(w.pluginOut("suspend", "rp/p")).To(ContainSubstring("runnerpool/p suspended"))
	w.Expect(w.pluginOut("suspend", "p")).To(ContainSubstring("already"))
	w.awaitNothingLeft()
}

func TestPluginDrainsARunner(t *testing.T) {
	w := newWorld(t)
	w.pool("p", 1, minIdle(1))
	w.awaitPhases(v1alpha1.RunnerIdle)
	before := w.runners()[0].UID
	w.Expect(w.pluginOut("drain", "p-0")).To(ContainSubstring("done"))
	w.Eventually(func() bool { r := w.runners(); return len(r) == 1 && r[0].UID != before }).Should(BeTrue())
}

// The role is that of the documentation.
func TestPluginNeedsTheRightsThatTheDocsName(t *testing.T) {
	w := newWorld(t)
	w.awaitReady(w.pool("p", 1, minIdle(1)))
	w.awaitPhases(v1alpha1.RunnerIdle)
	as := func(command string, args ...string) said {
		return w.plugin("", command, append([]string{"--as=dev"}, args...)...)
	}
	w.Expect(as("status").err).To(And(ContainSubstring(`User "dev" cannot list resource "runnerpools"`), ContainSubstring("docs/plugin.md lists the rights")))
	role := w.documentedRole()
	console := role.Rules[len(role.Rules)-1]
	role.Rules = role.Rules[:len(role.Rules)-1]
	w.Expect(plane.Client.Create(w.ctx, role)).To(Succeed())
	w.Expect(plane.Client.Create(w.ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "dev"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "dev"}},
	})).To(Succeed())
	w.Eventually(func() int { return as("status").code }).Should(BeZero())
	for _, command := range [][]string{{"logs", "p-0"}, {"exec", "p-0", "--", "true"}} {
		refused := as(command[0], command[1:]...)
		w.Expect(refused.code).To(Equal(1))
		w.Expect(refused.err).To(ContainSubstring("you may not read Secret " + w.namespace + "/modal"))
		w.Expect(refused.err).To(ContainSubstring("create role modal-console --verb=get --resource=secrets --resource-name=modal"))
	}
	role.Rules = append(role.Rules, console)
	w.Expect(plane.Client.Update(w.ctx, role)).To(Succeed())
	w.Eventually(func() said { return as("exec", "p-0", "--", "echo", "in") }).Should(Equal(said{out: "in\n"}))
	for _, command := range [][]string{
		{"status", "p"}, {"queue"}, {"queue", "p"}, {"top"}, {"logs", "p-0"}, {"restart", "p-0", "--force", "--yes"}, {"suspend", "p"}, {"drain", "p"}, {"resume", "p"},
	} {
		s := as(command[0], command[1:]...)
		w.Expect(s.code).To(BeZero(), "%v: %s", command, s.err)
	}
	w.awaitPhases(v1alpha1.RunnerIdle)
	w.Expect(as("drain", "p-0").err).NotTo(ContainSubstring("error"))
}

// documentedRole is the first manifest of docs/plugin.md.
func (w *world) documentedRole() *rbacv1.Role {
	root, err := stack.Root()
	w.Expect(err).NotTo(HaveOccurred())
	text, err := os.ReadFile(filepath.Join(root, "docs", "plugin.md"))
	w.Expect(err).NotTo(HaveOccurred())
	_, manifest, _ := strings.Cut(string(text), "```yaml\n")
	manifest, _, _ = strings.Cut(manifest, "```")
	var role rbacv1.Role
	w.Expect(yaml.UnmarshalStrict([]byte(manifest), &role)).To(Succeed())
	role.Namespace = w.namespace
	return &role
}

func TestPluginCompletesNames(t *testing.T) {
	w := newWorld(t)
	w.pool("p", 1, minIdle(1))
	w.awaitPhases(v1alpha1.RunnerIdle)
	folder, err := pluginFolder()
	w.Expect(err).NotTo(HaveOccurred())
	for line, want := range map[string]string{
		"status": "p\tpool of ", "logs": "p-0\tRunner, Idle", "exec": "p-0\tRunner, Idle", "drain": "p\tpool of ", "suspend": "p\tpool of ", "restart": "p-0\tRunner",
	} {
		complete := exec.CommandContext(w.ctx, filepath.Join(folder, "kubectl-modalrunner"), "__complete", line, "-n", w.namespace, "")
		complete.Env = append(os.Environ(), "KUBECONFIG="+plane.Kubeconfig)
		out, err := complete.Output()
		w.Expect(err).NotTo(HaveOccurred())
		w.Expect(string(out)).To(ContainSubstring(want), line)
	}
}

// terminal of a user in which the plugin runs.
type terminal struct {
	stack.Buffer
	w         *world
	cmd       *exec.Cmd
	keys, tty *os.File
	cooked    *term.State
}

func (w *world) terminal(rows, columns uint16, command string, args ...string) *terminal {
	w.t.Helper()
	keys, tty, err := pty.Open()
	w.Expect(err).NotTo(HaveOccurred())
	w.t.Cleanup(func() { _, _ = tty.Close(), keys.Close() })
	w.Expect(pty.Setsize(keys, &pty.Winsize{Rows: rows, Cols: columns})).To(Succeed())
	t := &terminal{w: w, cmd: w.pluginCommand(command, args...), keys: keys, tty: tty}
	t.cooked, err = term.GetState(int(tty.Fd()))
	w.Expect(err).NotTo(HaveOccurred())
	t.cmd.Stdin, t.cmd.Stdout, t.cmd.Stderr = tty, tty, tty
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	w.Expect(t.cmd.Start()).To(Succeed())
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := keys.Read(buffer)
			_, _ = t.Write(buffer[:n])
			if err != nil {
				return
			}
		}
	}()
	return t
}

func (t *terminal) types(keys string) {
	_, err := t.keys.WriteString(keys)
	t.w.Expect(err).NotTo(HaveOccurred())
}

// raw says that the terminal is not as it was before.
func (t *terminal) raw() bool {
	state, err := term.GetState(int(t.tty.Fd()))
	t.w.Expect(err).NotTo(HaveOccurred())
	return *state != *t.cooked
}

// wait for the plugin to end, and give its exit code.
func (t *terminal) wait() int {
	t.w.t.Helper()
	ended, cancel := context.WithTimeout(t.w.ctx, patience)
	defer cancel()
	defer context.AfterFunc(ended, func() { _ = t.cmd.Process.Kill() })()
	_ = t.cmd.Wait()
	return t.cmd.ProcessState.ExitCode()
}
