package modal

import (
	"context"
	"sort"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
)

// SandboxList gives one page: the newest sandboxes that were created strictly before a time, those alive only unless
// asked otherwise. The page after the last is empty, which is how the SDK knows the end.
func (c *control) SandboxList(_ context.Context, req *pb.SandboxListRequest) (*pb.SandboxListResponse, error) {
	wanted, err := tagMap(req.GetTags())
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	env, err := c.environment(req.GetEnvironmentName())
	if err != nil {
		return nil, err
	}
	if id := req.GetAppId(); id != "" && c.apps[id] == nil {
		return nil, notFound("App '%s' not found", id)
	}
	end := len(c.order)
	if before := req.GetBeforeTimestamp(); before > 0 {
		end = sort.Search(len(c.order), func(i int) bool { return seconds(c.order[i].created) >= before })
	}
	var page []*pb.SandboxInfo
	for i := end - 1; i >= 0 && len(page) < c.options.PageSize; i-- {
		sb := c.order[i]
		switch {
		case sb.result != nil && !req.GetIncludeFinished(),
			sb.app.environment != env.name,
			req.GetAppId() != "" && sb.app.id != req.GetAppId(),
			!hasTags(sb.tags, wanted):
			continue
		}
		page = append(page, sb.info())
	}
	return pb.SandboxListResponse_builder{Sandboxes: page}.Build(), nil
}

func hasTags(tags, wanted map[string]string) bool {
	for name, value := range wanted {
		if have, ok := tags[name]; !ok || have != value {
			return false
		}
	}
	return true
}

func (sb *sandbox) info() *pb.SandboxInfo {
	def := sb.definition()
	info := pb.SandboxInfo_builder{
		Id: sb.id, CreatedAt: seconds(sb.created), AppId: sb.app.id, Tags: tagList(sb.tags), Name: def.GetName(),
		ImageId: def.GetImageId(), TimeoutSecs: def.GetTimeoutSecs(), Regions: def.GetSchedulerPlacement().GetRegions(),
		TaskInfo: pb.TaskInfo_builder{
			Id: sb.taskID, SandboxId: sb.id, EnqueuedAt: seconds(sb.created), StartedAt: seconds(sb.started),
			FinishedAt: seconds(sb.finished), Result: sb.result, GpuType: def.GetResources().GetGpuConfig().GetGpuType(),
		}.Build(),
	}
	if def.HasIdleTimeoutSecs() {
		idle := def.GetIdleTimeoutSecs()
		info.IdleTimeoutSecs = &idle
	}
	return info.Build()
}

// SandboxGetFromName finds a sandbox that is alive.
func (c *control) SandboxGetFromName(_ context.Context, req *pb.SandboxGetFromNameRequest) (*pb.SandboxGetFromNameResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	env, err := c.environment(req.GetEnvironmentName())
	if err != nil {
		return nil, err
	}
	owner := env.apps[req.GetAppName()]
	if owner == nil {
		return nil, notFound("App '%s' not found in environment '%s'", req.GetAppName(), env.name)
	}
	sb := owner.running[req.GetSandboxName()]
	if sb == nil {
		return nil, notFound("Sandbox with name '%s' not found in app '%s'", req.GetSandboxName(), owner.name)
	}
	return pb.SandboxGetFromNameResponse_builder{SandboxId: sb.id}.Build(), nil
}
