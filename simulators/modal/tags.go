package modal

import (
	"context"
	"maps"
	"slices"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Limits of a sandbox's tags. Modal documents none; these are what tagging systems usually take.
const (
	maxTags        = 50
	maxTagName     = 128
	maxTagValueLen = 256
)

// tagMap of the protocol's list, refusing what cannot be a tag.
func tagMap(tags []*pb.SandboxTag) (map[string]string, error) {
	if len(tags) > maxTags {
		return nil, invalid("A Sandbox can have at most %d tags, got %d", maxTags, len(tags))
	}
	byName := make(map[string]string, len(tags))
	for _, tag := range tags {
		name, value := tag.GetTagName(), tag.GetTagValue()
		_, repeated := byName[name]
		switch {
		case name == "" || len(name) > maxTagName:
			return nil, invalid("Tag names must have 1 to %d characters, got '%s'", maxTagName, name)
		case len(value) > maxTagValueLen:
			return nil, invalid("Tag values must have at most %d characters, got '%s'", maxTagValueLen, value)
		case repeated:
			return nil, invalid("Tag '%s' is repeated", name)
		}
		byName[name] = value
	}
	return byName, nil
}

func tagList(tags map[string]string) []*pb.SandboxTag {
	list := make([]*pb.SandboxTag, 0, len(tags))
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, pb.SandboxTag_builder{TagName: name, TagValue: tags[name]}.Build())
	}
	return list
}

// SandboxTagsSet replaces all tags of a sandbox.
func (c *control) SandboxTagsSet(_ context.Context, req *pb.SandboxTagsSetRequest) (*emptypb.Empty, error) {
	tags, err := tagMap(req.GetTags())
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	env, err := c.environment(req.GetEnvironmentName())
	if err != nil {
		return nil, err
	}
	sb, err := c.find(req.GetSandboxId())
	if err != nil {
		return nil, err
	}
	if sb.app.environment != env.name {
		return nil, notFound("Sandbox '%s' not found in environment '%s'", sb.id, env.name)
	}
	sb.tags = tags
	return &emptypb.Empty{}, nil
}

// SandboxTagsGet gives the tags of a sandbox, running or not.
func (c *control) SandboxTagsGet(_ context.Context, req *pb.SandboxTagsGetRequest) (*pb.SandboxTagsGetResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sb, err := c.find(req.GetSandboxId())
	if err != nil {
		return nil, err
	}
	return pb.SandboxTagsGetResponse_builder{Tags: tagList(sb.tags)}.Build(), nil
}
