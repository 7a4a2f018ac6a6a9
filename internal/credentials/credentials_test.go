package credentials

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/modalrunner/modal-runner-controller/internal/fault"
)

func TestRedactedShowsNothing(t *testing.T) {
	secret := Redacted("hunter2")
	for _, format := range []string{"%s", "%v", "%+v", "%#v", "%q"} {
		if shown := fmt.Sprintf(format, secret); shown == "hunter2" || shown == `"hunter2"` {
			t.Errorf("%s shows %s", format, shown)
		}
	}
}

// A Secret that is gone is served as it was to those that end what was begun with it, and to nobody else.
func TestASecretThatIsGoneServesForEndingThings(t *testing.T) {
	ctx, clock := t.Context(), clocktesting.NewFakeClock(time.Unix(1000, 0))
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "github"}, Data: map[string][]byte{"github_token": []byte("t")},
	}
	cluster := fake.NewClientBuilder().WithObjects(secret).Build()
	store := NewStore(cluster, clock, 10*time.Second)
	if data, err := store.Get(ctx, "ci", "github"); err != nil || data["github_token"].Reveal() != "t" {
		t.Fatalf("got %v, %v", data, err)
	}
	if err := cluster.Delete(ctx, secret); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Get(ctx, "ci", "github"); err != nil {
		t.Fatalf("within the TTL: %v", err)
	}
	for range 3 {
		clock.Step(11 * time.Second)
		if _, err := store.Get(ctx, "ci", "github"); !fault.Is(err, fault.SecretMissing) {
			t.Fatalf("after the TTL: %v", err)
		}
		if data, err := store.Get(WithLast(ctx), "ci", "github"); err != nil || data["github_token"].Reveal() != "t" {
			t.Fatalf("for ending things: %v, %v", data, err)
		}
	}
	if _, err := store.Get(WithLast(ctx), "ci", "never"); !fault.Is(err, fault.SecretMissing) {
		t.Fatalf("a Secret that never was: %v", err)
	}
}

func TestSecretsThatNobodyAsksForAreForgotten(t *testing.T) {
	ctx, clock := t.Context(), clocktesting.NewFakeClock(time.Unix(1000, 0))
	store := NewStore(fake.NewClientBuilder().Build(), clock, 10*time.Second)
	for i := range 100 {
		for _, name := range []string{"used", fmt.Sprintf("secret-%d", i)} {
			if _, err := store.Get(ctx, "ci", name); !fault.Is(err, fault.SecretMissing) {
				t.Fatal(err)
			}
		}
		clock.Step(forgetAfter / 10)
	}
	if got := len(store.entries); got > 13 {
		t.Errorf("%d Secrets are remembered", got)
	}
}
