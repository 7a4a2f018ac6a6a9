package modal_test

import (
	"io"
	"testing"
	"time"

	sdk "github.com/modal-labs/libmodal/modal-go"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	clocktesting "k8s.io/utils/clock/testing"

	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

func TestExecRunsACommandInTheSandbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{Exec: modalsim.Process(asIs)})
	sb := w.mustCreate(w.app("ci"), func(p *sdk.SandboxCreateParams) { p.Env = map[string]string{"A": "sandbox", "B": "sandbox"} })
	run, err := sb.Exec(w.ctx, []string{"sh", "-c", "cat; echo $A $B >&2; exit 6"}, &sdk.SandboxExecParams{Env: map[string]string{"B": "exec"}})
	w.Expect(err).NotTo(HaveOccurred())
	_, err = run.Stdin.Write([]byte("hello "))
	w.Expect(err).NotTo(HaveOccurred())
	_, err = run.Stdin.Write([]byte("world"))
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(run.Stdin.Close()).To(Succeed())
	w.Expect(io.ReadAll(run.Stdout)).To(BeEquivalentTo("hello world"))
	w.Expect(io.ReadAll(run.Stderr)).To(BeEquivalentTo("sandbox exec\n"))
	w.Expect(run.Wait(w.ctx)).To(Equal(6))

	missing, err := sb.Exec(w.ctx, []string{"nonesuch"}, nil)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(missing.Wait(w.ctx)).To(Equal(127))
}

func TestExecDiesWithTheSandbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{Exec: modalsim.Process(asIs)})
	sb := w.mustCreate(w.app("ci"))
	run, err := sb.Exec(w.ctx, []string{"sleep", "1000"}, nil)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(w.server.FinishOutOfMemory(sb.SandboxID)).To(BeTrue())
	w.Expect(run.Wait(w.ctx)).To(Equal(137))
	_, err = sb.Exec(w.ctx, []string{"true"}, nil)
	w.Expect(status.Code(err)).To(Equal(codes.FailedPrecondition))
	again, err := w.client.Sandboxes.FromID(w.ctx, sb.SandboxID)
	w.Expect(err).NotTo(HaveOccurred())
	_, err = again.Exec(w.ctx, []string{"true"}, nil)
	w.Expect(err).To(MatchError(ContainSubstring("already completed")))
}

func TestExecIsActivityThatKeepsAnIdleSandbox(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))
	w := newWorld(t, modalsim.Options{Clock: fake, Exec: exitWith(0)})
	sb := w.mustCreate(w.app("ci"), func(p *sdk.SandboxCreateParams) { p.IdleTimeout = time.Minute })
	fake.Step(40 * time.Second)
	run, err := sb.Exec(w.ctx, []string{"true"}, nil)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(run.Wait(w.ctx)).To(Equal(0))
	fake.Step(40 * time.Second)
	w.Expect(sb.Poll(w.ctx)).To(BeNil())
	fake.Step(20 * time.Second)
	w.Expect(sb.Poll(w.ctx)).NotTo(BeNil())
}
