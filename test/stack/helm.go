package stack

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Helm gives the path of the Helm that hack/tools of the repository at root pins; it is built the first time.
func Helm(ctx context.Context, root string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "-C", filepath.Join(root, "hack", "tools"), "tool", "-n", "helm").Output()
	if err != nil {
		return "", fmt.Errorf("building Helm: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
