package modal_test

import (
	"strings"
	"testing"

	sdk "github.com/modal-labs/libmodal/modal-go"
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
		"no command":            {func(s *pb.Sandbox) { s.SetEntrypointArgs(nil) }, codes.OK},
		"empty command":         {func(s *pb.Sandbox) { s.SetEntrypointArgs([]string{""}) }, codes.InvalidArgument},
		"arguments at limit":    {func(s *pb.Sandbox) { s.SetEntrypointArgs([]string{"sh", strings.Repeat("x", 1<<16-2)}) }, codes.OK},
		"arguments too long":    {func(s *pb.Sandbox) { s.SetEntrypointArgs([]string{"sh", strings.Repeat("x", 1<<16-1)}) }, codes.InvalidArgument},
		"null in an argument":   {func(s *pb.Sandbox) { s.SetEntrypointArgs([]string{"sh", "a\x00b"}) }, codes.InvalidArgument},
		"relative workdir":      {func(s *pb.Sandbox) { s.SetWorkdir("work") }, codes.InvalidArgument},
		"longest name":          {func(s *pb.Sandbox) { s.SetName(strings.Repeat("n", 64)) }, codes.OK},
		"name too long":         {func(s *pb.Sandbox) { s.SetName(strings.Repeat("n", 65)) }, codes.InvalidArgument},
		"name with a slash":     {func(s *pb.Sandbox) { s.SetName("a/b") }, codes.InvalidArgument},
		"name like an app's ID": {func(s *pb.Sandbox) { s.SetName("ap-" + strings.Repeat("x", 22)) }, codes.InvalidArgument},
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
		"newest GPU":            {func(s *pb.Sandbox) { s.SetResources(gpu("B200+", 1)) }, codes.OK},
		"four A10s":             {func(s *pb.Sandbox) { s.SetResources(gpu("A10", 4)) }, codes.OK},
		"five A10s":             {func(s *pb.Sandbox) { s.SetResources(gpu("A10", 5)) }, codes.InvalidArgument},
		"nine GPUs":             {func(s *pb.Sandbox) { s.SetResources(gpu("T4", 9)) }, codes.InvalidArgument},
		"no GPUs of a type":     {func(s *pb.Sandbox) { s.SetResources(gpu("T4", 0)) }, codes.InvalidArgument},
		"region":                {region("us-east"), codes.OK},
		"unknown region":        {region("invalid-region"), codes.InvalidArgument},
		"unknown cloud":         {func(s *pb.Sandbox) { s.SetCloudProviderStr("invalid-cloud") }, codes.InvalidArgument},
		"allowlist":             {network(pb.NetworkAccess_ALLOWLIST, "10.0.0.0/8"), codes.OK},
		"allowlist of no CIDR":  {network(pb.NetworkAccess_ALLOWLIST, "not-an-ip/8"), codes.InvalidArgument},
		"blocked with a CIDR":   {network(pb.NetworkAccess_BLOCKED, "10.0.0.0/8"), codes.InvalidArgument},
		"custom domain":         {func(s *pb.Sandbox) { s.SetCustomDomain("ci.example.com") }, codes.PermissionDenied},
		"terminal too large":    {func(s *pb.Sandbox) { s.SetPtyInfo(pb.PTYInfo_builder{WinszRows: 1 << 16}.Build()) }, codes.InvalidArgument},
		"unknown image":         {func(s *pb.Sandbox) { s.SetImageId("im-none") }, codes.NotFound},
		"no image":              {func(s *pb.Sandbox) { s.SetImageId("") }, codes.NotFound},
		"unknown secret":        {func(s *pb.Sandbox) { s.SetSecretIds([]string{"st-none"}) }, codes.NotFound},
		"unknown proxy":         {func(s *pb.Sandbox) { s.SetProxyId("pr-none") }, codes.NotFound},
		"unknown volume":        {func(s *pb.Sandbox) { s.SetVolumeMounts(volumeAt("vo-none", "/data")) }, codes.NotFound},
		"volume at a bad place": {func(s *pb.Sandbox) { s.SetVolumeMounts(volumeAt("vo-none", "data")) }, codes.InvalidArgument},
		"bucket":                {func(s *pb.Sandbox) { s.SetCloudBucketMounts(bucketAt("/data", "")) }, codes.OK},
		"bucket without a name": {func(s *pb.Sandbox) { s.SetCloudBucketMounts([]*pb.CloudBucketMount{{}}) }, codes.InvalidArgument},
		"bucket's prefix":       {func(s *pb.Sandbox) { s.SetCloudBucketMounts(bucketAt("/data", "a/")) }, codes.OK},
		"prefix without slash":  {func(s *pb.Sandbox) { s.SetCloudBucketMounts(bucketAt("/data", "a")) }, codes.InvalidArgument},
		"requester who cannot pay": {func(s *pb.Sandbox) {
			mounts := bucketAt("/data", "")
			mounts[0].SetRequesterPays(true)
			s.SetCloudBucketMounts(mounts)
		}, codes.InvalidArgument},
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

func TestMountPathsAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	app, raw := w.app("ci"), w.authenticated()
	image := must(w.image().Build(w.ctx, app)).ImageID
	volume := must(w.client.Volumes.FromName(w.ctx, "v", &sdk.VolumeFromNameParams{CreateIfMissing: true})).VolumeID
	for places, want := range map[string]codes.Code{
		"/data": codes.OK, "/root/data": codes.OK, "/tmp/data": codes.OK,
		"data": codes.InvalidArgument, "/": codes.InvalidArgument, "/root": codes.InvalidArgument, "/tmp": codes.InvalidArgument,
		"/data/": codes.InvalidArgument, "/a/../b": codes.InvalidArgument, "": codes.InvalidArgument,
		"/a /b": codes.InvalidArgument, "/a bucket:/b": codes.OK, "/a bucket:/a": codes.InvalidArgument,
	} {
		def := pb.Sandbox_builder{ImageId: image}.Build()
		var volumes []*pb.VolumeMount
		for _, place := range strings.Split(places, " ") {
			if bucket, ok := strings.CutPrefix(place, "bucket:"); ok {
				def.SetCloudBucketMounts(bucketAt(bucket, ""))
			} else {
				volumes = append(volumes, volumeAt(volume, place)...)
			}
		}
		def.SetVolumeMounts(volumes)
		_, err := raw.SandboxCreate(w.ctx, pb.SandboxCreateRequest_builder{AppId: app.AppID, Definition: def}.Build())
		w.Expect(status.Code(err)).To(Equal(want), "%q: %v", places, err)
	}
}

func bucketAt(path, prefix string) []*pb.CloudBucketMount {
	mount := pb.CloudBucketMount_builder{BucketName: "b", MountPath: path}.Build()
	if prefix != "" {
		mount.SetKeyPrefix(prefix)
	}
	return []*pb.CloudBucketMount{mount}
}

func volumeAt(id, path string) []*pb.VolumeMount {
	return []*pb.VolumeMount{pb.VolumeMount_builder{VolumeId: id, MountPath: path}.Build()}
}
