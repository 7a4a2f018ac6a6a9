package modal_test

import (
	"io"
	"strings"
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

func TestExecIsPolledAndMayMergeItsOutputs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{Exec: modalsim.Process(asIs)})
	sb := w.mustCreate(w.app("ci"))
	seen, _ := w.server.Sandbox(sb.SandboxID)
	router := w.router(seen.TaskID)
	_, err := router.TaskExecStart(w.ctx, pb.TaskExecStartRequest_builder{
		TaskId: seen.TaskID, ExecId: "e", CommandArgs: []string{"sh", "-c", "echo 1; echo 2 >&2; echo 3; read line; exit 4"},
		StdoutConfig: pb.TaskExecStdoutConfig_TASK_EXEC_STDOUT_CONFIG_PIPE,
		StderrConfig: pb.TaskExecStderrConfig_TASK_EXEC_STDERR_CONFIG_STDOUT,
	}.Build())
	w.Expect(err).NotTo(HaveOccurred())
	poll := func() (*pb.TaskExecPollResponse, error) {
		return router.TaskExecPoll(w.ctx, pb.TaskExecPollRequest_builder{TaskId: seen.TaskID, ExecId: "e"}.Build())
	}
	w.Expect(must(poll()).HasExitStatus()).To(BeFalse())
	end := pb.TaskExecStdinWriteRequest_builder{TaskId: seen.TaskID, ExecId: "e", Eof: true}.Build()
	_, err = router.TaskExecStdinWrite(w.ctx, end)
	w.Expect(err).NotTo(HaveOccurred())
	w.Eventually(poll).Should(HaveField("GetCode()", BeEquivalentTo(4)))
	stream, err := router.TaskExecStdioRead(w.ctx, pb.TaskExecStdioReadRequest_builder{TaskId: seen.TaskID, ExecId: "e"}.Build())
	w.Expect(err).NotTo(HaveOccurred())
	var text strings.Builder
	for {
		batch, err := stream.Recv()
		if err != nil {
			break
		}
		text.Write(batch.GetData())
	}
	w.Expect(strings.Fields(text.String())).To(ConsistOf("1", "2", "3"))
	_, err = router.TaskExecPoll(w.ctx, pb.TaskExecPollRequest_builder{TaskId: seen.TaskID, ExecId: "none"}.Build())
	w.Expect(status.Code(err)).To(Equal(codes.NotFound))
}

func TestExecsAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{Exec: exitWith(0)})
	sb := w.mustCreate(w.app("ci"))
	for name, command := range map[string][]string{"empty": {""}, "none": {}, "null": {"echo", "a\x00b"}} {
		_, err := sb.Exec(w.ctx, command, nil)
		w.Expect(status.Code(err)).To(Equal(codes.InvalidArgument), name)
	}
	_, err := sb.Exec(w.ctx, []string{"pwd"}, &sdk.SandboxExecParams{Workdir: "relative"})
	w.Expect(status.Code(err)).To(Equal(codes.InvalidArgument))
}
