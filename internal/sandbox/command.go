package sandbox

import (
	_ "embed"
	"maps"
	"slices"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
)

// defaultCommand starts the runner in GitHub's own image.
const defaultCommand = "/home/runner/run.sh"

// RunnerCommand starts the runner in the image of a spec.
func RunnerCommand(image v1alpha1.Image) []string {
	switch {
	case image.Ref == "" && image.ID == "":
		return []string{runnerHome + "/run.sh"}
	case len(image.Command) == 0:
		return []string{defaultCommand}
	default:
		return image.Command
	}
}

// bootScript gets a sandbox ready for its runner, whose command are its arguments.
//
//go:embed boot.sh
var bootScript string

// Command of a sandbox: that of the runner, after what the template wants to be ready first.
func Command(template *v1alpha1.RunnerTemplate, runner []string) []string {
	if template.Hooks == nil && !template.Sandbox.Docker {
		return runner
	}
	return slices.Concat([]string{"/bin/sh", "-c", bootScript, "boot"}, runner)
}

// Env is what the template gives a sandbox as variables, those that the operator sets last. Values out of Secrets are in
// secrets.
func Env(template *v1alpha1.RunnerTemplate, secrets map[string]credentials.Redacted) map[string]credentials.Redacted {
	env := cacheEnv(template.Sandbox.Cache)
	for _, v := range template.Sandbox.Env {
		env[v.Name] = credentials.Redacted(v.Value)
	}
	maps.Copy(env, secrets)
	if template.Sandbox.Docker {
		env["MODALRUNNER_DOCKER"] = "gvisor"
		if inVM(&template.Sandbox) {
			env["MODALRUNNER_DOCKER"] = "vm"
		}
	}
	if hooks := template.Hooks; hooks != nil {
		for name, script := range map[string]string{"STARTED": hooks.JobStarted, "COMPLETED": hooks.JobCompleted} {
			if script != "" {
				env["MODALRUNNER_HOOK_JOB_"+name] = credentials.Redacted(script)
			}
		}
	}
	return env
}

// caches are the variables by which tools are told where to keep what they fetch, and the folder in the cache volume for
// each. RUNNER_TOOL_CACHE is the runner's own, where setup-node, setup-python and the like install; source:
// github.com/actions/runner, HostContext.GetDirectory.
var caches = map[string]string{
	"RUNNER_TOOL_CACHE":    "tools",
	"AGENT_TOOLSDIRECTORY": "tools",
	"npm_config_cache":     "npm",
	"YARN_CACHE_FOLDER":    "yarn",
	"PIP_CACHE_DIR":        "pip",
	"UV_CACHE_DIR":         "uv",
	"GOMODCACHE":           "go-mod",
	"GOCACHE":              "go-build",
	"GRADLE_USER_HOME":     "gradle",
	"NUGET_PACKAGES":       "nuget",
	"CCACHE_DIR":           "ccache",
	"SCCACHE_DIR":          "sccache",
	"HF_HOME":              "huggingface",
}

func cacheEnv(cache *v1alpha1.Cache) map[string]credentials.Redacted {
	env := map[string]credentials.Redacted{}
	if cache == nil {
		return env
	}
	for name, folder := range caches {
		env[name] = credentials.Redacted(string(cache.MountPath) + "/" + folder)
	}
	return env
}
