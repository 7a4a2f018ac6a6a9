package github

import (
	"context"
	"fmt"
	"regexp"

	gh "github.com/google/go-github/v60/github"

	"github.com/modalrunner/modal-runner-controller/internal/fault"
)

// RunnerRelease is a version of the runner program for linux-x64.
type RunnerRelease struct {
	Version string
	URL     string
	SHA256  string
}

var versionInName = regexp.MustCompile(`-(\d+\.\d+\.\d+)\.tar\.gz$`)

// LatestRelease is the version of the runner that GitHub offers to the scope now.
// Source: docs.github.com/rest/actions/self-hosted-runners#list-runner-applications-for-a-repository.
func (c *Client) LatestRelease(ctx context.Context, scope Scope) (RunnerRelease, error) {
	var offered []*gh.RunnerApplicationDownload
	err := c.do(ctx, findRelease, func(ctx context.Context) (resp *gh.Response, err error) {
		switch {
		case scope.Repository != "":
			offered, resp, err = c.rest.Actions.ListRunnerApplicationDownloads(ctx, scope.Owner, scope.Repository)
		case scope.Enterprise != "":
			offered, resp, err = c.rest.Enterprise.ListRunnerApplicationDownloads(ctx, scope.Enterprise)
		default:
			offered, resp, err = c.rest.Actions.ListOrganizationRunnerApplicationDownloads(ctx, scope.Owner)
		}
		return resp, err
	})
	if err != nil {
		return RunnerRelease{}, err
	}
	for _, d := range offered {
		version := versionInName.FindStringSubmatch(d.GetFilename())
		if d.GetOS() == "linux" && d.GetArchitecture() == "x64" && version != nil && d.GetSHA256Checksum() != "" {
			return RunnerRelease{Version: version[1], URL: d.GetDownloadURL(), SHA256: d.GetSHA256Checksum()}, nil
		}
	}
	return RunnerRelease{}, &fault.Error{
		Op: findRelease.name, Class: fault.Invalid,
		Message: "GitHub offers no linux-x64 runner with a checksum: pin image.runnerVersion and image.runnerSHA256",
	}
}

// PinnedRelease is the release of a version that the operator chose, with the checksum that they gave.
func PinnedRelease(version, sha256 string) RunnerRelease {
	return RunnerRelease{
		Version: version, SHA256: sha256,
		URL: fmt.Sprintf("https://github.com/actions/runner/releases/download/v%[1]s/actions-runner-linux-x64-%[1]s.tar.gz", version),
	}
}
