package modal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// router is the TaskCommandRouter service, through which the SDK executes commands inside a sandbox. At Modal each worker
// has its own; here it is on the same port. Source: task_command_router_client.go in the SDK.
type router struct {
	pb.UnimplementedTaskCommandRouterServer
	*Server
}

// execution of a command in a sandbox.
type execution struct {
	command               []string
	stdin, stdout, stderr *byteLog
	// killed and exit are set before done is closed.
	killed bool
	exit   int
	done   chan struct{}
}

func (e *execution) ended() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// end of a command that has ended: the exit code, or the signal that killed it.
func (e *execution) end() (code, signal *int32) {
	if e.killed {
		return nil, new(int32(syscall.SIGKILL))
	}
	return new(int32(e.exit)), nil
}

// maxChunk of a stream's message.
const maxChunk = 64 << 10

// TaskGetCommandRouterAccess gives the address and a JWT for the router of a sandbox's task. The SDK wants an https
// address; against a local server it speaks plaintext to it all the same.
func (c *control) TaskGetCommandRouterAccess(
	_ context.Context, req *pb.TaskGetCommandRouterAccessRequest,
) (*pb.TaskGetCommandRouterAccessResponse, error) {
	if _, err := c.runningTask(req.GetTaskId()); err != nil {
		return nil, err
	}
	return pb.TaskGetCommandRouterAccessResponse_builder{
		Jwt: c.tokens.seal("task", req.GetTaskId()), Url: strings.Replace(c.URL(), "http://", "https://", 1),
	}.Build(), nil
}

// executions in a sandbox so far, in no order.
func (s *Server) executions(sb *sandbox) []*execution {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(sb.execs))
}

// runningTask gives the sandbox of a task whose command runs.
func (s *Server) runningTask(id string) (*sandbox, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sb := s.tasks[id]
	if sb == nil {
		return nil, notFound("Task '%s' not found", id)
	}
	if sb.state != StateRunning {
		return nil, status.Errorf(codes.FailedPrecondition, "Task '%s' is not running", id)
	}
	return sb, nil
}

// task of a router's call: the one that the caller's JWT is for.
func (r *router) task(ctx context.Context, id string) (*sandbox, error) {
	allowed, err := r.tokens.checkTask(ctx)
	if err != nil {
		return nil, err
	}
	if id != allowed {
		return nil, status.Errorf(codes.PermissionDenied, "the token is not for task '%s'", id)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	sb := r.tasks[id]
	if sb == nil {
		return nil, notFound("Task '%s' not found", id)
	}
	return sb, nil
}

// execution of a router's call.
func (r *router) execution(ctx context.Context, taskID, execID string) (*execution, error) {
	sb, err := r.task(ctx, taskID)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	found := sb.execs[execID]
	if found == nil {
		return nil, notFound("Exec '%s' not found", execID)
	}
	return found, nil
}

// TaskExecStart starts a command. The same exec ID again is a retry, and starts nothing.
func (r *router) TaskExecStart(ctx context.Context, req *pb.TaskExecStartRequest) (*pb.TaskExecStartResponse, error) {
	sb, err := r.task(ctx, req.GetTaskId())
	if err != nil {
		return nil, err
	}
	if err := checkExec(req); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if sb.execs[req.GetExecId()] != nil {
		return &pb.TaskExecStartResponse{}, nil
	}
	if sb.state != StateRunning {
		return nil, status.Errorf(codes.FailedPrecondition, "Task '%s' is not running", sb.taskID)
	}
	values, err := r.mergeSecrets(req.GetSecretIds())
	if err != nil {
		return nil, err
	}
	e := &execution{
		command: req.GetCommandArgs(), stdin: newByteLog(), stdout: newByteLog(), stderr: newByteLog(), done: make(chan struct{}),
	}
	sb.execs[req.GetExecId()] = e
	sb.active = r.clock.Now()
	r.execute(sb, e, req, values)
	return &pb.TaskExecStartResponse{}, nil
}

func checkExec(req *pb.TaskExecStartRequest) error {
	switch {
	case req.GetExecId() == "":
		return invalid("exec ID is missing")
	case len(req.GetCommandArgs()) == 0 || req.GetCommandArgs()[0] == "":
		return invalid("command must not be empty")
	}
	if err := checkArgs(req.GetCommandArgs()); err != nil {
		return err
	}
	if err := checkTerminal(req.GetPtyInfo()); err != nil {
		return err
	}
	return checkWorkdir(req.GetWorkdir())
}

// execute the command, under the lock. It is killed with its sandbox, or by its own timeout.
func (s *Server) execute(sb *sandbox, e *execution, req *pb.TaskExecStartRequest, values map[string]string) {
	container := sb.container()
	container.Volumes = s.mounted(sb)
	maps.Copy(container.Env, values)
	container.Command = e.command
	if req.GetWorkdir() != "" {
		container.Workdir = req.GetWorkdir()
	}
	ctx, cancel := context.WithCancel(sb.ctx)
	container.Stdin = &byteReader{ctx: ctx, log: e.stdin}
	container.Stdout, container.Stderr = e.stdout, e.stderr
	if req.GetStdoutConfig() == pb.TaskExecStdoutConfig_TASK_EXEC_STDOUT_CONFIG_DEVNULL {
		container.Stdout = io.Discard
	}
	switch req.GetStderrConfig() {
	case pb.TaskExecStderrConfig_TASK_EXEC_STDERR_CONFIG_DEVNULL:
		container.Stderr = io.Discard
	case pb.TaskExecStderrConfig_TASK_EXEC_STDERR_CONFIG_STDOUT:
		container.Stderr = container.Stdout
	}
	container.inTerminal(req.GetPtyInfo())
	var timeout *event
	if secs := req.GetTimeoutSecs(); secs > 0 {
		timeout = s.timeline.after(time.Duration(secs)*time.Second, cancel)
	}
	go func() {
		defer cancel()
		exit := s.execCommand(ctx, sb, container)
		s.timeline.cancel(timeout)
		s.endExec(sb, e, exit, ctx.Err() != nil)
	}()
}

func (s *Server) execCommand(ctx context.Context, sb *sandbox, c Container) int {
	if s.options.Exec == nil || !sb.image.fs.has(c.Command[0], c.Workdir) {
		fmt.Fprintf(c.Stderr, "exec: %q: executable file not found\n", c.Command[0])
		return 127
	}
	return s.options.Exec(ctx, c)
}

func (s *Server) endExec(sb *sandbox, e *execution, exit int, killed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sb.active = s.clock.Now()
	e.exit, e.killed = exit, killed
	e.stdin.close()
	e.stdout.close()
	e.stderr.close()
	close(e.done)
}

// TaskExecWait gives the exit code of a command, or the signal that killed it, once it has ended.
func (r *router) TaskExecWait(ctx context.Context, req *pb.TaskExecWaitRequest) (*pb.TaskExecWaitResponse, error) {
	e, err := r.execution(ctx, req.GetTaskId(), req.GetExecId())
	if err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	case <-e.done:
	}
	code, signal := e.end()
	return pb.TaskExecWaitResponse_builder{Code: code, Signal: signal}.Build(), nil
}

