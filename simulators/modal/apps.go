package modal

import (
	"context"
	"regexp"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// defaultEnvironment is where calls go that name none.
const defaultEnvironment = "main"

// environment is a part of the workspace; names of apps, secrets and volumes are unique within one.
type environment struct {
	name    string
	apps    map[string]*app
	secrets map[string]*secret
	volumes map[string]*volume
	proxies map[string]*proxy
}

// app holds sandboxes. The names of running sandboxes are unique within an app.
type app struct {
	id, name    string
	environment string
	stopped     bool
	running     map[string]*sandbox
}

// validName is what Modal takes for names of objects. Source: modal/_utils/name_utils.py in modal-labs/modal-client.
var validName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// appID is what names must not look like, by the same source.
var appID = regexp.MustCompile(`^ap-[A-Za-z0-9]{22}$`)

func checkName(kind, name string) error {
	if validName.MatchString(name) && !appID.MatchString(name) {
		return nil
	}
	return invalid("Invalid %s name: '%s'.\n\nNames may contain only alphanumeric characters, dashes, periods, and "+
		"underscores, and must be shorter than 64 characters.", kind, name)
}

// AddEnvironment of the workspace. "main" exists from the start.
func (s *Server) AddEnvironment(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.environments[name] == nil {
		s.environments[name] = &environment{
			name: name, apps: map[string]*app{}, secrets: map[string]*secret{},
			volumes: map[string]*volume{}, proxies: map[string]*proxy{},
		}
	}
}

// environment of that name, under the lock.
func (s *Server) environment(name string) (*environment, error) {
	if name == "" {
		name = defaultEnvironment
	}
	env := s.environments[name]
	if env == nil {
		return nil, notFound("Environment '%s' not found", name)
	}
	return env, nil
}

// runningApp of that ID, under the lock.
func (s *Server) runningApp(id string) (*app, error) {
	found := s.apps[id]
	if found == nil || found.stopped {
		return nil, notFound("App '%s' not found", id)
	}
	return found, nil
}

// StopApp as from the dashboard: its sandboxes end, its ID is never valid again, its name is free.
func (s *Server) StopApp(environmentName, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	env, err := s.environment(environmentName)
	if err != nil || env.apps[name] == nil {
		return
	}
	stopped := env.apps[name]
	stopped.stopped = true
	delete(env.apps, name)
	for _, sb := range s.order {
		if sb.app == stopped {
			s.finish(sb, resultOf(pb.GenericResult_GENERIC_STATUS_TERMINATED, 0, ""))
		}
	}
}

// AppGetOrCreate looks an app up by name, and creates it when asked to.
func (c *control) AppGetOrCreate(_ context.Context, req *pb.AppGetOrCreateRequest) (*pb.AppGetOrCreateResponse, error) {
	if err := checkName("App", req.GetAppName()); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	env, err := c.environment(req.GetEnvironmentName())
	if err != nil {
		return nil, err
	}
	found := env.apps[req.GetAppName()]
	switch kind := req.GetObjectCreationType(); kind {
	case pb.ObjectCreationType_OBJECT_CREATION_TYPE_UNSPECIFIED:
		if found == nil {
			return nil, notFound("App '%s' not found in environment '%s'", req.GetAppName(), env.name)
		}
	case pb.ObjectCreationType_OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
	case pb.ObjectCreationType_OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
		if found != nil {
			return nil, status.Errorf(codes.AlreadyExists, "App '%s' already exists", req.GetAppName())
		}
	default:
		return nil, invalid("apps cannot be created with %s", kind)
	}
	if found == nil {
		found = &app{id: c.ids.next("ap"), name: req.GetAppName(), environment: env.name, running: map[string]*sandbox{}}
		env.apps[found.name], c.apps[found.id] = found, found
	}
	return pb.AppGetOrCreateResponse_builder{AppId: found.id}.Build(), nil
}
