package modal

import (
	"context"
	"os"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// volume has its contents in a folder of this machine, which is made when it is first mounted.
type volume struct {
	id, name, environment string
	folder                string
	// end of an ephemeral one, which has no name.
	end *event
}

// proxy has an identity only.
type proxy struct{ id, name, environment string }

// AddProxy to the default environment; proxies are made in the dashboard only.
func (s *Server) AddProxy(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	made := &proxy{id: s.ids.next("pr"), name: name, environment: defaultEnvironment}
	s.proxies[made.id], s.environments[defaultEnvironment].proxies[name] = made, made
}

// ProxyGet looks a proxy up by name.
func (c *control) ProxyGet(_ context.Context, req *pb.ProxyGetRequest) (*pb.ProxyGetResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	env, err := c.environment(req.GetEnvironmentName())
	if err != nil {
		return nil, err
	}
	found := env.proxies[req.GetName()]
	if found == nil {
		return nil, notFound("Proxy '%s' not found", req.GetName())
	}
	return pb.ProxyGetResponse_builder{
		Proxy: pb.Proxy_builder{Name: found.name, ProxyId: found.id, EnvironmentName: found.environment}.Build(),
	}.Build(), nil
}

// VolumeGetOrCreate looks a volume up by name or makes one.
func (c *control) VolumeGetOrCreate(_ context.Context, req *pb.VolumeGetOrCreateRequest) (*pb.VolumeGetOrCreateResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	env, err := c.environment(req.GetEnvironmentName())
	if err != nil {
		return nil, err
	}
	found, err := c.getOrCreateVolume(env, req.GetDeploymentName(), req.GetObjectCreationType())
	if err != nil {
		return nil, err
	}
	return pb.VolumeGetOrCreateResponse_builder{VolumeId: found.id}.Build(), nil
}

func (c *control) getOrCreateVolume(env *environment, name string, kind pb.ObjectCreationType) (*volume, error) {
	if kind == pb.ObjectCreationType_OBJECT_CREATION_TYPE_EPHEMERAL {
		if name != "" {
			return nil, invalid("an ephemeral Volume cannot have a name")
		}
		made := c.putVolume(env, "")
		c.keepAlive(made)
		return made, nil
	}
	if err := checkName("Volume", name); err != nil {
		return nil, err
	}
	found := env.volumes[name]
	switch kind {
	case pb.ObjectCreationType_OBJECT_CREATION_TYPE_UNSPECIFIED:
		if found == nil {
			return nil, notFound("Volume '%s' not found in environment '%s'", name, env.name)
		}
		return found, nil
	case pb.ObjectCreationType_OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
		if found != nil {
			return found, nil
		}
	case pb.ObjectCreationType_OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
		if found != nil {
			return nil, status.Errorf(codes.AlreadyExists, "Volume '%s' already exists", name)
		}
	default:
		return nil, invalid("volumes cannot be created with %s", kind)
	}
	return c.putVolume(env, name), nil
}

// putVolume under the lock.
func (s *Server) putVolume(env *environment, name string) *volume {
	made := &volume{id: s.ids.next("vo"), name: name, environment: env.name}
	s.volumes[made.id] = made
	if name != "" {
		env.volumes[name] = made
	}
	return made
}

// ephemeralLife of a volume without a heartbeat. The SDK sends one every five minutes (ephemeral.go).
const ephemeralLife = 10 * time.Minute

// keepAlive lets an ephemeral volume live on for a while, under the lock.
func (s *Server) keepAlive(v *volume) {
	s.timeline.cancel(v.end)
	v.end = s.timeline.after(ephemeralLife, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.volumes, v.id)
	})
}

// VolumeHeartbeat keeps an ephemeral volume.
func (c *control) VolumeHeartbeat(_ context.Context, req *pb.VolumeHeartbeatRequest) (*emptypb.Empty, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.volumes[req.GetVolumeId()]
	if found == nil {
		return nil, notFound("Volume '%s' not found", req.GetVolumeId())
	}
	if found.name == "" {
		c.keepAlive(found)
	}
	return &emptypb.Empty{}, nil
}

// VolumeDelete removes a volume.
func (c *control) VolumeDelete(_ context.Context, req *pb.VolumeDeleteRequest) (*emptypb.Empty, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.volumes[req.GetVolumeId()]
	if found == nil {
		return nil, notFound("Volume '%s' not found", req.GetVolumeId())
	}
	delete(c.volumes, found.id)
	if found.name != "" {
		delete(c.environments[found.environment].volumes, found.name)
	}
	_ = os.RemoveAll(found.folder)
	return &emptypb.Empty{}, nil
}

// mounted gives the folders of a sandbox's volumes by the paths that they are mounted at, under the lock. That a volume is
// read-only is not enforced: the folder is this machine's.
func (s *Server) mounted(sb *sandbox) map[string]string {
	folders := map[string]string{}
	for _, mount := range sb.definition().GetVolumeMounts() {
		v := s.volumes[mount.GetVolumeId()]
		if v == nil {
			continue
		}
		if v.folder == "" {
			folder, err := os.MkdirTemp("", "volume-")
			if err != nil {
				s.log.Error("a volume cannot have a folder", "error", err)
				continue
			}
			v.folder = folder
		}
		folders[mount.GetMountPath()] = v.folder
	}
	return folders
}

// AddVolume to the default environment.
func (s *Server) AddVolume(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putVolume(s.environments[defaultEnvironment], name)
}
