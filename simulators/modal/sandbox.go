package modal

import (
	"context"
	"maps"
	"slices"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
)

// State of a sandbox.
type State string

// A sandbox is created, its command runs once it was scheduled, and it is finished; it is alive before that.
const (
	StateCreated  State = "created"
	StateRunning  State = "running"
	StateFinished State = "finished"
)

// sandbox under the server's lock.
type sandbox struct {
	id, taskID string
	app        *app
	request    *pb.SandboxCreateRequest
	image      *image
	env        map[string]string
	tags       map[string]string
	fault      SandboxFault
	state      State
	// result is nil while it is alive.
	result *pb.GenericResult

	created, started, finished time.Time
	// active is when something was last executed in it or written to its stdin.
	active time.Time
	stdin  stdin
	execs  map[string]*execution
	timers []*event

	log    *logs
	ctx    context.Context
	cancel context.CancelFunc
	// done is closed when it is finished, gone when its RunFunc has returned too, or never ran.
	done, gone chan struct{}
}

// Sandbox as it is now. Its maps and messages are shared: they must not be changed.
type Sandbox struct {
	ID, Name             string
	AppID, AppName       string
	Environment, ImageID string
	TaskID               string
	Tags                 map[string]string
	Command              []string
	State                State
	// Status of the result, UNSPECIFIED while it is alive.
	Status    pb.GenericResult_GenericStatus
	ExitCode  int32
	Exception string
	// Created, Started and Finished; zero for what has not happened.
	Created, Started, Finished time.Time
	// Timeout of its life, from its creation.
	Timeout time.Duration
	Request *pb.SandboxCreateRequest
	// Env from its secrets alone, merged in their order.
	Env map[string]string
}

// Alive is whether it has not finished.
func (s Sandbox) Alive() bool { return s.State != StateFinished }

func (sb *sandbox) definition() *pb.Sandbox { return sb.request.GetDefinition() }
func (sb *sandbox) name() string            { return sb.definition().GetName() }

func (sb *sandbox) view() Sandbox {
	def := sb.definition()
	return Sandbox{
		ID: sb.id, Name: def.GetName(), AppID: sb.app.id, AppName: sb.app.name, Environment: sb.app.environment,
		ImageID: def.GetImageId(), TaskID: sb.taskID, Tags: sb.tags, Command: def.GetEntrypointArgs(), State: sb.state,
		Status: sb.result.GetStatus(), ExitCode: sb.result.GetExitcode(), Exception: sb.result.GetException(),
		Created: sb.created, Started: sb.started, Finished: sb.finished, Timeout: sb.timeout(), Request: sb.request, Env: sb.env,
	}
}

func (sb *sandbox) timeout() time.Duration {
	return time.Duration(sb.definition().GetTimeoutSecs()) * time.Second
}

// Sandboxes ever created, oldest first.
func (s *Server) Sandboxes() []Sandbox { return s.Select(nil) }

// Alive gives the sandboxes that have not finished, oldest first; a nil filter takes all.
func (s *Server) Alive(filter func(Sandbox) bool) []Sandbox {
	return s.Select(func(sb Sandbox) bool { return sb.Alive() && (filter == nil || filter(sb)) })
}

// Select sandboxes, oldest first; a nil filter takes all.
func (s *Server) Select(filter func(Sandbox) bool) []Sandbox {
	s.timeline.settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	var chosen []Sandbox
	for _, sb := range s.order {
		if view := sb.view(); filter == nil || filter(view) {
			chosen = append(chosen, view)
		}
	}
	return chosen
}

// Sandbox of that ID.
func (s *Server) Sandbox(id string) (Sandbox, bool) {
	s.timeline.settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	if sb := s.sandboxes[id]; sb != nil {
		return sb.view(), true
	}
	return Sandbox{}, false
}

// Logs of a sandbox, stdout and stderr together.
func (s *Server) Logs(id string) string {
	s.mu.Lock()
	sb := s.sandboxes[id]
	s.mu.Unlock()
	if sb == nil {
		return ""
	}
	return sb.log.text()
}

// find a sandbox under the lock.
func (s *Server) find(id string) (*sandbox, error) {
	sb := s.sandboxes[id]
	if sb == nil {
		return nil, notFound("Sandbox '%s' not found", id)
	}
	return sb, nil
}

// container is what its RunFunc gets.
func (sb *sandbox) container() Container {
	env := maps.Clone(sb.image.fs.env)
	maps.Copy(env, map[string]string{
		"MODAL_SANDBOX_ID": sb.id, "MODAL_TASK_ID": sb.taskID, "MODAL_IMAGE_ID": sb.image.id,
		"MODAL_ENVIRONMENT": sb.app.environment, "MODAL_CLOUD_PROVIDER": "CLOUD_PROVIDER_AWS", "MODAL_REGION": "us-east-1",
		"MODAL_IS_REMOTE": "1",
	})
	maps.Copy(env, sb.env)
	workdir := sb.definition().GetWorkdir()
	if workdir == "" {
		workdir = sb.image.fs.workdir
	}
	return Container{
		SandboxID: sb.id, TaskID: sb.taskID, Name: sb.name(), AppID: sb.app.id, AppName: sb.app.name, ImageID: sb.image.id,
		Command: slices.Clone(sb.definition().GetEntrypointArgs()), Env: env, Workdir: workdir,
		Stdout: sb.log.writer(pb.FileDescriptor_FILE_DESCRIPTOR_STDOUT),
		Stderr: sb.log.writer(pb.FileDescriptor_FILE_DESCRIPTOR_STDERR),
		Stdin:  &byteReader{ctx: sb.ctx, log: sb.stdin.log},
	}
}

func resultOf(status pb.GenericResult_GenericStatus, exit int32, exception string) *pb.GenericResult {
	return pb.GenericResult_builder{Status: status, Exitcode: exit, Exception: exception}.Build()
}
