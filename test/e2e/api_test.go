package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/test/stack"
)

// kubectl runs the real kubectl, as an operator would.
func kubectl(t *testing.T, input string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), plane.Kubectl, append([]string{"--kubeconfig", plane.Kubeconfig}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// kubectlInBackground is kubectl for clean-ups, whose test's context has ended.
func kubectlInBackground(namespace string, args ...string) (string, error) {
	cmd := exec.Command(plane.Kubectl, append([]string{"--kubeconfig", plane.Kubeconfig, "-n", namespace}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func newNamespace(t *testing.T) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"}}
	if err := plane.Client.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plane.Client.Delete(context.Background(), namespace) })
	return namespace.Name
}

// manifest of a RunnerPool with this spec, given as lines of YAML.
func manifest(name string, spec ...string) string {
	return "apiVersion: modalrunner.dev/v1alpha1\nkind: RunnerPool\nmetadata: {name: " + name + "}\nspec:\n  " + strings.Join(spec, "\n  ") + "\n"
}

func TestTheSmallestManifestGetsAllDefaults(t *testing.T) {
	namespace := newNamespace(t)
	if out, err := kubectl(t, manifest("widgets", "repository: octo/widgets", "labels: [modal]", "maxConcurrency: 10"), "-n", namespace, "apply", "-f", "-"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var pool v1alpha1.RunnerPool
	if err := plane.Client.Get(t.Context(), clientKey(namespace, "widgets"), &pool); err != nil {
		t.Fatal(err)
	}
	spec := pool.Spec
	got := []string{
		spec.GitHub.URL, spec.GitHub.SecretName, spec.Modal.App, spec.Modal.SecretName, spec.Image.Base, spec.Image.RunnerVersion,
		spec.Sandbox.CPU.String(), spec.Sandbox.Memory.String(), spec.Sandbox.Timeout.Duration.String(),
		spec.StartupTimeout.Duration.String(), spec.IdleTimeout.Duration.String(),
	}
	want := []string{
		"https://github.com", "github", "modal-runner-controller", "modal", "ubuntu:24.04", "latest",
		"2", "4Gi", "6h0m0s", "5m0s", "1m0s",
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the defaults are %v, want %v", got, want)
	}
}

func TestAWrongManifestIsRefusedWithWhatToDo(t *testing.T) {
	namespace := newNamespace(t)
	valid := []string{"repository: octo/widgets", "labels: [modal]", "maxConcurrency: 1"}
	with := func(lines ...string) []string { return append(append([]string{}, valid...), lines...) }
	for name, test := range map[string]struct {
		spec    []string
		message string
	}{
		"no scope":                         {[]string{"labels: [modal]", "maxConcurrency: 1"}, "set exactly one of repository, organization and enterprise"},
		"two scopes":                       {with("organization: octo"), "set exactly one of repository, organization and enterprise"},
		"a bare repository":                {[]string{"repository: widgets", "labels: [modal]", "maxConcurrency: 1"}, "write the repository as owner/name"},
		"a URL as repository":              {[]string{"repository: https://github.com/octo/widgets", "labels: [modal]", "maxConcurrency: 1"}, "write the repository as owner/name"},
		"no labels":                        {[]string{"repository: octo/widgets", "labels: []", "maxConcurrency: 1"}, "should have at least 1 items"},
		"an empty label":                   {[]string{"repository: octo/widgets", "labels: ['']", "maxConcurrency: 1"}, "a label cannot be empty"},
		"a label with a comma":             {[]string{"repository: octo/widgets", "labels: ['a,b']", "maxConcurrency: 1"}, "write each label as an item of its own"},
		"a negative limit":                 {[]string{"repository: octo/widgets", "labels: [modal]", "maxConcurrency: -1"}, "should be greater than or equal to 0"},
		"no limit":                         {[]string{"repository: octo/widgets", "labels: [modal]"}, "maxConcurrency: Required value"},
		"a pinned runner without checksum": {with("image: {runnerVersion: 2.330.0}"), "needs image.runnerSHA256"},
		"a command without an own image":   {with("image: {command: [/run.sh]}"), "image.command goes with image.ref or image.id"},
		"too long a timeout":               {with("sandbox: {timeout: 25h}"), "sandbox.timeout must be a duration between 1m and 24h"},
		"a timeout with milliseconds":      {with("sandbox: {timeout: 90s500ms}"), "sandbox.timeout must be whole seconds"},
		"a wrong gpu":                      {with("sandbox: {gpu: 'H100:9'}"), "with a count of 1 to 8"},
		"no gpu of Modal's":                {with("sandbox: {gpu: RTX4090}"), "a GPU is T4, L4, A10"},
		"too many A10":                     {with("sandbox: {gpu: 'a10:5'}"), "A10: 1 to 4"},
		"a limit below the request":        {with("sandbox: {cpu: 4, cpuLimit: 2}"), "sandbox.cpuLimit must be at least sandbox.cpu"},
		"memory limit below the request":   {with("sandbox: {memory: 4Gi, memoryLimit: 2Gi}"), "sandbox.memoryLimit must be at least sandbox.memory"},
		"a cloud that is none":             {with("sandbox: {cloud: azure}"), "Unsupported value"},
		"a region that is none":            {with("sandbox: {regions: ['Europe (Frankfurt)']}"), "a region is named as in"},
		"ranges without an allowlist":      {with("sandbox: {network: {allowedCIDRs: [10.0.0.0/8]}}"), "network.allowedCIDRs and network.access Allowlist go together"},
		"an allowlist without ranges":      {with("sandbox: {network: {access: Allowlist}}"), "network.allowedCIDRs and network.access Allowlist go together"},
		"a range that is none":             {with("sandbox: {network: {access: Allowlist, allowedCIDRs: [github.com]}}"), "write a range of addresses"},
		"a relative workdir":               {with("sandbox: {workdir: build}"), "sandbox.workdir must be an absolute path"},
		"a variable's name":                {with("sandbox: {env: [{name: 1X}]}"), "a variable's name has letters"},
		"a variable of the controller's":   {with("sandbox: {env: [{name: ACTIONS_RUNNER_INPUT_JITCONFIG, value: x}]}"), "are the controller's own"},
		"a variable of two values":         {with("sandbox: {env: [{name: X, value: x, secretKeyRef: {name: s, key: k}}]}"), "a variable has either value or secretKeyRef"},
		"a variable twice":                 {with("sandbox: {env: [{name: X}, {name: X}]}"), "Duplicate value"},
		"a volume over the root":           {with("sandbox: {volumes: [{name: v, mountPath: /}]}"), "an absolute path below the root"},
		"a mount path with dots":           {with("sandbox: {volumes: [{name: v, mountPath: /a/../etc}]}"), "an absolute path below the root"},
		"a mount over the runner":          {with("sandbox: {volumes: [{name: v, mountPath: /opt/actions-runner/x}]}"), "cannot hide what the system or the runner needs"},
		"a mount at /tmp":                  {with("sandbox: {cache: {volume: v, mountPath: /tmp}}"), "cannot hide what the system or the runner needs"},
		"a volume in two places":           {with("sandbox: {volumes: [{name: v, mountPath: /data}], cache: {volume: v}}"), "a Volume can be mounted once alone"},
		"two mounts at one path":           {with("sandbox: {volumes: [{name: v, mountPath: /data}], cloudBuckets: [{bucket: b, mountPath: /data}]}"), "cannot share a mountPath"},
		"the cache at a volume's path":     {with("sandbox: {volumes: [{name: v, mountPath: /cache}], cache: {volume: c}}"), "cannot share a mountPath"},
		"a prefix without a slash":         {with("sandbox: {cloudBuckets: [{bucket: b, mountPath: /b, keyPrefix: models}]}"), "keyPrefix must end with a slash"},
		"nobody who pays":                  {with("sandbox: {cloudBuckets: [{bucket: b, mountPath: /b, requesterPays: true}]}"), "requesterPays needs modalSecret"},
		"two images":                       {with("image: {id: im-123, ref: a/b}"), "image.ref and image.id are two different images"},
		"an image ID that is none":         {with("image: {id: ubuntu}"), "image.id must be the ID of an image at Modal"},
		"commands for a finished image":    {with("image: {id: im-123, dockerfileCommands: [RUN true]}"), "image.id is used as it is"},
		"another FROM":                     {with("image: {dockerfileCommands: ['from alpine']}"), "cannot have FROM or ADD"},
		"a COPY of local files":            {with("image: {dockerfileCommands: ['COPY . /src']}"), "can COPY from other images alone"},
		"a registry without credentials":   {with("image: {registry: {}}"), "set either registry.secretName"},
		"a wish for a GPU that is none":    {with("wishes: {gpus: [TPU]}"), "a GPU is T4, L4, A10"},
		"wishes beyond Modal's limits":     {with("wishes: {maxCPU: 65}"), "wishes.maxCPU must be between"},
		"wishes for more than a day":       {with("wishes: {maxTimeout: 25h}"), "wishes.maxTimeout must be a duration between 1m and 24h"},
		"a budget of nothing":              {with("budget: {perDay: 0}"), "budget.perDay must be more than 0"},
		"hooks of nothing":                 {with("hooks: {jobStarted: ''}"), "should be at least 1 chars long"},
		"too much cpu":                     {with("sandbox: {cpu: 100}"), "sandbox.cpu must be between 125m and 64"},
		"too little memory":                {with("sandbox: {memory: 1Mi}"), "sandbox.memory must be between 128Mi and 336Gi"},
		"a server without https":           {with("github: {url: 'http://ghe.example.com'}"), "github.url must be the server's https address"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := kubectl(t, manifest("wrong", test.spec...), "-n", namespace, "apply", "-f", "-")
			if err == nil || !strings.Contains(out, test.message) {
				t.Errorf("kubectl said %q, which lacks %q", out, test.message)
			}
		})
	}
}

func TestTheScopeOfAPoolCannotBeChanged(t *testing.T) {
	namespace := newNamespace(t)
	pool := manifest("fixed", "repository: octo/widgets", "labels: [modal]", "maxConcurrency: 1")
	if out, err := kubectl(t, pool, "-n", namespace, "apply", "-f", "-"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := kubectl(t, strings.ReplaceAll(pool, "octo/widgets", "octo/gadgets"), "-n", namespace, "apply", "-f", "-")
	if err == nil || !strings.Contains(out, "create another RunnerPool") {
		t.Errorf("kubectl said %q", out)
	}
}

func TestKubectlScaleSetsMaxConcurrency(t *testing.T) {
	namespace := newNamespace(t)
	pool := manifest("scaled", "repository: octo/widgets", "labels: [modal]", "maxConcurrency: 1")
	if out, err := kubectl(t, pool, "-n", namespace, "apply", "-f", "-"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := kubectl(t, "", "-n", namespace, "scale", "rp/scaled", "--replicas=7"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, _ := kubectl(t, "", "-n", namespace, "get", "rp", "scaled", "-o", "jsonpath={.spec.maxConcurrency}"); out != "7" {
		t.Errorf("maxConcurrency is %q", out)
	}
}

func TestTheSamplesApply(t *testing.T) {
	namespace := newNamespace(t)
	samples, err := filepath.Glob("../../config/samples/*pool*.yaml")
	if err != nil || len(samples) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	for _, sample := range samples {
		text, err := os.ReadFile(sample)
		if err != nil {
			t.Fatal(err)
		}
		here := strings.ReplaceAll(string(text), "namespace: ci", "namespace: "+namespace)
		if out, err := kubectl(t, here, "-n", namespace, "create", "--dry-run=server", "--validate=strict", "-f", "-"); err != nil {
			t.Errorf("%s: %s", sample, out)
		}
	}
}

// TestTheChartAndKustomizeAreAcceptedByTheAPIServer checks every object that an installation applies against the real
// API server, strictly.
func TestTheChartAndKustomizeAreAcceptedByTheAPIServer(t *testing.T) {
	helm, err := stack.Helm(t.Context(), "../..")
	if err != nil {
		t.Fatal(err)
	}
	namespace := newNamespace(t)
	for name, values := range map[string]string{
		"default": "replicas=1",
		"full":    "replicas=2,webhook.secretName=hook,webhook.url=https://ci.example.com,webhook.ingress.enabled=true,webhook.ingress.host=ci.example.com,watchNamespaces={" + namespace + "}",
	} {
		t.Run(name, func(t *testing.T) {
			rendered, err := exec.CommandContext(t.Context(), helm, "template", "mrc",
				"../../charts/modal-runner-controller", "--kube-version", "v1.37.2", "-n", namespace, "--set", values).Output()
			if err != nil {
				t.Fatal(err)
			}
			out, err := kubectl(t, string(rendered), "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-")
			if err != nil || !strings.Contains(out, "deployment.apps/mrc-modal-runner-controller serverside-applied") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	if out, err := kubectl(t, "", "kustomize", "../../config/default"); err != nil || !strings.Contains(out, "kind: Deployment") {
		t.Errorf("%v: %s", err, out)
	}
}