// TaskExecPoll gives what TaskExecWait gives if the command has ended, and nothing while it runs.
func (r *router) TaskExecPoll(ctx context.Context, req *pb.TaskExecPollRequest) (*pb.TaskExecPollResponse, error) {
	e, err := r.execution(ctx, req.GetTaskId(), req.GetExecId())
	if err != nil {
		return nil, err
	}
	if !e.ended() {
		return &pb.TaskExecPollResponse{}, nil
	}
	code, signal := e.end()
	return pb.TaskExecPollResponse_builder{Code: code, Signal: signal}.Build(), nil
}

// TaskExecStdioRead streams an output of a command from an offset to its end.
func (r *router) TaskExecStdioRead(
	req *pb.TaskExecStdioReadRequest, stream grpc.ServerStreamingServer[pb.TaskExecStdioReadResponse],
) error {
	e, err := r.execution(stream.Context(), req.GetTaskId(), req.GetExecId())
	if err != nil {
		return err
	}
	output := e.stdout
	switch req.GetFileDescriptor() {
	case pb.TaskExecStdioFileDescriptor_TASK_EXEC_STDIO_FILE_DESCRIPTOR_STDOUT:
	case pb.TaskExecStdioFileDescriptor_TASK_EXEC_STDIO_FILE_DESCRIPTOR_STDERR:
		output = e.stderr
	default:
		return invalid("unsupported file descriptor: %s", req.GetFileDescriptor())
	}
	for offset := req.GetOffset(); ; {
		data, err := output.readFrom(stream.Context(), offset)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return status.FromContextError(err).Err()
		}
		data = data[:min(len(data), maxChunk)]
		if err := stream.Send(pb.TaskExecStdioReadResponse_builder{Data: data}.Build()); err != nil {
			return err
		}
		offset += uint64(len(data))
	}
}

// TaskExecStdinWrite gives a command input. A write that came before is accepted again; one that leaves a gap is not.
func (r *router) TaskExecStdinWrite(
	ctx context.Context, req *pb.TaskExecStdinWriteRequest,
) (*pb.TaskExecStdinWriteResponse, error) {
	e, err := r.execution(ctx, req.GetTaskId(), req.GetExecId())
	if err != nil {
		return nil, err
	}
	if !e.stdin.writeAt(req.GetOffset(), req.GetData()) {
		return nil, status.Errorf(codes.FailedPrecondition,
			"stdin of exec '%s' cannot be written at offset %d", req.GetExecId(), req.GetOffset())
	}
	if req.GetEof() {
		e.stdin.close()
	}
	return &pb.TaskExecStdinWriteResponse{}, nil
}
