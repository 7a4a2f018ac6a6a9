package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// allPlatforms that .ko.yaml names.
var allPlatforms = []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}

// user of the base image: distroless' "nonroot".
const user = "65532"

// images is a registry in memory.
type images struct{ address string }

func startRegistry() (*images, error) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	r := &images{address: strings.TrimPrefix(server.URL, "http://")}
	base := v1.ImageIndex(mutate.IndexMediaType(empty.Index, types.OCIImageIndex))
	for _, platform := range allPlatforms {
		config := &v1.ConfigFile{OS: platform.OS, Architecture: platform.Architecture, Config: v1.Config{User: user}}
		image, err := mutate.ConfigFile(empty.Image, config)
		if err != nil {
			return nil, err
		}
		base = mutate.AppendManifests(base, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &platform}})
	}
	ref, err := name.NewTag(r.address + "/base:nonroot")
	if err != nil {
		return nil, err
	}
	return r, remote.WriteIndex(ref, base)
}

// image is built from a clone and gives the digest of each platform's image.
func (r *images) image(clone string, env []string, platforms []v1.Platform) (map[string]string, error) {
	var names []string
	for _, platform := range platforms {
		names = append(names, platform.String())
	}
	repository := r.address + "/" + strings.ReplaceAll(filepath.Base(clone), "/", "-")
	env = append(env, "KO_DOCKER_REPO="+repository, "KO_DEFAULTBASEIMAGE="+r.address+"/base:nonroot", "KO_DEFAULTPLATFORMS="+strings.Join(names, ","))
	if err := run(clone, env, "hack/release.sh", "image", "v1.2.3", "latest"); err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, platform := range platforms {
		for _, tag := range []string{"1.2.3", "latest"} {
			ref, err := name.NewTag(repository + ":" + tag)
			if err != nil {
				return nil, err
			}
			image, err := remote.Image(ref, remote.WithPlatform(platform))
			if err != nil {
				return nil, fmt.Errorf("pulling %s for %s: %w", ref, platform, err)
			}
			digest, err := image.Digest()
			if err != nil {
				return nil, err
			}
			if err := look(image, platform); err != nil {
				return nil, fmt.Errorf("%s for %s: %w", ref, platform, err)
			}
			if err := r.sbom(repository, digest); err != nil {
				return nil, err
			}
			found[platform.String()] = digest.String()
		}
	}
	return found, nil
}

// look at an image: who it runs as, what it starts, and whether that is a program of its platform which tells its version.
func look(image v1.Image, platform v1.Platform) error {
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	if config.Config.User != user || len(config.Config.Entrypoint) != 1 || config.Created.IsZero() {
		return fmt.Errorf("user %q, entrypoint %q, created %s", config.Config.User, config.Config.Entrypoint, config.Created)
	}
	for _, label := range []string{"org.opencontainers.image.source", "org.opencontainers.image.revision", "org.opencontainers.image.version"} {
		if config.Config.Labels[label] == "" {
			return fmt.Errorf("no label %s", label)
		}
	}
	program, err := file(image, strings.TrimPrefix(config.Config.Entrypoint[0], "/"))
	if err != nil {
		return err
	}
	if platform.Architecture != runtime.GOARCH {
		return nil
	}
	path := filepath.Join(os.TempDir(), "release-check-manager")
	defer func() { _ = os.Remove(path) }()
	if err := os.WriteFile(path, program, 0o700); err != nil {
		return err
	}
	out, err := exec.Command(path, "--version").CombinedOutput()
	revision := config.Config.Labels["org.opencontainers.image.revision"]
	if err != nil || !bytes.Contains(out, []byte("(commit "+revision)) {
		return fmt.Errorf("--version of commit %s tells %q, %v", revision, out, err)
	}
	return nil
}

// file of an image.
func file(image v1.Image, path string) ([]byte, error) {
	content := mutate.Extract(image)
	defer func() { _ = content.Close() }()
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("the image has no %s", path)
		}
		if err != nil {
			return nil, err
		}
		if strings.TrimPrefix(header.Name, "/") == path {
			return io.ReadAll(archive)
		}
	}
}

// sbom of an image must be beside it.
func (r *images) sbom(repository string, digest v1.Hash) error {
	ref, err := name.NewTag(fmt.Sprintf("%s:%s-%s.sbom", repository, digest.Algorithm, digest.Hex))
	if err != nil {
		return err
	}
	if _, err := remote.Get(ref); err != nil {
		return fmt.Errorf("looking for the image's SBOM: %w", err)
	}
	return nil
}

// run a program in a folder, with more environment.
func run(folder string, env []string, program string, arguments ...string) error {
	command := exec.Command(program, arguments...)
	command.Dir = folder
	if folder != "" && !filepath.IsAbs(program) && strings.Contains(program, "/") {
		command.Path = filepath.Join(folder, program)
	}
	command.Env = append(os.Environ(), env...)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", program, strings.Join(arguments, " "), err, out)
	}
	return nil
}
