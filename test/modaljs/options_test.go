package modaljs

import (
	"testing"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/proto"

	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

// everyOptionHasArrived at the server as create.test.mjs gives it. IDs are as they came: the server has found what they name.
func everyOptionHasArrived(t *testing.T, server *modalsim.Server) {
	g := NewWithT(t)
	found := named(server, "every-option")
	g.Expect(found).To(HaveLen(1))
	g.Expect(found[0].Env).To(Equal(map[string]string{"USER_NAME": "robot", "COLOR": "blue"}))
	came := found[0].Request.GetDefinition()
	g.Expect(came.GetSecretIds()).To(HaveLen(2))
	g.Expect(came.GetVolumeMounts()).To(HaveLen(2))
	g.Expect(came.GetVolumeMounts()[0].GetVolumeId()).NotTo(Equal(came.GetVolumeMounts()[1].GetVolumeId()))
	name, proxy, idle, workdir := "every-option", came.GetProxyId(), uint32(3600), "/usr"
	prefix, endpoint := "ci/", "https://1.r2.cloudflarestorage.com"
	want := pb.Sandbox_builder{
		EntrypointArgs: []string{"sh", "-c", `test -t 0 && echo "$COLOR $USER_NAME"; pwd; sleep infinity`},
		ImageId:        came.GetImageId(), SecretIds: came.GetSecretIds(), TimeoutSecs: 86400, IdleTimeoutSecs: &idle,
		Resources: pb.Resources_builder{
			MilliCpu: 2500, MilliCpuMax: 4000, MemoryMb: 512, MemoryMbMax: 1024,
			GpuConfig: pb.GPUConfig_builder{GpuType: "H100", Count: 2}.Build(),
		}.Build(),
		Workdir: &workdir,
		VolumeMounts: []*pb.VolumeMount{
			pb.VolumeMount_builder{
				VolumeId: came.GetVolumeMounts()[0].GetVolumeId(), MountPath: "/mnt/cache", AllowBackgroundCommits: true,
			}.Build(),
			pb.VolumeMount_builder{
				VolumeId: came.GetVolumeMounts()[1].GetVolumeId(), MountPath: "/mnt/data", AllowBackgroundCommits: true, ReadOnly: true,
			}.Build(),
		},
		CloudBucketMounts: []*pb.CloudBucketMount{pb.CloudBucketMount_builder{
			BucketName: "artifacts", MountPath: "/mnt/bucket", CredentialsSecretId: came.GetSecretIds()[0], ReadOnly: true,
			BucketType: pb.CloudBucketMount_R2, RequesterPays: true, BucketEndpointUrl: &endpoint, KeyPrefix: &prefix,
		}.Build()},
		PtyInfo: pb.PTYInfo_builder{
			Enabled: true, WinszRows: 24, WinszCols: 80, EnvTerm: "xterm-256color", EnvColorterm: "truecolor",
			PtyType: pb.PTYInfo_PTY_TYPE_SHELL, NoTerminateOnIdleStdin: true,
		}.Build(),
		OpenPorts: pb.PortSpecs_builder{Ports: []*pb.PortSpec{
			pb.PortSpec_builder{Port: 8443}.Build(),
			pb.PortSpec_builder{Port: 8444, TunnelType: pb.TunnelType_TUNNEL_TYPE_H2.Enum()}.Build(),
			pb.PortSpec_builder{Port: 8080, Unencrypted: true}.Build(),
		}}.Build(),
		NetworkAccess: pb.NetworkAccess_builder{
			NetworkAccessType: pb.NetworkAccess_ALLOWLIST, AllowedCidrs: []string{"10.0.0.0/8", "192.168.0.0/16"},
		}.Build(),
		CloudProviderStr:    "aws",
		SchedulerPlacement:  pb.SchedulerPlacement_builder{Regions: []string{"us-east", "us-west-2"}}.Build(),
		Verbose:             true,
		ProxyId:             &proxy,
		Name:                &name,
		ExperimentalOptions: map[string]bool{"enable_docker": true},
	}.Build()
	g.Expect(proto.Equal(came, want)).To(BeTrue(), "it came as\n%s", came)
	g.Expect(proxy).To(HavePrefix("pr-"))

	g.Expect(named(server, "no-network")).To(ConsistOf(HaveField("Request.GetDefinition().GetNetworkAccess().GetNetworkAccessType()",
		pb.NetworkAccess_BLOCKED)))
}
