package modal_test

import (
	"strings"
	"testing"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

func TestSandboxDefinitionsAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	app, raw := w.app("ci"), w.authenticated()
	image := must(w.image().Build(w.ctx, app)).ImageID
	gpu := func(kind string, count uint32) *pb.Resources {
		return pb.Resources_builder{GpuConfig: pb.GPUConfig_builder{GpuType: kind, Count: count}.Build()}.Build()
	}
	resources := func(r pb.Resources_builder) func(*pb.Sandbox) {
		return func(s *pb.Sandbox) { s.SetResources(r.Build()) }
	}
	network := func(kind pb.NetworkAccess_NetworkAccessType, cidrs ...string) func(*pb.Sandbox) {
		return func(s *pb.Sandbox) {
			s.SetNetworkAccess(pb.NetworkAccess_builder{NetworkAccessType: kind, AllowedCidrs: cidrs}.Build())
		}
	}
	region := func(name string) func(*pb.Sandbox) {
		return func(s *pb.Sandbox) {
			s.SetSchedulerPlacement(pb.SchedulerPlacement_builder{Regions: []string{name}}.Build())
		}
	}
	for name, test := range map[string]struct {
		change func(*pb.Sandbox)
		want   codes.Code
	}{
		"as it is":              {func(*pb.Sandbox) {}, codes.OK},
		"no command":            {func(s *pb.Sandbox) { s.SetEntrypointArgs(nil) }, codes.InvalidArgument},
		"empty command":         {func(s *pb.Sandbox) { s.SetEntrypointArgs([]string{""}) }, codes.InvalidArgument},
		"arguments at limit":    {func(s *pb.Sandbox) { s.SetEntrypointArgs([]string{"sh", strings.Repeat("x", 1<<16-2)}) }, codes.OK},
		"arguments too long":    {func(s *pb.Sandbox) { s.SetEntrypointArgs([]string{"sh", strings.Repeat("x", 1<<16-1)}) }, codes.InvalidArgument},
		"relative workdir":      {func(s *pb.Sandbox) { s.SetWorkdir("work") }, codes.InvalidArgument},
		"longest name":          {func(s *pb.Sandbox) { s.SetName(strings.Repeat("n", 64)) }, codes.OK},
		"name too long":         {func(s *pb.Sandbox) { s.SetName(strings.Repeat("n", 65)) }, codes.InvalidArgument},
		"name with a slash":     {func(s *pb.Sandbox) { s.SetName("a/b") }, codes.InvalidArgument},
		"longest timeout":       {func(s *pb.Sandbox) { s.SetTimeoutSecs(86400) }, codes.OK},
		"timeout too long":      {func(s *pb.Sandbox) { s.SetTimeoutSecs(86401) }, codes.InvalidArgument},
		"idle timeout of 0":     {func(s *pb.Sandbox) { s.SetIdleTimeoutSecs(0) }, codes.InvalidArgument},
		"smallest CPU":          {resources(pb.Resources_builder{MilliCpu: 125}), codes.OK},
		"CPU too small":         {resources(pb.Resources_builder{MilliCpu: 100}), codes.InvalidArgument},
		"CPU too large":         {resources(pb.Resources_builder{MilliCpu: 64001}), codes.InvalidArgument},
		"CPU limit below":       {resources(pb.Resources_builder{MilliCpu: 2000, MilliCpuMax: 1000}), codes.InvalidArgument},
		"CPU limit alone":       {resources(pb.Resources_builder{MilliCpuMax: 1000}), codes.InvalidArgument},
		"most memory":           {resources(pb.Resources_builder{MemoryMb: 344064}), codes.OK},
		"too much memory":       {resources(pb.Resources_builder{MemoryMb: 344065}), codes.InvalidArgument},
		"memory limit below":    {resources(pb.Resources_builder{MemoryMb: 2000, MemoryMbMax: 1000}), codes.InvalidArgument},
		"GPU":                   {func(s *pb.Sandbox) { s.SetResources(gpu("H100!", 8)) }, codes.OK},
		"GPU in lower case":     {func(s *pb.Sandbox) { s.SetResources(gpu("h100", 1)) }, codes.InvalidArgument},
		"unknown GPU":           {func(s *pb.Sandbox) { s.SetResources(gpu("K80", 1)) }, codes.InvalidArgument},
		"nine GPUs":             {func(s *pb.Sandbox) { s.SetResources(gpu("T4", 9)) }, codes.InvalidArgument},
		"no GPUs of a type":     {func(s *pb.Sandbox) { s.SetResources(gpu("T4", 0)) }, codes.InvalidArgument},
		"region":                {region("us-east"), codes.OK},
		"unknown region":        {region("invalid-region"), codes.InvalidArgument},
		"unknown cloud":         {func(s *pb.Sandbox) { s.SetCloudProviderStr("invalid-cloud") }, codes.InvalidArgument},
		"allowlist":             {network(pb.NetworkAccess_ALLOWLIST, "10.0.0.0/8"), codes.OK},
		"allowlist of no CIDR":  {network(pb.NetworkAccess_ALLOWLIST, "not-an-ip/8"), codes.InvalidArgument},
		"blocked with a CIDR":   {network(pb.NetworkAccess_BLOCKED, "10.0.0.0/8"), codes.InvalidArgument},
		"unknown image":         {func(s *pb.Sandbox) { s.SetImageId("im-none") }, codes.NotFound},
		"no image":              {func(s *pb.Sandbox) { s.SetImageId("") }, codes.NotFound},
		"unknown secret":        {func(s *pb.Sandbox) { s.SetSecretIds([]string{"st-none"}) }, codes.NotFound},
		"unknown proxy":         {func(s *pb.Sandbox) { s.SetProxyId("pr-none") }, codes.NotFound},
		"unknown volume":        {func(s *pb.Sandbox) { s.SetVolumeMounts(volumeAt("vo-none", "/data")) }, codes.NotFound},
		"volume at a bad place": {func(s *pb.Sandbox) { s.SetVolumeMounts(volumeAt("vo-none", "data")) }, codes.InvalidArgument},
	} {
		def := pb.Sandbox_builder{EntrypointArgs: []string{"sleep", "infinity"}, ImageId: image, TimeoutSecs: 60}.Build()
		test.change(def)
		_, err := raw.SandboxCreate(w.ctx, pb.SandboxCreateRequest_builder{AppId: app.AppID, Definition: def}.Build())
		w.Expect(status.Code(err)).To(Equal(test.want), "%s: %v", name, err)
	}
	_, err := raw.SandboxCreate(w.ctx, pb.SandboxCreateRequest_builder{AppId: app.AppID}.Build())
	w.Expect(status.Code(err)).To(Equal(codes.InvalidArgument))
	_, err = raw.SandboxCreate(w.ctx, pb.SandboxCreateRequest_builder{
		AppId: "ap-none", Definition: pb.Sandbox_builder{EntrypointArgs: []string{"sh"}, ImageId: image}.Build(),
	}.Build())
	w.Expect(status.Code(err)).To(Equal(codes.NotFound))
}

func volumeAt(id, path string) []*pb.VolumeMount {
	return []*pb.VolumeMount{pb.VolumeMount_builder{VolumeId: id, MountPath: path}.Build()}
}
