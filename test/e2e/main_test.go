// Package e2e runs the whole product, as its own process, against a real API server and both simulators.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	"github.com/modalrunner/modal-runner-controller/simulators/github/openapi"
	"github.com/modalrunner/modal-runner-controller/test/stack"
)

// What all tests share: one control plane and one build of the manager. Each test has its own namespace, simulators and
// manager process.
var (
	plane     *stack.ControlPlane
	binary    string
	described *openapi.Validator
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	ctx := context.Background()
	root, err := stack.Root()
	if err != nil {
		return 1, err
	}
	folder, err := os.MkdirTemp("", "modal-runner-e2e-")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	if binary, err = stack.BuildManager(ctx, root, folder); err != nil {
		return 1, err
	}
	if plane, err = stack.StartControlPlane(ctx, root); err != nil {
		return 1, err
	}
	if described, err = describe(ctx, root); err != nil {
		return 1, errors.Join(err, plane.Stop())
	}
	code := m.Run()
	for _, violation := range described.Violations() {
		fmt.Fprintln(os.Stderr, "not as GitHub describes its API:", violation)
		code = 1
	}
	fmt.Printf("%d kinds of GitHub's answers were checked against its OpenAPI description\n", len(described.Checked()))
	return code, plane.Stop()
}

// describe loads GitHub's OpenAPI description, which every call of every test is checked against.
func describe(ctx context.Context, root string) (*openapi.Validator, error) {
	fetch := exec.CommandContext(ctx, filepath.Join(root, "hack", "openapi", "fetch.sh"))
	fetch.Stderr = os.Stderr
	folder, err := fetch.Output()
	if err != nil {
		return nil, fmt.Errorf("fetching GitHub's OpenAPI description, which needs npm: %w", err)
	}
	return openapi.Load(strings.TrimSpace(string(folder)), githubsim.DocumentedPaths()...)
}

func clientKey(namespace, name string) client.ObjectKey {
	return client.ObjectKey{Namespace: namespace, Name: name}
}
