package runnerpool

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

func TestWhatTheTemplateRefersToMustExist(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*v1alpha1.RunnerPoolSpec)
		reason string
		says   string
		mend   func(*world)
	}{
		"a Modal Secret": {
			func(s *v1alpha1.RunnerPoolSpec) { s.Sandbox.ModalSecrets = []v1alpha1.ModalName{"huggingface"} },
			v1alpha1.ReasonReferenceNotFound, "looking up Modal Secret huggingface",
			func(w *world) { w.Modal.AddSecret("huggingface", map[string]string{"HF_TOKEN": "x"}) },
		},
		"a Volume": {
			func(s *v1alpha1.RunnerPoolSpec) {
				s.Sandbox.Volumes = []v1alpha1.VolumeMount{{Name: "models", MountPath: "/models"}}
			},
			v1alpha1.ReasonReferenceNotFound, "looking up Modal Volume models",
			func(w *world) {
				w.change(func(s *v1alpha1.RunnerPoolSpec) { s.Sandbox.Volumes[0].CreateIfMissing = true })
			},
		},
		"the proxy": {
			func(s *v1alpha1.RunnerPoolSpec) { s.Sandbox.Proxy = "office" },
			v1alpha1.ReasonReferenceNotFound, "looking up Modal proxy office", func(w *world) { w.Modal.AddProxy("office") },
		},
		"a bucket's credentials": {
			func(s *v1alpha1.RunnerPoolSpec) {
				s.Sandbox.CloudBuckets = []v1alpha1.CloudBucketMount{{Bucket: "b", MountPath: "/b", ModalSecret: "aws"}}
			},
			v1alpha1.ReasonReferenceNotFound, "looking up Modal Secret aws",
			func(w *world) { w.Modal.AddSecret("aws", map[string]string{"AWS_ACCESS_KEY_ID": "x"}) },
		},
		"a Secret": {
			func(s *v1alpha1.RunnerPoolSpec) {
				s.Sandbox.Env = []v1alpha1.EnvVar{{Name: "TOKEN", SecretKeyRef: &v1alpha1.SecretKeyRef{Name: "npm", Key: "token"}}}
			},
			v1alpha1.ReasonSecretNotFound, "reading Secret ci/npm: it does not exist: create it",
			func(w *world) { w.putSecret("npm", map[string]string{"token": "x"}) },
		},
		"a Secret's key": {
			func(s *v1alpha1.RunnerPoolSpec) {
				s.Sandbox.Env = []v1alpha1.EnvVar{{Name: "TOKEN", SecretKeyRef: &v1alpha1.SecretKeyRef{Name: "github", Key: "npm"}}}
			},
			v1alpha1.ReasonSecretInvalid, "it has no npm, which sandbox.env takes for TOKEN",
			func(w *world) {
				w.change(func(s *v1alpha1.RunnerPoolSpec) { s.Sandbox.Env[0].SecretKeyRef.Key = "github_token" })
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.change(test.change)
			w.reconcile()
			w.Expect(w.reason(v1alpha1.ConditionTemplateReady)).To(Equal(test.reason), w.message(v1alpha1.ConditionTemplateReady))
			w.Expect(w.message(v1alpha1.ConditionReady)).To(ContainSubstring(test.says))
			_, ok := w.pool().CanLaunch()
			w.Expect(ok).To(BeFalse())
			test.mend(w)
			w.pass(recheckBad)
			w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonReady), w.message(v1alpha1.ConditionReady))
		})
	}
}

func TestATemplateThatRefersToNothingCostsNoCalls(t *testing.T) {
	w := newWorld(t)
	w.reconcile()
	w.pass(recheckGood)
	w.Expect(w.reason(v1alpha1.ConditionTemplateReady)).To(Equal(v1alpha1.ReasonReady))
	w.Expect(w.Modal.CallCount("SecretGetOrCreate") + w.Modal.CallCount("VolumeGetOrCreate")).To(BeZero())
}

func TestReferencesAreCheckedAgainNowAndThen(t *testing.T) {
	w := newWorld(t)
	w.change(func(s *v1alpha1.RunnerPoolSpec) {
		s.Sandbox.Cache = &v1alpha1.Cache{Volume: "cache", MountPath: "/cache"}
	})
	w.reconcile()
	w.Expect(w.reason(v1alpha1.ConditionTemplateReady)).To(Equal(v1alpha1.ReasonReady))
	w.Expect(w.Modal.CallCount("VolumeGetOrCreate")).To(Equal(1))
	w.pass(recheckGood - time.Second)
	w.Expect(w.Modal.CallCount("VolumeGetOrCreate")).To(Equal(1))
	w.pass(time.Second)
	w.Expect(w.Modal.CallCount("VolumeGetOrCreate")).To(Equal(2))
}
