package main

import (
	"flag"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

func TestFlagsThatContradictEachOtherAreRefused(t *testing.T) {
	for arguments, complaint := range map[string]string{
		"--webhook-only": "",
		"--webhook-only --webhook-bind-address=:9000": "",
		"--webhook-bind-address=0":                    "",
		"--webhook-only --webhook-bind-address=0":     "leaves nothing to run",
		"--webhook-only --leader-elect":               "elects no leader",
		"--apply-pools=x":                             "need --release",
		"--drain-pools":                               "need --release",
		"--drain-pools --release=x":                   "",
		"--drain-pools --release=x --apply-pools=y":   "give one of them",
		"--otlp-endpoint=collector:4317":              "",
		"--otlp-endpoint=https://collector:4317":      "",
		"--otlp-endpoint=dns:///collector:4317":       "neither host:port nor a URL",
		"--otlp-endpoint=https://":                    "neither host:port nor a URL",
	} {
		var o options
		flags := flag.NewFlagSet("manager", flag.ContinueOnError)
		o.bind(flags)
		if err := flags.Parse(strings.Fields(arguments)); err != nil {
			t.Fatal(err)
		}
		err := o.validate()
		if complaint == "" && err != nil || complaint != "" && (err == nil || !strings.Contains(err.Error(), complaint)) {
			t.Errorf("%s: %v", arguments, err)
		}
	}
}

// What the receiver keeps of a Runner must be enough to know its name at GitHub.
func TestTheReceiverStillKnowsARunnersNameAndSandbox(t *testing.T) {
	whole := &v1alpha1.Runner{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "p-0", UID: "0c6f5a10-1111-2222-3333-444444444444", Labels: map[string]string{"a": "b"}},
		Spec:       v1alpha1.RunnerSpec{Installation: "12345678", PoolName: "p"},
		Status:     v1alpha1.RunnerStatus{Attempt: 3, SandboxID: "sb-1", Phase: v1alpha1.RunnerRunning},
	}
	given, err := onlyIdentity(whole)
	if err != nil {
		t.Fatal(err)
	}
	kept := given.(*v1alpha1.Runner)
	if kept.OutsideName() != whole.OutsideName() || kept.Status.SandboxID != "sb-1" || kept.Namespace != "ci" {
		t.Errorf("kept %+v", kept)
	}
	if len(kept.Labels) > 0 || kept.Spec.PoolName != "" {
		t.Errorf("kept what nobody needs: %+v", kept)
	}
}
