// Package chart holds the chart against a real API server, with the real Helm.
package chart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/modalrunner/modal-runner-controller/test/stack"
)

const chart = "../../charts/modal-runner-controller"

var (
	// cluster of an administrator; at first it knows none of the project's kinds.
	cluster    client.Client
	kubeconfig string
	helmBinary string
	// manager is built from the sources.
	manager string
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	root, err := stack.Root()
	if err != nil {
		return 1, err
	}
	assets, err := stack.Assets(context.Background(), root)
	if err != nil {
		return 1, err
	}
	if helmBinary, err = stack.Helm(context.Background(), root); err != nil {
		return 1, err
	}
	plane := &envtest.Environment{BinaryAssetsDirectory: assets, ControlPlaneStartTimeout: 3 * time.Minute, ControlPlaneStopTimeout: time.Minute}
	config, err := plane.Start()
	if err != nil {
		return 1, fmt.Errorf("starting the control plane: %w", err)
	}
	defer func() { err = errors.Join(err, plane.Stop()) }()
	admin, err := plane.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		return 1, err
	}
	text, err := admin.KubeConfig()
	if err != nil {
		return 1, err
	}
	folder, err := os.MkdirTemp("", "modal-runner-chart-")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	kubeconfig = filepath.Join(folder, "kubeconfig")
	if err := os.WriteFile(kubeconfig, text, 0o600); err != nil {
		return 1, err
	}
	if manager, err = stack.BuildManager(context.Background(), root, folder); err != nil {
		return 1, err
	}
	if cluster, err = client.New(config, client.Options{}); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// helm runs the real Helm, with caches of the test's own, and gives what it wrote.
func helm(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	folder := t.TempDir()
	cmd := exec.CommandContext(t.Context(), helmBinary, arguments...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "HELM_CACHE_HOME="+folder, "HELM_CONFIG_HOME="+folder, "HELM_DATA_HOME="+folder, "HOME="+folder)
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("helm %s: %w: %s", strings.Join(arguments, " "), err, problem.String())
	}
	return out.String(), nil
}

func mustHelm(t *testing.T, arguments ...string) string {
	t.Helper()
	out, err := helm(t, arguments...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// rendered objects of the chart with these values.
func rendered(t *testing.T, arguments ...string) []unstructured.Unstructured {
	t.Helper()
	return renderedAs(t, "mrc", "system", arguments...)
}

// renderedAs a release in a namespace.
func renderedAs(t *testing.T, release, namespace string, arguments ...string) []unstructured.Unstructured {
	t.Helper()
	text := mustHelm(t, append([]string{"template", release, chart, "--kube-version=v1.37.2", "--namespace=" + namespace}, arguments...)...)
	var objects []unstructured.Unstructured
	for decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096); ; {
		var o unstructured.Unstructured
		if err := decoder.Decode(&o.Object); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			t.Fatal(err)
		}
		if len(o.Object) > 0 {
			objects = append(objects, o)
		}
	}
}

// valuesFiles are sets of values that go together.
func valuesFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(chart + "/ci/*-values.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no values: %v", err)
	}
	return files
}
