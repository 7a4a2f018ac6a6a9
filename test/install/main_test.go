// Package install installs the product as an operator does: the chart, by Helm, into a real API server, whose controllers
// make Pods that test/node runs with the rights of the chart's ServiceAccounts. GitHub and Modal are simulated.
package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/test/node"
	"github.com/modalrunner/modal-runner-controller/test/stack"
)

// What all tests share: one cluster, one after the other. Each leaves it as it found it.
var (
	root     string
	plane    *stack.ControlPlane
	worker   *node.Node
	helmPath string
	auditLog string
)

const image = "ghcr.io/modalrunner/modal-runner-controller"

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx := context.Background()
	if root, err = stack.Root(); err != nil {
		return 1, err
	}
	folder, err := os.MkdirTemp("", "modal-runner-install-")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	binary, err := stack.BuildManager(ctx, root, folder)
	if err != nil {
		return 1, err
	}
	if helmPath, err = stack.Helm(ctx, root); err != nil {
		return 1, err
	}
	auditLog = filepath.Join(folder, "audit.log")
	if plane, err = stack.StartControlPlane(ctx, root, stack.ForInstalling, stack.Audited(auditLog)); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, plane.Stop()) }()
	worker, err = node.Start(ctx, node.Options{
		Name: "node-1", Config: plane.Config,
		Program: func(name string) (string, bool) { return binary, strings.HasPrefix(name, image+":") },
		Places:  map[string]string{"/etc/modal-runner-controller/webhook": "--webhook-secret-dir"},
	})
	if err != nil {
		return 1, err
	}
	defer worker.Stop()
	if err := settled(ctx); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// settled waits until every namespace has what the cluster itself puts there, so that it is nobody else's.
func settled(ctx context.Context) error {
	err := wait.PollUntilContextTimeout(ctx, often, patience, true, func(ctx context.Context) (bool, error) {
		var namespaces corev1.NamespaceList
		if err := plane.Client.List(ctx, &namespaces); err != nil {
			return false, err
		}
		for _, n := range namespaces.Items {
			account := plane.Client.Get(ctx, client.ObjectKey{Namespace: n.Name, Name: "default"}, &corev1.ServiceAccount{})
			authority := plane.Client.Get(ctx, client.ObjectKey{Namespace: n.Name, Name: "kube-root-ca.crt"}, &corev1.ConfigMap{})
			if err := errors.Join(account, authority); err != nil {
				return false, errors.Join(client.IgnoreNotFound(account), client.IgnoreNotFound(authority))
			}
		}
		return len(namespaces.Items) >= 4, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for what the cluster puts into its namespaces: %w", err)
	}
	return nil
}
