package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/github"
)

// runnerHome is where the runner is installed in the image built here.
const runnerHome = "/opt/actions-runner"

// Recipe is all that an image is made from.
type Recipe struct {
	// ID of an image that exists already: nothing is built.
	ID string `json:",omitempty"`
	// Base image in a registry.
	Base string
	// Registry says how Base is pulled; nil when it takes no credentials.
	Registry *Registry `json:",omitempty"`
	// Layers of Dockerfile commands on top of it; each is cached by itself.
	Layers [][]string
	// RunnerVersion that the image has, empty when not known.
	RunnerVersion string
	// Command that starts the runner in it.
	Command []string
	// Docker says that it has a Docker daemon.
	Docker bool
}

// Registry says with which credentials an image is pulled: those of a Secret at Modal, or the values here.
type Registry struct {
	Type v1alpha1.RegistryType
	// ModalSecret by name.
	ModalSecret string `json:",omitempty"`
	// SecretName of the Kubernetes Secret that the values come from.
	SecretName string `json:",omitempty"`
	// Values are no part of the digest: who has them changed means the same image.
	Values map[string]credentials.Redacted `json:"-"`
}

// Digest names the recipe: equal recipes have equal digests.
func (r Recipe) Digest() string {
	text, err := json.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("a recipe is plain data: %v", err))
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:16]
}

// toolsLayer has what the runner and most workflows need.
var toolsLayer = []string{
	"ENV DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8",
	"RUN apt-get update && apt-get install -y --no-install-recommends " +
		"ca-certificates curl git jq sudo tar gzip unzip xz-utils zstd openssh-client && rm -rf /var/lib/apt/lists/*",
	"RUN echo 'ALL ALL=(ALL:ALL) NOPASSWD:ALL' > /etc/sudoers.d/passwordless && chmod 0440 /etc/sudoers.d/passwordless",
}

// dockerLayer has what a sandbox with Docker needs. gVisor, in which sandboxes run, knows the legacy iptables alone; source:
// gvisor.dev/docs/tutorials/docker-in-gvisor.
var dockerLayer = []string{
	"RUN apt-get update && apt-get install -y --no-install-recommends docker.io docker-buildx iproute2 iptables " +
		"&& rm -rf /var/lib/apt/lists/*",
}

// RecipeFor an image of a Debian or Ubuntu base with the runner of a release. What changes least comes first, so that a
// new runner version rebuilds the last layer alone.
func RecipeFor(template *v1alpha1.RunnerTemplate, release github.RunnerRelease) Recipe {
	recipe := Recipe{
		Base: template.Image.Base, RunnerVersion: release.Version, Layers: [][]string{toolsLayer},
		Command: RunnerCommand(template.Image), Docker: template.Sandbox.Docker,
	}
	if template.Sandbox.Docker {
		recipe.Layers = append(recipe.Layers, dockerLayer)
	}
	recipe = recipe.withCommands(template)
	recipe.Layers = append(recipe.Layers, runnerLayer(release))
	return recipe
}

func runnerLayer(release github.RunnerRelease) []string {
	return []string{
		// Modal runs everything as root, which the runner refuses without this.
		"ENV RUNNER_ALLOW_RUNASROOT=1 RUNNER_MANUALLY_TRAP_SIG=1 ACTIONS_RUNNER_PRINT_LOG_TO_STDOUT=1",
		fmt.Sprintf("RUN mkdir -p %[1]s && cd %[1]s && curl -fsSL --retry 5 -o runner.tar.gz '%[2]s' "+
			"&& echo '%[3]s  runner.tar.gz' | sha256sum -c - && tar -xzf runner.tar.gz && rm runner.tar.gz "+
			"&& apt-get update && ./bin/installdependencies.sh && rm -rf /var/lib/apt/lists/*",
			runnerHome, release.URL, release.SHA256),
		"WORKDIR " + runnerHome,
	}
}

// OwnRecipe is of an image of the operator's own, which has the runner already.
func OwnRecipe(template *v1alpha1.RunnerTemplate) Recipe {
	return Recipe{
		ID: template.Image.ID, Base: template.Image.Ref, Command: RunnerCommand(template.Image), Docker: template.Sandbox.Docker,
	}.withCommands(template)
}

// withCommands adds the operator's own layer.
func (r Recipe) withCommands(template *v1alpha1.RunnerTemplate) Recipe {
	var layer []string
	for _, command := range template.Image.DockerfileCommands {
		layer = append(layer, string(command))
	}
	if len(layer) > 0 {
		r.Layers = append(r.Layers, layer)
	}
	return r
}
