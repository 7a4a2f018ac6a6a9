package modal

import (
	"math"
	"net/netip"
	"path"
	"slices"
	"strings"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// maxArgBytes of a command. Source: ValidateExecArgs in the SDK's sandbox.go.
	maxArgBytes = 1 << 16
	// Limits of resources. Source: modal.com/docs/guide/resources.
	minMilliCPU, maxMilliCPU = 125, 64000
	maxMemoryMiB             = 344064
)

// checkDefinition refuses what is wrong in itself.
func checkDefinition(def *pb.Sandbox) error {
	for _, check := range []func(*pb.Sandbox) error{
		checkIdentity, checkCommand, checkTimeouts, checkResources, checkPlacement, checkNetwork, checkMounts,
	} {
		if err := check(def); err != nil {
			return err
		}
	}
	return nil
}

func checkIdentity(def *pb.Sandbox) error {
	if def.GetName() == "" {
		return nil
	}
	return checkName("Sandbox", def.GetName())
}

func checkCommand(def *pb.Sandbox) error {
	args := def.GetEntrypointArgs()
	if len(args) > 0 && args[0] == "" {
		return invalid("Sandbox command must not be empty")
	}
	if err := checkArgs(args); err != nil {
		return err
	}
	if err := checkTerminal(def.GetPtyInfo()); err != nil {
		return err
	}
	return checkWorkdir(def.GetWorkdir())
}

func checkArgs(args []string) error {
	total := 0
	for _, arg := range args {
		total += len(arg)
		if strings.ContainsRune(arg, 0) {
			return invalid("the command contains a null byte")
		}
	}
	if total > maxArgBytes {
		return invalid("Total length of CMD arguments must be less than %d bytes. Got %d bytes.", maxArgBytes, total)
	}
	return nil
}

func checkTerminal(info *pb.PTYInfo) error {
	if info.GetWinszRows() > math.MaxUint16 || info.GetWinszCols() > math.MaxUint16 {
		return invalid("Invalid terminal size: %d rows, %d columns", info.GetWinszRows(), info.GetWinszCols())
	}
	return nil
}

func checkWorkdir(workdir string) error {
	if workdir != "" && !path.IsAbs(workdir) {
		return invalid("the Workdir value must be an absolute path, got: %s", workdir)
	}
	return nil
}

func checkTimeouts(def *pb.Sandbox) error {
	if secs := def.GetTimeoutSecs(); secs < 1 || secs > maxTimeoutSecs {
		return invalid("Sandbox timeout must be between 1 and %d seconds, got %d", maxTimeoutSecs, secs)
	}
	if def.HasIdleTimeoutSecs() {
		if secs := def.GetIdleTimeoutSecs(); secs < 1 || secs > maxTimeoutSecs {
			return invalid("Sandbox idle timeout must be between 1 and %d seconds, got %d", maxTimeoutSecs, secs)
		}
	}
	return nil
}

func checkResources(def *pb.Sandbox) error {
	res := def.GetResources()
	cpu, cpuMax := res.GetMilliCpu(), res.GetMilliCpuMax()
	switch {
	case cpu != 0 && (cpu < minMilliCPU || cpu > maxMilliCPU):
		return invalid("CPU request must be between 0.125 and 64 cores, got %g", float64(cpu)/1000)
	case cpuMax != 0 && (cpu == 0 || cpuMax < cpu || cpuMax > maxMilliCPU):
		return invalid("CPU limit must be between the request and 64 cores, got %g", float64(cpuMax)/1000)
	}
	memory, memoryMax := res.GetMemoryMb(), res.GetMemoryMbMax()
	switch {
	case memory > maxMemoryMiB:
		return invalid("Memory request must be at most %d MiB, got %d", maxMemoryMiB, memory)
	case memoryMax != 0 && (memory == 0 || memoryMax < memory || memoryMax > maxMemoryMiB):
		return invalid("Memory limit must be between the request and %d MiB, got %d", maxMemoryMiB, memoryMax)
	}
	return checkGPU(res.GetGpuConfig())
}

// gpuTypes as the SDK sends them, in upper case. Source: modal.com/docs/guide/gpu.
var gpuTypes = []string{
	"T4", "L4", "A10", "A10G", "L40S", "A100", "A100-40GB", "A100-80GB", "RTX-PRO-6000", "H100", "H100!", "H200", "B200",
	"B200+", "ANY",
}

func checkGPU(gpu *pb.GPUConfig) error {
	if gpu.GetGpuType() == "" {
		if gpu.GetCount() > 0 {
			return invalid("GPU count without a GPU type")
		}
		return nil
	}
	if !slices.Contains(gpuTypes, gpu.GetGpuType()) {
		return invalid("Invalid GPU type: %s", gpu.GetGpuType())
	}
	most := uint32(8)
	if gpu.GetGpuType() == "A10" || gpu.GetGpuType() == "A10G" {
		most = 4
	}
	if gpu.GetCount() < 1 || gpu.GetCount() > most {
		return invalid("%s count must be between 1 and %d, got %d", gpu.GetGpuType(), most, gpu.GetCount())
	}
	return nil
}

var clouds = []string{"", "auto", "aws", "gcp", "oci"}

