package sandbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
)

func TestTheRunnerIsStartedAsItIsInItsImage(t *testing.T) {
	for name, test := range map[string]struct {
		image v1alpha1.Image
		want  []string
	}{
		"built here":           {v1alpha1.Image{Base: "ubuntu:24.04"}, []string{"/opt/actions-runner/run.sh"}},
		"from a registry":      {v1alpha1.Image{Ref: "ghcr.io/actions/actions-runner"}, []string{"/home/runner/run.sh"}},
		"that exists":          {v1alpha1.Image{ID: "im-1"}, []string{"/home/runner/run.sh"}},
		"with its own command": {v1alpha1.Image{ID: "im-1", Command: []string{"/start", "now"}}, []string{"/start", "now"}},
	} {
		if got := RunnerCommand(test.image); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q", name, got)
		}
		if got := Command(&v1alpha1.RunnerTemplate{Image: test.image}, test.want); !slices.Equal(got, test.want) {
			t.Errorf("%s: a sandbox that needs nothing else runs %q", name, got)
		}
	}
}

// booted runs the command of a template's sandbox on this machine, with these programs in place of the image's, and gives
// what it said. The runner says what it was given.
func booted(t *testing.T, template *v1alpha1.RunnerTemplate, programs map[string]string) (string, error) {
	t.Helper()
	bin := t.TempDir()
	programs["runner"] = `echo "runner $* in"; env | grep -E '^(ACTIONS_RUNNER_HOOK|MODALRUNNER)' | sort
for hook in "$ACTIONS_RUNNER_HOOK_JOB_STARTED" "$ACTIONS_RUNNER_HOOK_JOB_COMPLETED"; do [ -z "$hook" ] || "$hook"; done; exit 5`
	for name, script := range programs {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	command := Command(template, []string{filepath.Join(bin, "runner"), "a b", "$c"})
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Env = []string{"PATH=" + bin + ":/usr/bin:/bin"}
	for name, value := range Env(template, nil) {
		cmd.Env = append(cmd.Env, name+"="+value.Reveal())
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestHooksAreRunByTheRunner(t *testing.T) {
	template := &v1alpha1.RunnerTemplate{Hooks: &v1alpha1.Hooks{
		JobStarted: "#!/bin/sh\necho \"it's started\"", JobCompleted: "#!/bin/sh\necho \"completed '\\$HOME' %s\"",
	}}
	out, err := booted(t, template, map[string]string{})
	if code := exitCode(err); code != 5 {
		t.Errorf("exit code %d, not the runner's: %s", code, out)
	}
	for _, line := range []string{"runner a b $c in", "it's started", "completed '$HOME' %s"} {
		if !strings.Contains(out, line+"\n") {
			t.Errorf("%q is missing in %s", line, out)
		}
	}
	if strings.Contains(out, "MODALRUNNER_") {
		t.Errorf("the controller's own variables reach the runner: %s", out)
	}
}

func TestDockerIsUpBeforeTheRunnerStarts(t *testing.T) {
	network := map[string]string{
		"ip":              `[ "$1" = -4 ] && echo "    inet 10.1.2.3/24 scope global eth0" || echo "default via 10.1.2.1 dev eth0"`,
		"iptables-legacy": `echo "iptables $*"`,
		"dockerd":         `echo "dockerd $*" >&2; touch "${0%/*}/up"; cat >/dev/null <&0`,
		"docker":          `[ -e "${0%/*}/up" ]`,
		"sleep":           `:`,
		"tee":             `[ "$1" = /proc/sys/net/ipv4/ip_forward ] && read -r on && echo "forwarding $on" >&2`,
	}
	for name, test := range map[string]struct {
		options map[string]bool
		without string
		says    []string
		silent  string
		code    int
	}{
		"in gVisor": {nil, "", []string{
			"iptables -t nat -A POSTROUTING -o eth0 -p tcp -j SNAT --to-source 10.1.2.3",
			"iptables -t nat -A POSTROUTING -o eth0 -p udp -j SNAT --to-source 10.1.2.3", "forwarding 1", "runner a b $c in",
		}, "MODALRUNNER_", 5},
		"in a virtual machine":  {map[string]bool{"vm_runtime": true}, "", []string{"runner a b $c in"}, "iptables", 5},
		"that is not installed": {nil, "dockerd", []string{"the image has no dockerd: install Docker in it"}, "runner a b", 1},
	} {
		t.Run(name, func(t *testing.T) {
			programs := map[string]string{}
			for program, script := range network {
				if program != test.without {
					programs[program] = script
				}
			}
			template := &v1alpha1.RunnerTemplate{Sandbox: v1alpha1.Sandbox{Docker: true, ExperimentalOptions: test.options}}
			out, err := booted(t, template, programs)
			if code := exitCode(err); code != test.code {
				t.Errorf("exit code %d: %s", code, out)
			}
			for _, line := range test.says {
				if !strings.Contains(out, line) {
					t.Errorf("%q is missing in %s", line, out)
				}
			}
			if strings.Contains(out, test.silent) {
				t.Errorf("%q is in %s", test.silent, out)
			}
		})
	}
}

func exitCode(err error) int {
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // of exec itself
		return exit.ExitCode()
	}
	return 0
}

func TestTheCacheIsToldToToolsUnlessTheOperatorSaysOtherwise(t *testing.T) {
	template := &v1alpha1.RunnerTemplate{Sandbox: v1alpha1.Sandbox{
		Cache: &v1alpha1.Cache{Volume: "v", MountPath: "/cache"},
		Env:   []v1alpha1.EnvVar{{Name: "GOCACHE", Value: "/tmp/go"}, {Name: "TOKEN", SecretKeyRef: &v1alpha1.SecretKeyRef{Name: "s", Key: "k"}}},
	}}
	env := Env(template, map[string]credentials.Redacted{"TOKEN": "secret"})
	for name, value := range map[string]string{
		"RUNNER_TOOL_CACHE": "/cache/tools", "npm_config_cache": "/cache/npm", "GOCACHE": "/tmp/go", "TOKEN": "secret",
	} {
		if env[name].Reveal() != value {
			t.Errorf("%s is %q", name, env[name].Reveal())
		}
	}
	if v := ReferencesOf(&template.Sandbox).Volumes["/cache"]; v.Name != "v" || !v.CreateIfMissing {
		t.Errorf("mounted is %+v", v)
	}
}
