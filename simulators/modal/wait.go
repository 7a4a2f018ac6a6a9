package modal

import (
	"context"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc/status"
)

// SandboxWait gives the result of a sandbox, or none when it is alive still at the end of the timeout. A timeout of 0
// answers at once.
func (c *control) SandboxWait(ctx context.Context, req *pb.SandboxWaitRequest) (*pb.SandboxWaitResponse, error) {
	c.mu.Lock()
	sb, err := c.find(req.GetSandboxId())
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if req.GetTimeout() < 0 {
		return nil, invalid("timeout must be non-negative")
	}
	window, stop := c.window(req.GetTimeout())
	defer stop()
	select {
	case <-sb.done:
	case <-window:
		c.timeline.settle()
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return pb.SandboxWaitResponse_builder{Result: sb.result}.Build(), nil
}

// killPatience is how long, by the real clock, a killed RunFunc is waited for.
const killPatience = 5 * time.Second

// SandboxTerminate ends a sandbox, and answers when its process is gone. One that has finished keeps its result, which is
// told.
func (c *control) SandboxTerminate(ctx context.Context, req *pb.SandboxTerminateRequest) (*pb.SandboxTerminateResponse, error) {
	c.mu.Lock()
	sb, err := c.find(req.GetSandboxId())
	if err != nil {
		c.mu.Unlock()
		return nil, err
	}
	existing := sb.result
	terminate := func() { c.finish(sb, resultOf(pb.GenericResult_GENERIC_STATUS_TERMINATED, 137, "")) }
	if delay := c.options.TerminateDelay; delay > 0 && existing == nil {
		c.later(sb, delay, terminate)
		c.mu.Unlock()
		return &pb.SandboxTerminateResponse{}, nil
	}
	if existing == nil {
		terminate()
	}
	c.mu.Unlock()
	select {
	case <-sb.gone:
	case <-ctx.Done():
	case <-time.After(killPatience):
		c.log.Warn("a killed sandbox goes on running", "sandbox", sb.id)
	}
	return pb.SandboxTerminateResponse_builder{ExistingResult: existing}.Build(), nil
}

// SandboxGetTaskId gives the task of a sandbox that was scheduled, or the result of one that has finished.
func (c *control) SandboxGetTaskId(_ context.Context, req *pb.SandboxGetTaskIdRequest) (*pb.SandboxGetTaskIdResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sb, err := c.find(req.GetSandboxId())
	if err != nil {
		return nil, err
	}
	answer := pb.SandboxGetTaskIdResponse_builder{TaskResult: sb.result}
	if sb.state == StateRunning {
		answer.TaskId = &sb.taskID
	}
	return answer.Build(), nil
}

// SandboxGetLogs streams what a sandbox wrote to one file descriptor, or to both, from the entry after the last one that
// the caller has seen. It ends with Eof, or without when its window is over; the SDK then asks again.
func (c *control) SandboxGetLogs(req *pb.SandboxGetLogsRequest, stream pb.ModalClient_SandboxGetLogsServer) error {
	c.mu.Lock()
	sb, err := c.find(req.GetSandboxId())
	c.mu.Unlock()
	if err != nil {
		return err
	}
	reader, err := sb.log.from(req.GetLastEntryId())
	if err != nil {
		return err
	}
	window, stop := c.window(req.GetTimeout())
	defer stop()
	for {
		entries, ended, err := reader.next(stream.Context(), window)
		switch {
		case err != nil:
			return err
		case ended:
			return stream.Send(pb.TaskLogsBatch_builder{TaskId: sb.taskID, EntryId: sb.log.lastID(), Eof: true}.Build())
		case len(entries) == 0:
			return nil
		}
		last := entries[len(entries)-1].id()
		entries = onlyOf(entries, req.GetFileDescriptor())
		if len(entries) == 0 {
			continue
		}
		batch := pb.TaskLogsBatch_builder{TaskId: sb.taskID, EntryId: last, Items: taskLogs(entries)}.Build()
		if err := stream.Send(batch); err != nil {
			return err
		}
	}
}

func onlyOf(entries []logEntry, fd pb.FileDescriptor) []logEntry {
	if fd == pb.FileDescriptor_FILE_DESCRIPTOR_UNSPECIFIED {
		return entries
	}
	var chosen []logEntry
	for _, entry := range entries {
		if entry.fd == fd {
			chosen = append(chosen, entry)
		}
	}
	return chosen
}
