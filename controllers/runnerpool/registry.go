package runnerpool

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
)

// keys that a registry's Secret must have, as Modal wants them. Source: modal.com/docs/guide/private-registries.
var registryKeys = map[v1alpha1.RegistryType][]string{
	v1alpha1.RegistryBasic:            {"REGISTRY_USERNAME", "REGISTRY_PASSWORD"},
	v1alpha1.RegistryECR:              {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"},
	v1alpha1.RegistryArtifactRegistry: {"SERVICE_ACCOUNT_JSON"},
}

// registry credentials that the image is pulled with; nil when it takes none. Errors are of class SecretMissing,
// SecretInvalid or Transient.
func (r *Reconciler) registry(ctx context.Context, namespace string, image v1alpha1.Image) (*sandbox.Registry, error) {
	spec := image.Registry
	if spec == nil {
		return nil, nil
	}
	registry := &sandbox.Registry{Type: spec.Type, ModalSecret: spec.ModalSecret, SecretName: spec.SecretName}
	if spec.ModalSecret != "" {
		return registry, nil
	}
	data, err := r.Secrets.Get(ctx, namespace, spec.SecretName)
	if err != nil {
		return nil, err
	}
	invalid := func(format string, args ...any) error {
		return &fault.Error{
			Op: fmt.Sprintf("reading Secret %s/%s", namespace, spec.SecretName), Class: fault.SecretInvalid, Message: fmt.Sprintf(format, args...),
		}
	}
	if config, ok := data[corev1.DockerConfigJsonKey]; ok && spec.Type == v1alpha1.RegistryBasic {
		host := registryHost(image)
		user, password, ok := fromDockerConfig(config, host)
		if !ok {
			return nil, invalid("its %s has no user and password for %s: add them", corev1.DockerConfigJsonKey, host)
		}
		data = map[string]credentials.Redacted{"REGISTRY_USERNAME": user, "REGISTRY_PASSWORD": password}
	}
	registry.Values = map[string]credentials.Redacted{}
	for _, key := range registryKeys[spec.Type] {
		if data[key] == "" {
			return nil, invalid("it has no %s: add it, or correct spec.image.registry", key)
		}
		registry.Values[key] = data[key]
	}
	return registry, nil
}

// registryHost of the image that is pulled; Docker Hub's is what its client writes into a configuration.
func registryHost(image v1alpha1.Image) string {
	ref := image.Base
	if image.Ref != "" {
		ref = image.Ref
	}
	host, _, found := strings.Cut(ref, "/")
	if !found || !strings.ContainsAny(host, ".:") && host != "localhost" {
		return "https://index.docker.io/v1/"
	}
	return host
}

// fromDockerConfig takes a registry's user and password out of a docker configuration.
func fromDockerConfig(config credentials.Redacted, host string) (user, password credentials.Redacted, ok bool) {
	var parsed struct {
		Auths map[string]struct{ Username, Password, Auth string }
	}
	if json.Unmarshal([]byte(config.Reveal()), &parsed) != nil {
		return "", "", false
	}
	for name, auth := range parsed.Auths {
		if name != host && strings.TrimSuffix(strings.TrimPrefix(name, "https://"), "/") != strings.TrimSuffix(strings.TrimPrefix(host, "https://"), "/") {
			continue
		}
		if decoded, err := base64.StdEncoding.DecodeString(auth.Auth); err == nil && auth.Username == "" {
			auth.Username, auth.Password, _ = strings.Cut(string(decoded), ":")
		}
		return credentials.Redacted(auth.Username), credentials.Redacted(auth.Password), auth.Username != "" && auth.Password != ""
	}
	return "", "", false
}
