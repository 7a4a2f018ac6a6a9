package chart

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The manager knows every argument that the chart gives it, and can read its value.
func TestTheManagerUnderstandsItsArguments(t *testing.T) {
	for _, file := range valuesFiles(t) {
		for _, pod := range podsOf(t, rendered(t, "-f", file)) {
			container := pod.Spec.Containers[0]
			if !strings.Contains(container.Image, "modal-runner-controller") || len(container.Args) == 0 {
				t.Fatalf("%s: %s runs %s %v", filepath.Base(file), pod.Name, container.Image, container.Args)
			}
			if out, err := understood(t, container.Args); err != nil {
				t.Errorf("%s: %s: %v: %s", filepath.Base(file), pod.Name, err, out)
			}
		}
	}
	for _, wrong := range []string{"--no-such-flag", "--drain=soon", "--zap-encoder=xml"} {
		if out, err := understood(t, []string{wrong}); err == nil {
			t.Errorf("%s is understood: %s", wrong, out)
		}
	}
}

// understood has the manager read its arguments, and do nothing else.
func understood(t *testing.T, arguments []string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), manager, append(arguments[:len(arguments):len(arguments)], "--version")...).CombinedOutput()
	return string(out), err
}
