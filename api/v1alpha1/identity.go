package v1alpha1

import (
	"fmt"
	"regexp"
	"strings"
)

const (
	// nameLimit is the longest name that GitHub's runners and Modal's sandboxes may both have.
	nameLimit = 64
	// uidDigits of a Runner's UID are in the names of what it has outside.
	uidDigits = 12
)

// OutsideName of a Runner in its current attempt: the name of both the runner at GitHub and the sandbox at Modal,
// SLOT-INSTALLATION-UID-ATTEMPT. It follows from what is stored, so that after a crash the names of all that may exist are
// known. The UID makes it unique among all Runners that ever had the slot; the installation's mark tells it from the names
// that other controllers give.
func (r *Runner) OutsideName() string {
	uid := strings.ReplaceAll(string(r.UID), "-", "")
	suffix := fmt.Sprintf("-%s-%s-%d", r.Spec.Installation, uid[:min(len(uid), uidDigits)], r.CurrentAttempt())
	return r.Name[:min(len(r.Name), nameLimit-len(suffix))] + suffix
}

// CurrentAttempt of a Runner, from 1.
func (r *Runner) CurrentAttempt() int32 {
	return max(1, r.Status.Attempt)
}

var outsideName = regexp.MustCompile(`-([0-9a-f]{8})-[0-9a-f]{12}-[0-9]+$`)

// InstallationOf the controller that gave something outside its name; empty for a name that no controller of this kind
// gives.
func InstallationOf(name string) string {
	parts := outsideName.FindStringSubmatch(name)
	if parts == nil {
		return ""
	}
	return parts[1]
}
