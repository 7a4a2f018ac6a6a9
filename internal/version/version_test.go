package version

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestTheVersionIsThatOfTheBuild(t *testing.T) {
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "abc123"}
	for name, c := range map[string]struct {
		build   debug.BuildInfo
		stamped string
		want    Info
	}{
		"a release":       {debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{revision}}, "", Info{Version: "v1.2.3", Commit: "abc123"}},
		"outside a clone": {debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "", Info{Version: "unknown", Commit: "unknown"}},
		"stamped":         {debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "v1.2.3", Info{Version: "v1.2.3", Commit: "unknown"}},
		"no build info":   {debug.BuildInfo{}, "", Info{Version: "unknown", Commit: "unknown"}},
	} {
		c.want.Go = runtime.Version()
		if got := of(&c.build, c.stamped); got != c.want {
			t.Errorf("%s: %+v, not %+v", name, got, c.want)
		}
	}
}

// The flag that release scripts use must name the variable that is read: the linker says nothing when it does not.
func TestTheLinkerCanStampAVersion(t *testing.T) {
	folder := t.TempDir()
	manager := filepath.Join(folder, "manager")
	build := exec.Command("go", "build", "-buildvcs=false", "-ldflags", "-X github.com/modalrunner/modal-runner-controller/internal/version.stamped=v1.2.3",
		"-o", manager, "../../cmd/manager")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(manager, "--version").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !regexp.MustCompile(`^modal-runner-controller v1\.2\.3 \(commit unknown, go1\.\S+ \w+/\w+\)\n$`).Match(out) {
		t.Errorf("%q", out)
	}
}

func TestAUserAgentIsOneToken(t *testing.T) {
	if got := UserAgent("kubectl-modalrunner"); !strings.HasPrefix(got, "kubectl-modalrunner/") || strings.ContainsAny(got, " ()") {
		t.Errorf("%q", got)
	}
}
