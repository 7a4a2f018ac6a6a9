// Package version tells which build this is: what Go stamps into every binary that is built in a clone of the repository.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// stamped is the version of a build made outside a clone:
// -ldflags '-X github.com/modalrunner/modal-runner-controller/internal/version.stamped=v1.2.3'.
var stamped string

// Info of a build.
type Info struct {
	// Version is the release's tag, a pseudo-version of the commit between releases, or "unknown". "+dirty" tells of changes
	// that were not committed.
	Version string
	// Commit that it was built from, or "unknown".
	Commit string
	// Go version that it was built with.
	Go string
}

// Get the running program's.
func Get() Info {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		build = &debug.BuildInfo{}
	}
	return of(build, stamped)
}

func of(build *debug.BuildInfo, stamped string) Info {
	info := Info{Version: build.Main.Version, Commit: "unknown", Go: runtime.Version()}
	for _, setting := range build.Settings {
		if setting.Key == "vcs.revision" {
			info.Commit = setting.Value
		}
	}
	if stamped != "" {
		info.Version = stamped
	}
	if info.Version == "" || info.Version == "(devel)" {
		info.Version = "unknown"
	}
	return info
}

// String is one line for --version.
func (i Info) String() string {
	return fmt.Sprintf("%s (commit %s, %s %s/%s)", i.Version, i.Commit, i.Go, runtime.GOOS, runtime.GOARCH)
}

// UserAgent for a program's requests.
func UserAgent(program string) string {
	// A product's version is a token (RFC 9110 5.6.2), which "+dirty" is too.
	return program + "/" + strings.ReplaceAll(Get().Version, " ", "-")
}
