package declared

import (
	"context"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

func newRelease(t *testing.T, funcs interceptor.Funcs, pools ...client.Object) *Release {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return &Release{
		Client:    fake.NewClientBuilder().WithScheme(scheme).WithObjects(pools...).WithInterceptorFuncs(funcs).Build(),
		Namespace: "system", Name: "mrc", Log: logr.Discard(), Patience: time.Second, Every: time.Millisecond,
	}
}

func poolOf(release, name string) *v1alpha1.RunnerPool {
	return &v1alpha1.RunnerPool{ObjectMeta: metav1.ObjectMeta{
		Namespace: "ci", Name: name, UID: types.UID(name + "-1"), Finalizers: []string{"example.com/busy"},
		Labels: map[string]string{releaseLabel: release, namespaceLabel: "system"},
	}}
}

// Helm leaves the Job that drains when a removal has timed out. Pools that an upgrade makes after all are not its business.
func TestADrainEndsThePoolsThatThereWereAndNoLaterOnes(t *testing.T) {
	g := NewWithT(t)
	r := newRelease(t, interceptor.Funcs{}, poolOf("mrc", "p"), poolOf("other", "q"))
	done := make(chan error, 1)
	go func() { done <- r.Drain(t.Context()) }()
	get := func(name string) *v1alpha1.RunnerPool {
		var pool v1alpha1.RunnerPool
		g.Expect(r.Client.Get(t.Context(), client.ObjectKey{Namespace: "ci", Name: name}, &pool)).To(Succeed())
		return &pool
	}
	g.Eventually(func() bool { return get("p").DeletionTimestamp != nil }, "30s", "5ms").Should(BeTrue())
	g.Expect(r.Client.Create(t.Context(), poolOf("mrc", "later"))).To(Succeed())
	g.Consistently(done, "200ms").ShouldNot(Receive(), "a pool is still ending")
	ending := get("p")
	ending.Finalizers = nil
	g.Expect(r.Client.Update(t.Context(), ending)).To(Succeed())
	g.Eventually(done, "30s").Should(Receive(BeNil()))
	g.Expect(get("later").DeletionTimestamp).To(BeNil(), "it was made after the removal was begun")
	g.Expect(get("q").DeletionTimestamp).To(BeNil(), "it is another release's")
}

// Without its rights it would wait until Helm gives up, and nobody would know for what.
func TestADrainThatIsNotAllowedEndsWithThat(t *testing.T) {
	g := NewWithT(t)
	refused := apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("runnerpools").GroupResource(), "", nil)
	tries := 0
	r := newRelease(t, interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
		if tries++; tries == 1 {
			return apierrors.NewServiceUnavailable("starting")
		}
		return refused
	}})
	g.Expect(r.Drain(t.Context())).To(MatchError(ContainSubstring("forbidden")))
	g.Expect(tries).To(Equal(2), "an API server that is away is asked again")
}
