package sandbox

import (
	"maps"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// RequestFor a sandbox as a template describes it. Its name, image, command and environment are for the caller to add.
func RequestFor(spec *v1alpha1.Sandbox) Request {
	request := Request{
		MilliCPU: spec.CPU.MilliValue(), MemoryMiB: mebibytes(spec.Memory), GPU: string(spec.GPU), Timeout: spec.Timeout.Duration,
		Cloud: spec.Cloud, Regions: texts(spec.Regions), Workdir: spec.Workdir, References: ReferencesOf(spec),
		ExperimentalOptions: experimental(spec), Verbose: spec.Verbose,
	}
	if spec.CPULimit != nil {
		request.MilliCPULimit = spec.CPULimit.MilliValue()
	}
	if spec.MemoryLimit != nil {
		request.MemoryLimitMiB = mebibytes(*spec.MemoryLimit)
	}
	if network := spec.Network; network != nil {
		request.Network = Network{Blocked: network.Access == v1alpha1.NetworkBlocked, Allowed: texts(network.AllowedCIDRs)}
	}
	return request
}

func mebibytes(q resource.Quantity) int64 { return q.Value() >> 20 }

// inVM says that the sandbox is a virtual machine. Source: modal.com/docs/guide/vm-sandboxes.
func inVM(spec *v1alpha1.Sandbox) bool { return spec.ExperimentalOptions["vm_runtime"] }

// experimental options: the operator's, and the one by which gVisor lets Docker run.
func experimental(spec *v1alpha1.Sandbox) map[string]bool {
	options := maps.Clone(spec.ExperimentalOptions)
	if _, set := options["enable_docker"]; set || !spec.Docker || inVM(spec) {
		return options
	}
	if options == nil {
		options = map[string]bool{}
	}
	options["enable_docker"] = true
	return options
}

// ReferencesOf a sandbox to what has a name at Modal.
func ReferencesOf(spec *v1alpha1.Sandbox) References {
	r := References{Secrets: texts(spec.ModalSecrets), Proxy: spec.Proxy, Volumes: map[string]Volume{}, Buckets: map[string]Bucket{}}
	for _, v := range spec.Volumes {
		r.Volumes[string(v.MountPath)] = Volume{Name: string(v.Name), ReadOnly: v.ReadOnly, CreateIfMissing: v.CreateIfMissing}
	}
	if cache := spec.Cache; cache != nil {
		r.Volumes[string(cache.MountPath)] = Volume{Name: string(cache.Volume), CreateIfMissing: true}
	}
	for _, b := range spec.CloudBuckets {
		r.Buckets[string(b.MountPath)] = Bucket{
			Name: b.Bucket, Secret: string(b.ModalSecret), RoleARN: b.OIDCRoleARN, EndpointURL: b.EndpointURL, KeyPrefix: b.KeyPrefix,
			ReadOnly: b.ReadOnly, RequesterPays: b.RequesterPays,
		}
	}
	return r
}

func texts[T ~string](values []T) []string {
	var all []string
	for _, value := range values {
		all = append(all, string(value))
	}
	return all
}
