// Package described checks what unit tests ask of a simulated GitHub, and what that answers, against GitHub's own description
// of its API.
package described

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	"github.com/modalrunner/modal-runner-controller/simulators/github/openapi"
)

// describe loads GitHub's OpenAPI description, once for all tests of a package.
var describe = sync.OnceValues(func() (*openapi.Validator, error) {
	module, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return nil, fmt.Errorf("finding the module: %w", err)
	}
	folder, err := exec.Command(filepath.Join(filepath.Dir(strings.TrimSpace(string(module))), "hack", "openapi", "fetch.sh")).Output()
	if err != nil {
		return nil, fmt.Errorf("fetching GitHub's OpenAPI description, which needs npm: %w", err)
	}
	return openapi.Load(strings.TrimSpace(string(folder)), githubsim.DocumentedPaths()...)
})

// Calls has every call to a simulated GitHub and its answer checked against GitHub's description. What does not fit fails
// the test.
func Calls(t *testing.T) func(http.Handler) http.Handler {
	t.Helper()
	all, err := describe()
	if err != nil {
		t.Fatal(err)
	}
	own := all.Fresh()
	t.Cleanup(func() {
		for _, violation := range own.Violations() {
			t.Error("not as GitHub describes its API:", violation)
		}
	})
	return own.Middleware
}
