// Package stack starts what tests and the local stack run on: a real API server, etcd and controller manager, both
// simulators, and the product's manager as a process of its own.
package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-logr/logr"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// ControlPlane is a running API server with etcd and a controller manager (for garbage collection, namespaces and
// service accounts), and the project's CRDs installed.
type ControlPlane struct {
	// Config of an administrator.
	Config *rest.Config
	// Client of an administrator, without a cache.
	Client client.Client
	// Kubeconfig is the path of a file for an administrator.
	Kubeconfig string
	// ManagerKubeconfig is the path of a file for a user that has the manager's rights and no more; there is none for installing.
	ManagerKubeconfig string
	// Kubectl is the path of a kubectl of the API server's version.
	Kubectl string

	environment     *envtest.Environment
	bare            bool
	controllerNames []string
	controllers     *exec.Cmd
	folder          string
}

// Root of the repository.
func Root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("finding the module: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// Assets gives the folder with the control plane's programs, which hack/assets.sh downloads or builds when they are not
// there yet. That may take minutes; it says so on stderr.
func Assets(ctx context.Context, root string) (string, error) {
	script := exec.CommandContext(ctx, filepath.Join(root, "hack", "assets.sh"))
	script.Stderr = os.Stderr
	out, err := script.Output()
	if err != nil {
		return "", fmt.Errorf("providing the control plane: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Option of a control plane.
type Option func(c *ControlPlane) error

// Audited has the API server write down every request of the manager, and of all ServiceAccounts, into a file, one JSON object
// a line.
func Audited(path string) Option {
	return func(c *ControlPlane) error {
		policy := filepath.Join(c.folder, "audit.yaml")
		text := "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\n" +
			"rules: [{level: Metadata, users: [" + managerUser + "]}, {level: Metadata, userGroups: [\"system:serviceaccounts\"]}, {level: None}]\n"
		if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
			return err
		}
		c.environment.ControlPlane.GetAPIServer().Configure().Set("audit-policy-file", policy).Set("audit-log-path", path)
		return nil
	}
}

// ForInstalling is for a cluster that the product is installed into: it has no CRDs and no user for a manager, and everything
// that makes Pods of Deployments and tells Services their endpoints. What it needs in addition is a Node (test/node). Owner
// references are checked as OpenShift checks them.
func ForInstalling(c *ControlPlane) error {
	c.bare = true
	c.controllerNames = append(c.controllerNames, "deployment-controller", "replicaset-controller", "job-controller", "endpointslice-controller",
		"disruption-controller", "root-ca-certificate-publisher-controller")
	c.environment.CRDDirectoryPaths = nil
	// envtest leaves the ServiceAccount plugin out: with it, Pods get the token of their account.
	c.environment.ControlPlane.GetAPIServer().Configure().
		Disable("disable-admission-plugins").Set("enable-admission-plugins", "OwnerReferencesPermissionEnforcement")
	return nil
}

// StartControlPlane and, unless it is for installing, install the CRDs of the repository at root.
func StartControlPlane(ctx context.Context, root string, options ...Option) (*ControlPlane, error) {
	// envtest's own log lines tell nothing that its errors do not.
	log.SetLogger(logr.Discard())
	assets, err := Assets(ctx, root)
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "modal-runner-stack-")
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	c := &ControlPlane{
		folder:          folder,
		Kubectl:         filepath.Join(assets, "kubectl"),
		controllerNames: []string{"garbage-collector-controller", "namespace-controller", "serviceaccount-controller"},
		environment: &envtest.Environment{
			BinaryAssetsDirectory:    assets,
			CRDDirectoryPaths:        []string{filepath.Join(root, "config", "crd", "bases")},
			ErrorIfCRDPathMissing:    true,
			ControlPlaneStartTimeout: 3 * time.Minute,
			ControlPlaneStopTimeout:  time.Minute,
		},
	}
	for _, option := range options {
		if err := option(c); err != nil {
			return nil, errors.Join(err, os.RemoveAll(folder))
		}
	}
	if c.Config, err = c.environment.Start(); err != nil {
		return nil, fmt.Errorf("starting the control plane: %w", err)
	}
	c.Config.QPS = -1
	if err := c.finish(ctx, root, assets, scheme); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *ControlPlane) finish(ctx context.Context, root, assets string, scheme *runtime.Scheme) error {
	var err error
	if c.Kubeconfig, err = c.addUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}); err != nil {
		return err
	}
	if c.Client, err = client.New(c.Config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	if !c.bare {
		if c.ManagerKubeconfig, err = c.addUser(envtest.User{Name: managerUser}); err != nil {
			return err
		}
		if err := c.grant(ctx, root); err != nil {
			return fmt.Errorf("granting the manager its rights: %w", err)
		}
	}
	return c.startControllers(assets)
}

// AddUser without any right, and give the path of its kubeconfig.
func (c *ControlPlane) AddUser(name string) (string, error) {
	return c.addUser(envtest.User{Name: name})
}

// addUser and give the path of its kubeconfig.
func (c *ControlPlane) addUser(user envtest.User) (string, error) {
	added, err := c.environment.AddUser(user, nil)
	if err != nil {
		return "", fmt.Errorf("adding the user %s: %w", user.Name, err)
	}
	kubeconfig, err := added.KubeConfig()
	if err != nil {
		return "", fmt.Errorf("making a kubeconfig: %w", err)
	}
	path := filepath.Join(c.folder, user.Name+".kubeconfig")
	return path, os.WriteFile(path, kubeconfig, 0o600)
}

// managerUser has the generated rules of the manager, and those that the chart gives it in its own namespace.
const managerUser = "manager"

func (c *ControlPlane) grant(ctx context.Context, root string) error {
	text, err := os.ReadFile(filepath.Join(root, "config", "rbac", "role.yaml"))
	if err != nil {
		return err
	}
	var role rbacv1.ClusterRole
	if err := yaml.UnmarshalStrict(text, &role); err != nil {
		return err
	}
	role.Rules = append(role.Rules,
		rbacv1.PolicyRule{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"get", "create", "update"}},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "create"}},
	)
	if err := c.Client.Create(ctx, &role); err != nil {
		return err
	}
	return c.Client.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: managerUser},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: managerUser}},
	})
}

func (c *ControlPlane) startControllers(assets string) error {
	certificates := c.environment.ControlPlane.APIServer.CertDir
	authority := filepath.Join(c.folder, "ca.crt")
	if err := os.WriteFile(authority, c.Config.CAData, 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(c.folder, "kube-controller-manager.log"))
	if err != nil {
		return err
	}
	c.controllers = exec.Command(filepath.Join(assets, "kube-controller-manager"),
		"--kubeconfig="+c.Kubeconfig,
		"--leader-elect=false",
		"--bind-address=127.0.0.1",
		"--secure-port=0",
		"--service-account-private-key-file="+filepath.Join(certificates, "sa-signer.key"),
		"--root-ca-file="+authority,
		"--controllers="+strings.Join(c.controllerNames, ","),
	)
	c.controllers.Stdout, c.controllers.Stderr = log, log
	if err := c.controllers.Start(); err != nil {
		return fmt.Errorf("starting kube-controller-manager: %w", err)
	}
	return nil
}

// Stop everything that was started.
func (c *ControlPlane) Stop() error {
	if c.controllers != nil && c.controllers.Process != nil {
		_ = c.controllers.Process.Kill()
		_ = c.controllers.Wait()
	}
	err := c.environment.Stop()
	_ = os.RemoveAll(c.folder)
	return err
}
