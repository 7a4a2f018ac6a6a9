package runner

import (
	"fmt"
	"strings"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// nameLimit is the longest name that GitHub's runners and Modal's sandboxes may both have.
const nameLimit = 64

// outsideName of a Runner in its current attempt: the name of both the runner at GitHub and the sandbox at Modal. It
// follows from what is stored, so that after a crash the names of all that may exist are known. The UID makes it unique
// among all Runners that ever had the slot.
func outsideName(runner *v1alpha1.Runner) string {
	uid := strings.ReplaceAll(string(runner.UID), "-", "")
	suffix := fmt.Sprintf("-%s-%d", uid[:min(len(uid), 12)], attempt(runner))
	return runner.Name[:min(len(runner.Name), nameLimit-len(suffix))] + suffix
}

// attempt that a Runner is in, from 1.
func attempt(runner *v1alpha1.Runner) int32 {
	return max(1, runner.Status.Attempt)
}
