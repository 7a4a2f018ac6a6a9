package node

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAPublishedFolderIsExchangedInOneStep(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "volume")
	seen := func() map[string]string {
		found := map[string]string{}
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if strings.HasPrefix(entry.Name(), "..") {
				continue
			}
			text, err := os.ReadFile(filepath.Join(folder, entry.Name()))
			if err != nil {
				t.Fatal(err)
			}
			found[entry.Name()] = string(text)
		}
		return found
	}
	for _, files := range []map[string]string{{"a": "1", "b": "2"}, {"a": "1", "b": "2"}, {"b": "3", "c": "4"}, {}} {
		data := map[string][]byte{}
		for name, text := range files {
			data[name] = []byte(text)
		}
		if err := publish(folder, data); err != nil {
			t.Fatal(err)
		}
		now := seen()
		for name, text := range files {
			if now[name] != text {
				t.Errorf("%s is %q, not %q", name, now[name], text)
			}
		}
		if len(now) != len(files) {
			t.Errorf("there is %v, not %v", now, files)
		}
		if links, _ := filepath.Glob(filepath.Join(folder, "..*")); len(links) != 2 {
			t.Errorf("what was before is left: %v", links)
		}
	}
}

func TestOnlyAddressesFoldersAndFixedPlacesAreRewritten(t *testing.T) {
	n := &Node{ctx: t.Context(), folder: "/node", options: Options{Places: map[string]string{"/etc/fixed": "--fixed-dir"}}}
	p := newPod(n, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "uid"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{
		Args: []string{
			"--probe-bind-address=:8081", "--ui-bind-address=127.0.0.1:8082", "--metrics-bind-address=0", "--prices=/etc/prices/p.yaml",
			"--folder=/etc/pricesless", "--name=$(NAME)", "--unknown=$(UNKNOWN)", "--url=https://example.com/etc/prices", "--leader-elect",
		},
		VolumeMounts: []corev1.VolumeMount{{Name: "prices", MountPath: "/etc/prices"}, {Name: "fixed", MountPath: "/etc/fixed"}},
	}}}}, 1)
	arguments, err := p.arguments(t.Context(), variables{"NAME": "value"})
	if err != nil {
		t.Fatal(err)
	}
	probe, page := p.ports["8081"], p.ports["8082"]
	want := []string{
		"--probe-bind-address=" + probe.address, "--ui-bind-address=" + page.address, "--metrics-bind-address=0", "--prices=/node/uid/prices/p.yaml",
		"--folder=/etc/pricesless", "--name=value", "--unknown=$(UNKNOWN)", "--url=https://example.com/etc/prices", "--leader-elect",
		"--fixed-dir=/node/uid/fixed",
	}
	if !slices.Equal(arguments, want) {
		t.Errorf("%v\nis not\n%v", arguments, want)
	}
	if probe.loopback || !page.loopback {
		t.Error("an address of the Pod's own is open to others, or the other way round")
	}
	if flags := p.rewrittenFlags(); !slices.Equal(flags, []string{"--probe-bind-address", "--ui-bind-address", "--prices", "--fixed-dir"}) {
		t.Errorf("rewritten: %v", flags)
	}
}
