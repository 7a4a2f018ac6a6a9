package modal

import (
	"fmt"
	"path"
	"slices"
	"strings"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
)

// registry is all the image registries of the world: the tags that can be pulled.
type registry struct {
	tags []registryTag
}

// registryTag is a pattern (path.Match) of tags with their contents.
type registryTag struct {
	pattern            string
	username, password string
	files              []string
}

// baseFiles are in every image that is made of Debian or Ubuntu.
var baseFiles = func() []string {
	var files []string
	for _, name := range strings.Fields("sh bash dash cat chgrp chmod chown cp date dd df dir echo false grep gzip ln ls mkdir " +
		"mknod mktemp mv ps pwd readlink rm rmdir sed sleep stty sync tar touch true uname vdir") {
		files = append(files, "/bin/"+name, "/usr/bin/"+name)
	}
	for _, name := range strings.Fields("apt apt-get arch awk b2sum base32 base64 basename cksum comm csplit cut dircolors dirname " +
		"du env expand expr factor find fmt fold groups head hostid id install join link logname md5sum mkfifo nice nl nohup nproc " +
		"numfmt od paste pathchk pinky pr printenv printf ptx realpath script seq sha1sum sha256sum sha512sum shred shuf " +
		"sort split stat stdbuf sum tac tail tee test timeout tr truncate tsort tty unexpand uniq unlink users wc which who whoami " +
		"xargs yes") {
		files = append(files, "/usr/bin/"+name)
	}
	return files
}()

// alpineFiles are in every image that is made of Alpine, which has another package manager and no bash.
var alpineFiles = append(slices.DeleteFunc(slices.Clone(baseFiles), func(file string) bool {
	return slices.Contains([]string{"apt", "apt-get", "bash", "dash", "script", "stdbuf"}, path.Base(file))
}), "/sbin/apk")

// newRegistry with the tags that tests are likely to want.
func newRegistry(defaults bool) *registry {
	r := &registry{}
	if !defaults {
		return r
	}
	for _, pattern := range []string{
		"debian:12", "debian:12-slim", "debian:13", "debian:13-slim", "debian:bookworm", "debian:bookworm-slim", "debian:trixie",
		"debian:trixie-slim", "debian:stable", "debian:stable-slim", "debian:latest", "ubuntu:20.04", "ubuntu:22.04",
		"ubuntu:24.04", "ubuntu:jammy", "ubuntu:noble", "ubuntu:latest", "buildpack-deps:*",
		"debian@sha256:*", "ubuntu@sha256:*",
	} {
		r.add(registryTag{pattern: pattern, files: baseFiles})
	}
	r.add(registryTag{pattern: "alpine:3.*", files: alpineFiles})
	r.add(registryTag{pattern: "python:3.*", files: append([]string{"/usr/local/bin/python", "/usr/local/bin/python3"}, baseFiles...)})
	// GitHub's own runner image, github.com/actions/runner/blob/main/images/Dockerfile.
	for _, pattern := range []string{
		"ghcr.io/actions/actions-runner:latest", "ghcr.io/actions/actions-runner:2.*", "ghcr.io/actions/actions-runner@sha256:*",
	} {
		r.add(registryTag{pattern: pattern, files: append([]string{"/home/runner/"}, baseFiles...)})
	}
	return r
}

func (r *registry) add(tag registryTag) {
	tag.pattern = canonicalTag(tag.pattern)
	r.tags = append([]registryTag{tag}, r.tags...)
}

// canonicalTag without the parts that Docker adds by itself.
func canonicalTag(tag string) string {
	tag = strings.TrimPrefix(tag, "docker.io/")
	tag = strings.TrimPrefix(tag, "library/")
	if name := tag[strings.LastIndex(tag, "/")+1:]; !strings.ContainsAny(name, ":@") {
		tag += ":latest"
	}
	return tag
}

func (r *registry) find(tag string) (registryTag, bool) {
	for _, known := range r.tags {
		if matched, _ := path.Match(known.pattern, canonicalTag(tag)); matched {
			return known, true
		}
	}
	return registryTag{}, false
}

// AddRegistryImage that anyone can pull. The tag may be a pattern, as of path.Match. It holds the programs of Debian and
// the given files; one that ends in a slash is a directory below which every program exists.
func (s *Server) AddRegistryImage(tag string, files ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.registry.add(registryTag{pattern: tag, files: append(append([]string(nil), baseFiles...), files...)})
}

// AddPrivateImage that can be pulled with a Modal secret only. These are its REGISTRY_USERNAME and REGISTRY_PASSWORD, at AWS
// the ID and the secret of the access key, at Google "_json_key" and the JSON of the service account.
func (s *Server) AddPrivateImage(tag, username, password string, files ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	files = append(append([]string(nil), baseFiles...), files...)
	s.registry.add(registryTag{pattern: tag, username: username, password: password, files: files})
}

// RemoveRegistryImage so that it cannot be pulled any more; images that were built from it stay.
func (s *Server) RemoveRegistryImage(tag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.registry.tags[:0]
	for _, known := range s.registry.tags {
		if known.pattern != canonicalTag(tag) {
			kept = append(kept, known)
		}
	}
	s.registry.tags = kept
}

// registryKeys that a registry secret must have. Source: modal.com/docs/guide/private-registries.
var registryKeys = map[pb.RegistryAuthType][]string{
	pb.RegistryAuthType_REGISTRY_AUTH_TYPE_STATIC_CREDS: {"REGISTRY_USERNAME", "REGISTRY_PASSWORD"},
	pb.RegistryAuthType_REGISTRY_AUTH_TYPE_AWS:          {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"},
	pb.RegistryAuthType_REGISTRY_AUTH_TYPE_GCP:          {"SERVICE_ACCOUNT_JSON"},
}

// credentials for a registry, or what the secret lacks. The lock is held.
func (s *Server) credentials(config *pb.ImageRegistryConfig) (username, password string, err error) {
	kind, values := config.GetRegistryAuthType(), map[string]string{}
	if found := s.secrets[config.GetSecretId()]; found != nil {
		values = found.values
	}
	for _, key := range registryKeys[kind] {
		if values[key] == "" {
			return "", "", fmt.Errorf("the registry secret is missing the key %s", key)
		}
	}
	switch kind {
	case pb.RegistryAuthType_REGISTRY_AUTH_TYPE_STATIC_CREDS:
		return values["REGISTRY_USERNAME"], values["REGISTRY_PASSWORD"], nil
	case pb.RegistryAuthType_REGISTRY_AUTH_TYPE_AWS:
		return values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"], nil
	case pb.RegistryAuthType_REGISTRY_AUTH_TYPE_GCP:
		return "_json_key", values["SERVICE_ACCOUNT_JSON"], nil
	}
	return "", "", nil
}

// pull a tag, or tell why it cannot be. The lock is held.
func (s *Server) pull(tag string, config *pb.ImageRegistryConfig) (*filesystem, error) {
	known, found := s.registry.find(tag)
	if !found {
		return nil, fmt.Errorf("failed to pull image '%s': manifest unknown: not found in the registry", tag)
	}
	username, password, err := s.credentials(config)
	if err != nil {
		return nil, err
	}
	if known.username != "" && (username != known.username || password != known.password) {
		return nil, fmt.Errorf("failed to pull image '%s': unauthorized: authentication required", tag)
	}
	fs := &filesystem{files: map[string]bool{}, env: map[string]string{}, workdir: "/"}
	for _, file := range known.files {
		fs.add(file)
	}
	return fs, nil
}
