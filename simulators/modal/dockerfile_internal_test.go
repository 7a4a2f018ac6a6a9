package modal

import (
	"testing"

	. "github.com/onsi/gomega"
)

func TestDockerfileCommandsMakePrograms(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		command, workdir, program string
		want                      bool
	}{
		"directory that is made":           {"RUN mkdir -p /opt/runner && tar -C /opt/runner -x", "", "/opt/runner/bin/run.sh", true},
		"directory beside it":              {"RUN mkdir -p /opt/runner", "", "/opt/runner2/run.sh", false},
		"system directory":                 {"RUN rm -rf /usr/local/bin", "", "/usr/local/bin/tool", false},
		"file in a system directory":       {"RUN install tool /usr/local/bin/tool", "", "tool", true},
		"path of a URL":                    {"RUN curl https://example.com/opt/tool", "", "/opt/tool", false},
		"package":                          {"RUN apt-get update && apt-get install -y --no-install-recommends git=1.2 jq", "", "git", true},
		"package that is removed":          {"RUN apt-get remove git", "", "git", false},
		"word that is no package":          {"RUN echo install git", "", "git", false},
		"relative to WORKDIR":              {"WORKDIR /srv/app", "", "./run.sh", true},
		"relative to the sandbox's":        {"RUN mkdir /srv/app", "/srv/app", "run/it.sh", true},
		"relative to another":              {"WORKDIR /srv/app", "/srv/other", "./run.sh", false},
		"PATH of the image":                {"ENV PATH=/opt/x:/bin", "", "awk", false},
		"PATH of the image that has it":    {"ENV PATH=/opt/x:/bin", "", "sh", true},
		"old form of ENV":                  {"ENV PATH /usr/bin", "", "awk", true},
		"USER is ignored":                  {"USER nobody", "", "/bin/sh", true},
		"path that climbs out of its tree": {"RUN mkdir /opt/runner", "", "/opt/runner/../other/x", false},
	} {
		w := NewWithT(t)
		fs, err := New(Options{}).pull("debian:bookworm", nil)
		w.Expect(err).NotTo(HaveOccurred())
		parsed, err := parseDockerfile([]string{"FROM debian:bookworm", test.command})
		w.Expect(err).NotTo(HaveOccurred())
		w.Expect(parsed[1].apply(fs)).To(Succeed())
		w.Expect(fs.has(test.program, test.workdir)).To(Equal(test.want), name)
	}
}

func TestTagsAreTheSameWithAndWithoutDockersDefaults(t *testing.T) {
	t.Parallel()
	w := NewWithT(t)
	r := newRegistry(true)
	for tag, want := range map[string]bool{
		"ubuntu:24.04": true, "docker.io/library/ubuntu:24.04": true, "ubuntu": true, "ubuntu:99.99": false,
		"ghcr.io/actions/actions-runner:2.330.0": true, "ghcr.io/actions/actions-runner": true,
		"ubuntu@sha256:0123": true, "localhost:5000/ubuntu": false,
	} {
		_, found := r.find(tag)
		w.Expect(found).To(Equal(want), tag)
	}
}
