package modal_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	clocktesting "k8s.io/utils/clock/testing"

	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

func TestLogsAreStreamedByFileDescriptorToTheEnd(t *testing.T) {
	t.Parallel()
	goOn := make(chan struct{})
	w := newWorld(t, modalsim.Options{Run: func(_ context.Context, c modalsim.Container) int {
		fmt.Fprint(c.Stdout, "out 1\n")
		fmt.Fprint(c.Stderr, "err 1\n")
		<-goOn
		fmt.Fprint(c.Stdout, "out 2\n")
		return 0
	}})
	sb := w.mustCreate(w.app("ci"))
	line := make([]byte, 6)
	w.Expect(io.ReadFull(sb.Stdout, line)).To(Equal(6))
	w.Expect(string(line)).To(Equal("out 1\n"))
	close(goOn)
	w.Expect(io.ReadAll(sb.Stdout)).To(BeEquivalentTo("out 2\n"))
	w.Expect(io.ReadAll(sb.Stderr)).To(BeEquivalentTo("err 1\n"))
	w.Expect(w.server.Logs(sb.SandboxID)).To(Equal("out 1\nerr 1\nout 2\n"))
}

func TestLogsAreReadOverManyWindows(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	w := newWorld(t, modalsim.Options{Window: 20 * time.Millisecond, Run: func(_ context.Context, c modalsim.Container) int {
		for i := range 3 {
			<-next
			fmt.Fprintf(c.Stdout, "line %d\n", i)
		}
		return 0
	}})
	sb := w.mustCreate(w.app("ci"))
	lines := bufio.NewReader(sb.Stdout)
	for i := range 3 {
		calls := w.server.CallCount("SandboxGetLogs")
		read := make(chan string)
		go func() {
			line, _ := lines.ReadString('\n')
			read <- line
		}()
		w.Eventually(func() int { return w.server.CallCount("SandboxGetLogs") }).Should(BeNumerically(">", calls+1))
		next <- struct{}{}
		w.Eventually(read).Should(Receive(Equal(fmt.Sprintf("line %d\n", i))))
	}
	w.Expect(sb.Wait(w.ctx)).To(Equal(0))
}

func TestLogsSplitNoCharacters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{Run: func(_ context.Context, c modalsim.Container) int {
		for _, b := range []byte("añ😀z\xff!\xf0\x9f") {
			_, _ = c.Stdout.Write([]byte{b})
		}
		return 0
	}})
	sb := w.mustCreate(w.app("ci"))
	w.Expect(io.ReadAll(sb.Stdout)).To(BeEquivalentTo("añ😀z\uFFFD!\uFFFD"))
}

func TestLogsResumeAfterTheLastEntryAndWindowsEnd(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))
	w := newWorld(t, modalsim.Options{Clock: fake, Run: func(ctx context.Context, c modalsim.Container) int {
		for i := range 3 {
			fmt.Fprintf(c.Stdout, "line %d\n", i)
		}
		<-ctx.Done()
		return 0
	}})
	sb := w.mustCreate(w.app("ci"))
	w.Eventually(func() string { return w.server.Logs(sb.SandboxID) }).Should(HaveSuffix("line 2\n"))
	read := func(last string) (batches []*pb.TaskLogsBatch, err error) {
		stream, err := w.streaming().SandboxGetLogs(w.ctx, pb.SandboxGetLogsRequest_builder{
			SandboxId: sb.SandboxID, FileDescriptor: pb.FileDescriptor_FILE_DESCRIPTOR_STDOUT, LastEntryId: last, Timeout: 55,
		}.Build())
		w.Expect(err).NotTo(HaveOccurred())
		for {
			batch, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return batches, nil
			}
			if err != nil {
				return nil, err
			}
			batches = append(batches, batch)
		}
	}
	text := func(batches []*pb.TaskLogsBatch) string {
		var all strings.Builder
		for _, batch := range batches {
			for _, item := range batch.GetItems() {
				all.WriteString(item.GetData())
			}
		}
		return all.String()
	}
	done := make(chan []*pb.TaskLogsBatch, 1)
	go func() {
		batches, _ := read("2-0")
		done <- batches
	}()
	var window []*pb.TaskLogsBatch
	w.Eventually(func() <-chan []*pb.TaskLogsBatch { fake.Step(5 * time.Second); return done }).Should(Receive(&window))
	w.Expect(text(window)).To(Equal("line 2\n"))
	w.Expect(window[len(window)-1].GetEof()).To(BeFalse(), "the window is over, the log is not")

	w.Expect(sb.Terminate(w.ctx, nil)).To(Equal(0))
	rest, err := read("0-0")
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(text(rest)).To(Equal("line 0\nline 1\nline 2\n"))
	w.Expect(rest[len(rest)-1].GetEof()).To(BeTrue())
	_, err = read("garbage")
	w.Expect(status.Code(err)).To(Equal(codes.InvalidArgument))
}
