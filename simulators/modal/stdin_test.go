package modal_test

import (
	"io"
	"testing"
	"time"

	sdk "github.com/modal-labs/libmodal/modal-go"
	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	clocktesting "k8s.io/utils/clock/testing"

	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

func TestSandboxReadsItsStdin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{Run: modalsim.Process(asIs)})
	sb := w.mustCreate(w.app("ci"), command("cat"))
	for _, text := range []string{"this is mirrored", " by cat"} {
		_, err := sb.Stdin.Write([]byte(text))
		w.Expect(err).NotTo(HaveOccurred())
	}
	w.Expect(sb.Poll(w.ctx)).To(BeNil(), "its stdin is open")
	w.Expect(sb.Stdin.Close()).To(Succeed())
	w.Expect(io.ReadAll(sb.Stdout)).To(BeEquivalentTo("this is mirrored by cat"))
	w.Expect(sb.Wait(w.ctx)).To(Equal(0))
	_, err := sb.Stdin.Write([]byte("more"))
	w.Expect(status.Code(err)).To(Equal(codes.FailedPrecondition))
}

func TestProcessEndsThoughItsStdinIsOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{Run: modalsim.Process(asIs), Exec: modalsim.Process(asIs)})
	app := w.app("ci")
	w.Expect(w.mustCreate(app, command("true")).Wait(w.ctx)).To(Equal(0))
	sb := w.mustCreate(app)
	run, err := sb.Exec(w.ctx, []string{"sh", "-c", "exit 3"}, nil)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(run.Wait(w.ctx)).To(Equal(3))
	deaf, err := sb.Exec(w.ctx, []string{"sleep", "1000"}, nil)
	w.Expect(err).NotTo(HaveOccurred())
	_, err = deaf.Stdin.Write(make([]byte, 1<<20))
	w.Expect(err).NotTo(HaveOccurred(), "more than a pipe holds")
	w.Expect(sb.Terminate(w.ctx, nil)).To(Equal(0))
}

func TestStdinMessagesCountOnceAndInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{Run: modalsim.Process(asIs)})
	sb := w.mustCreate(w.app("ci"), command("cat"))
	raw := w.authenticated()
	write := func(number uint32, text string, eof bool) codes.Code {
		_, err := raw.SandboxStdinWrite(w.ctx, pb.SandboxStdinWriteRequest_builder{
			SandboxId: sb.SandboxID, Index: number, Input: []byte(text), Eof: eof,
		}.Build())
		return status.Code(err)
	}
	w.Expect(write(0, "zero", false)).To(Equal(codes.InvalidArgument))
	w.Expect(write(1, "one ", false)).To(Equal(codes.OK))
	w.Expect(write(1, "one ", false)).To(Equal(codes.OK), "a retry")
	w.Expect(write(1, "another", false)).To(Equal(codes.FailedPrecondition), "a second writer")
	w.Expect(write(3, "three", false)).To(Equal(codes.FailedPrecondition), "a gap")
	w.Expect(write(2, "two", true)).To(Equal(codes.OK))
	w.Eventually(w.poll(sb)).ShouldNot(BeNil())
	w.Expect(w.server.Logs(sb.SandboxID)).To(Equal("one two"))
	w.Expect(write(2, "two", true)).To(Equal(codes.FailedPrecondition), "it has finished")
}

func TestClosedStdinTakesNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	sb := w.mustCreate(w.app("ci"))
	w.Expect(sb.Stdin.Close()).To(Succeed())
	raw := w.authenticated()
	_, err := raw.SandboxStdinWrite(w.ctx, pb.SandboxStdinWriteRequest_builder{SandboxId: sb.SandboxID, Index: 2}.Build())
	w.Expect(status.Code(err)).To(Equal(codes.FailedPrecondition))
	_, err = raw.SandboxStdinWrite(w.ctx, pb.SandboxStdinWriteRequest_builder{SandboxId: "sb-none", Index: 1}.Build())
	w.Expect(status.Code(err)).To(Equal(codes.NotFound))
}

func TestWritingToStdinIsActivity(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))
	w := newWorld(t, modalsim.Options{Clock: fake})
	sb := w.mustCreate(w.app("ci"), func(p *sdk.SandboxCreateParams) { p.IdleTimeout = time.Minute })
	for range 3 {
		fake.Step(50 * time.Second)
		_, err := sb.Stdin.Write([]byte("x"))
		w.Expect(err).NotTo(HaveOccurred())
	}
	fake.Step(time.Minute)
	w.Expect(sb.Poll(w.ctx)).NotTo(BeNil())
	w.Expect(w.lastResult().GetStatus()).To(Equal(pb.GenericResult_GENERIC_STATUS_IDLE_TIMEOUT))
}
