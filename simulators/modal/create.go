package modal

import (
	"context"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	defaultTimeoutSecs = 300
	maxTimeoutSecs     = 24 * 60 * 60
)

// SandboxCreate answers before the sandbox is scheduled.
func (c *control) SandboxCreate(_ context.Context, req *pb.SandboxCreateRequest) (*pb.SandboxCreateResponse, error) {
	req = proto.CloneOf(req)
	if req.GetDefinition() == nil {
		return nil, invalid("Sandbox definition is missing")
	}
	if req.GetDefinition().GetTimeoutSecs() == 0 {
		req.GetDefinition().SetTimeoutSecs(defaultTimeoutSecs)
	}
	if err := checkDefinition(req.GetDefinition()); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	sb, err := c.prepare(req)
	if err != nil {
		return nil, err
	}
	if err := c.admit(sb); err != nil {
		return nil, err
	}
	sb.fault = c.faults.pickSandbox(sb.view)
	c.plan(sb)
	return pb.SandboxCreateResponse_builder{SandboxId: sb.id}.Build(), nil
}

// prepare a sandbox out of what its definition refers to, under the lock.
func (s *Server) prepare(req *pb.SandboxCreateRequest) (*sandbox, error) {
	def := req.GetDefinition()
	owner, err := s.runningApp(req.GetAppId())
	if err != nil {
		return nil, err
	}
	if name := req.GetEnvironmentName(); name != "" && name != owner.environment {
		return nil, notFound("App '%s' not found in environment '%s'", owner.id, name)
	}
	img, err := s.image(def.GetImageId())
	if err != nil {
		return nil, err
	}
	if !img.built() {
		return nil, status.Errorf(codes.FailedPrecondition, "Image '%s' is not built", img.id)
	}
	env, err := s.mergeSecrets(def.GetSecretIds())
	if err != nil {
		return nil, err
	}
	if err := s.checkReferences(def); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &sandbox{
		app: owner, request: req, image: img, env: env, state: StateCreated, log: newLogs(s.clock), tags: map[string]string{},
		stdin: stdin{log: newByteLog()}, execs: map[string]*execution{}, ctx: ctx, cancel: cancel,
		done: make(chan struct{}), gone: make(chan struct{}),
	}, nil
}

// checkReferences to volumes, proxies and the secrets of buckets, under the lock.
func (s *Server) checkReferences(def *pb.Sandbox) error {
	for _, mount := range def.GetVolumeMounts() {
		if s.volumes[mount.GetVolumeId()] == nil {
			return notFound("Volume '%s' not found", mount.GetVolumeId())
		}
	}
	if id := def.GetProxyId(); id != "" && s.proxies[id] == nil {
		return notFound("Proxy '%s' not found", id)
	}
	for _, mount := range def.GetCloudBucketMounts() {
		if id := mount.GetCredentialsSecretId(); id != "" && s.secrets[id] == nil {
			return notFound("Secret '%s' not found", id)
		}
	}
	return nil
}

// admit a sandbox into the workspace: its name must be free, and the limits must allow it. It gets its ID and its time of
// creation, which no other has.
func (s *Server) admit(sb *sandbox) error {
	name := sb.name()
	if name != "" && sb.app.running[name] != nil {
		return status.Errorf(codes.AlreadyExists, "Sandbox with name '%s' already exists in app '%s'", name, sb.app.name)
	}
	if s.options.MaxSandboxes > 0 && s.alive >= s.options.MaxSandboxes {
		return status.Errorf(codes.ResourceExhausted, "Sandbox limit of %d reached", s.options.MaxSandboxes)
	}
	if s.tooFast() {
		return status.Error(codes.ResourceExhausted, "Sandbox creation rate limit exceeded")
	}
	sb.created = s.clock.Now().Truncate(time.Microsecond)
	if n := len(s.order); n > 0 && !sb.created.After(s.order[n-1].created) {
		sb.created = s.order[n-1].created.Add(time.Microsecond)
	}
	sb.id, sb.taskID = s.ids.next("sb"), s.ids.next("ta")
	s.sandboxes[sb.id], s.tasks[sb.taskID] = sb, sb
	s.order = append(s.order, sb)
	s.alive++
	if name != "" {
		sb.app.running[name] = sb
	}
	s.record(sb, EventCreated)
	s.log.Info("sandbox created", "sandbox", sb.id, "name", name, "app", sb.app.name)
	return nil
}

// tooFast counts the creations of the last second.
func (s *Server) tooFast() bool {
	if s.options.CreateRate <= 0 {
		return false
	}
	now := s.clock.Now()
	for len(s.recent) > 0 && now.Sub(s.recent[0]) >= time.Second {
		s.recent = s.recent[1:]
	}
	if len(s.recent) >= s.options.CreateRate {
		return true
	}
	s.recent = append(s.recent, now)
	return false
}
