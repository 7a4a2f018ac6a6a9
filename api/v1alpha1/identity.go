package v1alpha1

import (
	"fmt"
	"strings"
)

// nameLimit is the longest name that GitHub's runners and Modal's sandboxes may both have.
const nameLimit = 64

// OutsideName of a Runner in its current attempt: the name of both the runner at GitHub and the sandbox at Modal. It
// follows from what is stored, so that after a crash the names of all that may exist are known. The UID makes it unique
// among all Runners that ever had the slot.
func (r *Runner) OutsideName() string {
	uid := strings.ReplaceAll(string(r.UID), "-", "")
	suffix := fmt.Sprintf("-%s-%d", uid[:min(len(uid), 12)], r.CurrentAttempt())
	return r.Name[:min(len(r.Name), nameLimit-len(suffix))] + suffix
}

// CurrentAttempt of a Runner, from 1.
func (r *Runner) CurrentAttempt() int32 {
	return max(1, r.Status.Attempt)
}
