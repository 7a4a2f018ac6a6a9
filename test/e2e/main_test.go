// Package e2e runs the whole product, as its own process, against a real API server and both simulators.
package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/test/stack"
)

// What all tests share: one control plane and one build of the manager. Each test has its own namespace, simulators and
// manager process.
var (
	plane  *stack.ControlPlane
	binary string
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
	code := m.Run()
	return code, plane.Stop()
}

func clientKey(namespace, name string) client.ObjectKey {
	return client.ObjectKey{Namespace: namespace, Name: name}
}
