package e2e

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files of the requests to Modal anew")

// TestTheWholeRequestsToModal holds all that Modal is asked for: for a pool with nothing but what it must have, and for the
// sample that sets every field.
func TestTheWholeRequestsToModal(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*v1alpha1.RunnerPoolSpec)
		labels []string
	}{
		"smallest":   {func(s *v1alpha1.RunnerPoolSpec) { s.Sandbox = v1alpha1.Sandbox{} }, []string{"modal"}},
		"everything": {everything(t), []string{"modal-large"}},
		"wishes":     {everything(t), []string{"modal-gpu=H100:2", "modal-memory=48Gi", "modal-timeout=3h", "modal-cpu=12"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.everythingAtModal()
			pool := w.pool("p", 1, test.change)
			w.awaitReady(pool)
			id := w.github.AddQueuedJob(repository, "build", test.labels)
			w.awaitAll([]int64{id}, "success")
			w.expectGolden(name+".json", w.requests())
		})
	}
}

// everything that the sample sets, for this world.
func everything(t *testing.T) func(*v1alpha1.RunnerPoolSpec) {
	text, err := os.ReadFile("../../config/samples/runnerpool-everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var sample v1alpha1.RunnerPool
	if err := yaml.UnmarshalStrict(text, &sample); err != nil {
		t.Fatal(err)
	}
	return func(s *v1alpha1.RunnerPoolSpec) {
		scope, url := s.Scope, s.GitHub.URL
		repositories := s.Repositories
		*s = *sample.Spec.DeepCopy()
		s.Scope, s.GitHub.URL, s.Repositories = scope, url, repositories
	}
}

// everythingAtModal that the sample refers to.
func (w *world) everythingAtModal() {
	w.modal.AddPrivateImage("registry.example.com/ci/base:1", "ci", "registry-password")
	w.modal.AddProxy("office")
	w.modal.AddSecret("huggingface", map[string]string{"HF_TOKEN": "hf-secret"})
	w.modal.AddSecret("aws", map[string]string{"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "aws-secret"})
	w.modal.AddVolume("models")
	w.createSecret("registry", map[string]string{"REGISTRY_USERNAME": "ci", "REGISTRY_PASSWORD": "registry-password"})
	w.createSecret("npm", map[string]string{"token": npmToken})
}

const npmToken = "npm-token-of-the-test"

// asked is what Modal was asked for.
type asked struct {
	Images  []json.RawMessage
	Sandbox json.RawMessage
	// Env that the sandbox sees, of all its secrets together.
	Env  map[string]string
	Tags []string
}

func (w *world) requests() asked {
	w.t.Helper()
	var a asked
	// The tags come after the sandbox, which may have ended by then.
	w.Eventually(func() int { return len(w.modal.Sandboxes()[0].Tags) }).Should(BeNumerically(">", 0))
	for _, image := range w.modal.Images() {
		a.Images = append(a.Images, plain(w.t, image.Request))
	}
	sandboxes := w.modal.Sandboxes()
	w.Expect(sandboxes).To(HaveLen(1))
	request := proto.CloneOf(sandboxes[0].Request)
	slices.SortFunc(request.GetDefinition().GetVolumeMounts(), func(x, y *pb.VolumeMount) int {
		return strings.Compare(x.GetMountPath(), y.GetMountPath())
	})
	a.Sandbox = plain(w.t, request)
	a.Env = map[string]string{}
	for name, value := range sandboxes[0].Env {
		if name == "ACTIONS_RUNNER_INPUT_JITCONFIG" {
			w.Expect(value).NotTo(BeEmpty())
			value = "..."
		}
		a.Env[name] = value
	}
	for tag := range sandboxes[0].Tags {
		a.Tags = append(a.Tags, tag)
	}
	slices.Sort(a.Tags)
	return a
}

// plain JSON of a message. protojson varies its white space on purpose.
func plain(t *testing.T, message proto.Message) json.RawMessage {
	t.Helper()
	text, err := protojson.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Compact(&indented, text); err != nil {
		t.Fatal(err)
	}
	return indented.Bytes()
}

var (
	modalID12  = regexp.MustCompile(`"(ap|im|st|vo|pr)-[A-Za-z0-9]{10,}"`)
	outsideSum = regexp.MustCompile(`p-0-[0-9a-f]{8}-[0-9a-f]{12}-1`)
	serverURL  = regexp.MustCompile(`http://127\.0\.0\.1:[0-9]+`)
)

// expectGolden compares with a file, in which what is random is left out.
func (w *world) expectGolden(file string, got asked) {
	w.t.Helper()
	text, err := json.MarshalIndent(got, "", "  ")
	w.Expect(err).NotTo(HaveOccurred())
	text = modalID12.ReplaceAll(append(text, '\n'), []byte(`"$1-..."`))
	text = outsideSum.ReplaceAll(text, []byte("p-0-INSTALLATION-UID-1"))
	text = serverURL.ReplaceAll(text, []byte("https://github.example.com"))
	path := filepath.Join("testdata", "requests", file)
	if *update {
		w.Expect(os.MkdirAll(filepath.Dir(path), 0o755)).To(Succeed()) //nolint:gosec // a test's file
		w.Expect(os.WriteFile(path, text, 0o644)).To(Succeed())        //nolint:gosec // a test's file
	}
	want, err := os.ReadFile(path)
	w.Expect(err).NotTo(HaveOccurred(), "run the test with -update to write it")
	w.Expect(string(text)).To(Equal(string(want)), "if this is meant, run the test with -update")
}
