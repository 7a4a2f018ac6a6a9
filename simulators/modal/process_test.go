package modal_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	sdk "github.com/modal-labs/libmodal/modal-go"
	. "github.com/onsi/gomega"

	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

// asIs runs a sandbox's command on this machine.
func asIs(c modalsim.Container) (string, []string) { return "/bin/" + c.Command[0], c.Command[1:] }

func TestProcessHasTheSandboxsEnvironmentOnly(t *testing.T) {
	t.Setenv("LEAKED", "yes")
	w := newWorld(t, modalsim.Options{Run: modalsim.Process(asIs)})
	sb := w.mustCreate(w.app("ci"), command("sh", "-c", "echo [$LEAKED] [$GIVEN] [$MODAL_SANDBOX_ID]; pwd; exit 5"),
		func(p *sdk.SandboxCreateParams) { p.Env = map[string]string{"GIVEN": "value"} })
	w.Expect(sb.Wait(w.ctx)).To(Equal(5))
	lines := strings.Split(w.server.Logs(sb.SandboxID), "\n")
	w.Expect(lines[0]).To(Equal("[] [value] [" + sb.SandboxID + "]"))
	w.Expect(lines[1]).NotTo(BeADirectory(), "its directory is removed")
}

func TestProcessIsKilledWithAllItsChildren(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pids")
	w := newWorld(t, modalsim.Options{Run: modalsim.Process(asIs)})
	app := w.app("ci")
	script := "sleep 1000 & echo $! >>" + pids + "; echo $$ >>" + pids + "; "
	killed := w.mustCreate(app, command("sh", "-c", script+"wait"))
	left := w.mustCreate(app, command("sh", "-c", script+"true"))
	w.Expect(left.Wait(w.ctx)).To(Equal(0), "what it left behind does not hold it up")
	read := func() []string { text, _ := os.ReadFile(pids); return strings.Fields(string(text)) }
	w.Eventually(read).Should(HaveLen(4))
	w.Expect(killed.Terminate(w.ctx, nil)).To(Equal(0))
	for _, text := range read() {
		pid, err := strconv.Atoi(text)
		w.Expect(err).NotTo(HaveOccurred())
		w.Eventually(func() bool { return gone(pid) }).Should(BeTrue(), "process %d", pid)
	}
}

// gone is whether a process has ended; one that nobody has waited for is a zombie.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) == syscall.ESRCH {
		return true
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestMissingProcessExitsWith127(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{Run: modalsim.Process(func(modalsim.Container) (string, []string) { return "", nil })})
	w.Expect(w.mustCreate(w.app("ci")).Wait(w.ctx)).To(Equal(127))
}
