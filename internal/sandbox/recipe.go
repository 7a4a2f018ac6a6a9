package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/github"
)

const (
	// runnerHome is where the runner is installed in the image built here.
	runnerHome = "/opt/actions-runner"
	// defaultCommand starts the runner in GitHub's own image.
	defaultCommand = "/home/runner/run.sh"
)

// Recipe is all that an image is made from.
type Recipe struct {
	// Base image in a registry.
	Base string
	// Layers of Dockerfile commands on top of it; each is cached by itself.
	Layers [][]string
	// RunnerVersion that the image has, empty when not known.
	RunnerVersion string
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

// RecipeFor an image with the runner of a release on a Debian or Ubuntu base. What changes least comes first, so that a
// new runner version rebuilds the last layer alone.
func RecipeFor(base string, release github.RunnerRelease) Recipe {
	return Recipe{
		Base:          base,
		RunnerVersion: release.Version,
		Layers: [][]string{
			{
				"ENV DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8",
				"RUN apt-get update && apt-get install -y --no-install-recommends " +
					"ca-certificates curl git jq sudo tar gzip unzip xz-utils zstd openssh-client && rm -rf /var/lib/apt/lists/*",
				"RUN echo 'ALL ALL=(ALL:ALL) NOPASSWD:ALL' > /etc/sudoers.d/passwordless && chmod 0440 /etc/sudoers.d/passwordless",
			},
			{
				// Modal runs everything as root, which the runner refuses without this.
				"ENV RUNNER_ALLOW_RUNASROOT=1 RUNNER_MANUALLY_TRAP_SIG=1 ACTIONS_RUNNER_PRINT_LOG_TO_STDOUT=1",
				fmt.Sprintf("RUN mkdir -p %[1]s && cd %[1]s && curl -fsSL --retry 5 -o runner.tar.gz '%[2]s' "+
					"&& echo '%[3]s  runner.tar.gz' | sha256sum -c - && tar -xzf runner.tar.gz && rm runner.tar.gz "+
					"&& apt-get update && ./bin/installdependencies.sh && rm -rf /var/lib/apt/lists/*",
					runnerHome, release.URL, release.SHA256),
				"WORKDIR " + runnerHome,
			},
		},
	}
}

// Command that starts the runner in the image of a spec.
func Command(image v1alpha1.Image) []string {
	switch {
	case image.Ref == "":
		return []string{runnerHome + "/run.sh"}
	case len(image.Command) == 0:
		return []string{defaultCommand}
	default:
		return image.Command
	}
}
