package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
)

// accountPath is where programs find the API server's certificate and the token of their Pod.
const accountPath = "/var/run/secrets/kubernetes.io/serviceaccount"

func (p *pod) volumeFolder(name string) string {
	return filepath.Join(p.node.podFolder(p.object.UID), name)
}

// mount writes the contents of all volumes into folders.
func (p *pod) mount(ctx context.Context) error {
	for _, v := range p.object.Spec.Volumes {
		if err := p.fill(ctx, v); err != nil {
			return fmt.Errorf("volume %s: %w", v.Name, err)
		}
	}
	return nil
}

// refresh follows changes of what is mounted, where a kubelet takes a minute. Tokens live longer than tests.
func (p *pod) refresh(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(2 * retryEvery):
		}
		for _, v := range p.object.Spec.Volumes {
			if v.Secret != nil || v.ConfigMap != nil {
				// A Secret that is gone stays mounted as it was.
				_ = p.fill(ctx, v)
			}
		}
	}
}

func (p *pod) fill(ctx context.Context, v corev1.Volume) error {
	folder := p.volumeFolder(v.Name)
	if v.EmptyDir != nil {
		return os.MkdirAll(folder, 0o700)
	}
	files, err := p.contents(ctx, v)
	if err != nil {
		return err
	}
	return publish(folder, files)
}

func (p *pod) contents(ctx context.Context, v corev1.Volume) (map[string][]byte, error) {
	switch {
	case v.Secret != nil:
		return p.secret(ctx, v.Secret.SecretName, v.Secret.Items, ptr.Deref(v.Secret.Optional, false))
	case v.ConfigMap != nil:
		return p.configMap(ctx, v.ConfigMap.Name, v.ConfigMap.Items, ptr.Deref(v.ConfigMap.Optional, false))
	case v.Projected != nil:
		files := map[string][]byte{}
		for _, source := range v.Projected.Sources {
			more, err := p.project(ctx, source)
			if err != nil {
				return nil, err
			}
			maps.Copy(files, more)
		}
		return files, nil
	}
	return nil, errors.New("this Node does not know volumes of its kind")
}

func (p *pod) project(ctx context.Context, source corev1.VolumeProjection) (map[string][]byte, error) {
	switch {
	case source.ServiceAccountToken != nil:
		token, err := p.token(ctx, source.ServiceAccountToken)
		return map[string][]byte{source.ServiceAccountToken.Path: token}, err
	case source.ConfigMap != nil:
		return p.configMap(ctx, source.ConfigMap.Name, source.ConfigMap.Items, ptr.Deref(source.ConfigMap.Optional, false))
	case source.Secret != nil:
		return p.secret(ctx, source.Secret.Name, source.Secret.Items, ptr.Deref(source.Secret.Optional, false))
	case source.DownwardAPI != nil:
		files := map[string][]byte{}
		for _, item := range source.DownwardAPI.Items {
			value, err := p.field(item.FieldRef.FieldPath)
			if err != nil {
				return nil, err
			}
			files[item.Path] = []byte(value)
		}
		return files, nil
	}
	return nil, errors.New("this Node does not know projections of its kind")
}

// token of the Pod's ServiceAccount that is bound to the Pod: it is worth nothing once the Pod is gone.
func (p *pod) token(ctx context.Context, projection *corev1.ServiceAccountTokenProjection) ([]byte, error) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: projection.ExpirationSeconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: p.name, UID: p.object.UID},
	}}
	if projection.Audience != "" {
		request.Spec.Audiences = []string{projection.Audience}
	}
	made, err := p.node.client.CoreV1().ServiceAccounts(p.namespace).CreateToken(ctx, p.object.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("asking for a token of ServiceAccount %s: %w", p.object.Spec.ServiceAccountName, err)
	}
	return []byte(made.Status.Token), nil
}

func (p *pod) secret(ctx context.Context, name string, items []corev1.KeyToPath, optional bool) (map[string][]byte, error) {
	secret, err := p.node.client.CoreV1().Secrets(p.namespace).Get(ctx, name, metav1.GetOptions{})
	if optional && apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return choose(secret.Data, items)
}

func (p *pod) configMap(ctx context.Context, name string, items []corev1.KeyToPath, optional bool) (map[string][]byte, error) {
	config, err := p.node.client.CoreV1().ConfigMaps(p.namespace).Get(ctx, name, metav1.GetOptions{})
	if optional && apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	data := maps.Clone(config.BinaryData)
	if data == nil {
		data = map[string][]byte{}
	}
	for key, value := range config.Data {
		data[key] = []byte(value)
	}
	return choose(data, items)
}

// choose the items that are named, or all.
func choose(data map[string][]byte, items []corev1.KeyToPath) (map[string][]byte, error) {
	if len(items) == 0 {
		return data, nil
	}
	chosen := map[string][]byte{}
	for _, item := range items {
		value, has := data[item.Key]
		if !has {
			return nil, fmt.Errorf("there is no key %s", item.Key)
		}
		chosen[item.Path] = value
	}
	return chosen, nil
}

// publish files in a folder as a kubelet does: the files are links into ..data, and that is a link to a folder that is
// exchanged in one step.
func publish(folder string, files map[string][]byte) error {
	data := filepath.Join(folder, "..data")
	if same(data, files) {
		return nil
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	next, err := os.MkdirTemp(folder, "..")
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(next, name), content, 0o600); err != nil {
			return err
		}
		if link := filepath.Join(folder, name); os.Symlink(filepath.Join("..data", name), link) != nil {
			if _, err := os.Readlink(link); err != nil {
				return err
			}
		}
	}
	before, _ := os.Readlink(data)
	if err := os.Symlink(filepath.Base(next), data+"_tmp"); err != nil {
		return err
	}
	if err := os.Rename(data+"_tmp", data); err != nil {
		return err
	}
	if before == "" {
		return nil
	}
	return errors.Join(prune(folder, files), os.RemoveAll(filepath.Join(folder, before)))
}

// prune the links to files that are no more.
func prune(folder string, files map[string][]byte) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if _, stays := files[entry.Name()]; !stays && entry.Name()[:1] != "." {
			if err := os.Remove(filepath.Join(folder, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func same(folder string, files map[string][]byte) bool {
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != len(files) {
		return false
	}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if wanted, has := files[entry.Name()]; err != nil || !has || !bytes.Equal(content, wanted) {
			return false
		}
	}
	return true
}

// kubeconfig for a program that would find the API server in a Pod's environment and the token in its folder.
func (p *pod) kubeconfig(account string) (string, error) {
	path := filepath.Join(p.node.podFolder(p.object.UID), "kubeconfig")
	config := clientcmdapi.NewConfig()
	config.Clusters["cluster"] = &clientcmdapi.Cluster{Server: p.node.options.Config.Host, CertificateAuthority: filepath.Join(account, "ca.crt")}
	config.AuthInfos["account"] = &clientcmdapi.AuthInfo{TokenFile: filepath.Join(account, "token")}
	config.Contexts["pod"] = &clientcmdapi.Context{Cluster: "cluster", AuthInfo: "account", Namespace: p.namespace}
	config.CurrentContext = "pod"
	return path, clientcmd.WriteToFile(*config, path)
}
