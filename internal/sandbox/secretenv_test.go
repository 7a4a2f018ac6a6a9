package sandbox

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
)

// A key file is no key any more without its last line break; a credential is none with one.
func TestAVariableHasItsSecretsValueToTheLetter(t *testing.T) {
	const key = "-----BEGIN KEY-----\nabc\n-----END KEY-----\n"
	cluster := fake.NewClientBuilder().WithObjects(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "deploy"}, Data: map[string][]byte{"key": []byte(key)},
	}).Build()
	store := credentials.NewStore(cluster, clock.RealClock{}, time.Minute)
	spec := &v1alpha1.Sandbox{Env: []v1alpha1.EnvVar{
		{Name: "PLAIN", Value: "x"}, {Name: "KEY", SecretKeyRef: &v1alpha1.SecretKeyRef{Name: "deploy", Key: "key"}},
	}}
	env, err := SecretEnv(t.Context(), store, "ci", spec)
	if err != nil || len(env) != 1 || env["KEY"].Reveal() != key {
		t.Errorf("%q, %v", env["KEY"].Reveal(), err)
	}
	if data, err := store.Get(t.Context(), "ci", "deploy"); err != nil || data["key"].Reveal() != key[:len(key)-1] {
		t.Errorf("as a credential: %q, %v", data["key"].Reveal(), err)
	}
	spec.Env[1].SecretKeyRef.Key = "none"
	if _, err := SecretEnv(t.Context(), store, "ci", spec); !fault.Is(err, fault.SecretInvalid) {
		t.Errorf("a key that is not there: %v", err)
	}
}