// regions of modal.com/docs/guide/region-selection: broad ones, narrower ones, and the clouds' own.
var regions = strings.Fields("us us-east us-central us-south us-west eu eu-west eu-north eu-south ap ap-northeast ap-southeast " +
	"ap-south ap-melbourne uk uk-south ca ca-central jp me sa sa-east af mx au il " +
	"us-east-1 us-east-2 us-west-1 us-west-2 us-central1 us-east1 us-east4 us-east5 us-south1 us-west1 us-west2 us-west3 us-west4 " +
	"us-ashburn-1 us-chicago-1 us-phoenix-1 us-sanjose-1 ca-central-1 ca-montreal-1 ca-toronto-1 " +
	"eu-central-1 eu-west-1 eu-west-2 eu-west-3 eu-north-1 eu-south-1 eu-frankfurt-1 eu-paris-1 eu-amsterdam-1 eu-milan-1 " +
	"europe-west1 europe-west2 europe-west3 europe-west4 europe-north1 uk-london-1 " +
	"ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-southeast-1 ap-southeast-2 ap-southeast-3 ap-tokyo-1 ap-osaka-1 " +
	"ap-mumbai-1 ap-melbourne-1 ap-singapore-1 asia-northeast1 asia-northeast3 asia-south1 asia-southeast1 me-west1 sa-east-1 " +
	"sa-saopaulo-1 southamerica-east1")

func checkPlacement(def *pb.Sandbox) error {
	if !slices.Contains(clouds, def.GetCloudProviderStr()) {
		return invalid("Invalid cloud provider: %s", def.GetCloudProviderStr())
	}
	for _, region := range def.GetSchedulerPlacement().GetRegions() {
		if !slices.Contains(regions, region) {
			return invalid("Invalid region: %s", region)
		}
	}
	return nil
}

func checkNetwork(def *pb.Sandbox) error {
	access, ports := def.GetNetworkAccess(), def.GetOpenPorts().GetPorts()
	switch access.GetNetworkAccessType() {
	case pb.NetworkAccess_UNSPECIFIED, pb.NetworkAccess_OPEN:
		if len(access.GetAllowedCidrs()) > 0 {
			return invalid("allowed CIDRs without an allowlist")
		}
	case pb.NetworkAccess_BLOCKED:
		if len(access.GetAllowedCidrs()) > 0 || len(ports) > 0 {
			return invalid("allowed CIDRs and open ports cannot be used when network access is blocked")
		}
	case pb.NetworkAccess_ALLOWLIST:
		for _, cidr := range access.GetAllowedCidrs() {
			if _, err := netip.ParsePrefix(cidr); err != nil {
				return invalid("Invalid CIDR: %s", cidr)
			}
		}
	}
	if def.GetCustomDomain() != "" {
		return status.Errorf(codes.PermissionDenied, "The custom domain '%s' is not set up for this workspace", def.GetCustomDomain())
	}
	seen := map[uint32]bool{}
	for _, port := range ports {
		if port.GetPort() < 1 || port.GetPort() > 65535 || seen[port.GetPort()] {
			return invalid("Invalid or repeated port: %d", port.GetPort())
		}
		seen[port.GetPort()] = true
	}
	return nil
}

// checkMounts by the rules of modal/_utils/mount_utils.py in modal-labs/modal-client.
func checkMounts(def *pb.Sandbox) error {
	places, volumes := map[string]bool{}, map[string]bool{}
	for _, mount := range def.GetVolumeMounts() {
		if err := checkMountPath(mount.GetMountPath(), places); err != nil {
			return err
		}
		if volumes[mount.GetVolumeId()] {
			return invalid("The same Volume cannot be mounted in multiple locations: '%s'", mount.GetVolumeId())
		}
		volumes[mount.GetVolumeId()] = true
	}
	for _, mount := range def.GetCloudBucketMounts() {
		if err := checkMountPath(mount.GetMountPath(), places); err != nil {
			return err
		}
		if err := checkBucket(mount); err != nil {
			return err
		}
	}
	return nil
}

func checkMountPath(mount string, places map[string]bool) error {
	switch {
	case !path.IsAbs(mount) || mount != path.Clean(mount):
		return invalid("The mount path '%s' must be a canonical, absolute path.", mount)
	case slices.Contains([]string{"/", "/root", "/tmp"}, mount):
		return invalid("Nothing can be mounted at '%s'.", mount)
	case places[mount]:
		return invalid("The mount path '%s' is used more than once.", mount)
	}
	places[mount] = true
	return nil
}

// checkBucket by the rules of the SDK's cloud_bucket_mount.go.
func checkBucket(mount *pb.CloudBucketMount) error {
	switch {
	case mount.GetBucketName() == "":
		return invalid("cloud bucket mount without a bucket name")
	case mount.GetRequesterPays() && mount.GetCredentialsSecretId() == "":
		return invalid("Credentials required in order to use Requester Pays.")
	case mount.GetKeyPrefix() != "" && !strings.HasSuffix(mount.GetKeyPrefix(), "/"):
		return invalid("The key prefix '%s' must end in a '/'.", mount.GetKeyPrefix())
	}
	return nil
}
