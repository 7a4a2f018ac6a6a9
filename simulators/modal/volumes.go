package modal

import (
	"context"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// volume has an identity and no contents.
type volume struct{ id, name, environment string }

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
	name := req.GetDeploymentName()
	ephemeral := req.GetObjectCreationType() == pb.ObjectCreationType_OBJECT_CREATION_TYPE_EPHEMERAL
	if !ephemeral {
		if err := checkName("Volume", name); err != nil {
			return nil, err
		}
	}
	found := env.volumes[name]
	if found == nil {
		if req.GetObjectCreationType() == pb.ObjectCreationType_OBJECT_CREATION_TYPE_UNSPECIFIED {
			return nil, notFound("Volume '%s' not found in environment '%s'", name, env.name)
		}
		found = &volume{id: c.ids.next("vo"), name: name, environment: env.name}
		c.volumes[found.id] = found
		if !ephemeral {
			env.volumes[name] = found
		}
	}
	return pb.VolumeGetOrCreateResponse_builder{VolumeId: found.id}.Build(), nil
}

// VolumeHeartbeat keeps an ephemeral volume; here they stay anyway.
func (c *control) VolumeHeartbeat(_ context.Context, req *pb.VolumeHeartbeatRequest) (*emptypb.Empty, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.volumes[req.GetVolumeId()] == nil {
		return nil, notFound("Volume '%s' not found", req.GetVolumeId())
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
	return &emptypb.Empty{}, nil
}
